"""`sdterm ext install`, `sdterm ext trust`: show everything, ask, then do it."""

import sys
from collections.abc import Callable
from typing import Any

import click

from sdterm.cli.errors import UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.extensions.install.install import Proposal, apply, discard, prepare_install, prepare_trust
from sdterm.core.extensions.install.summary import told
from sdterm.messages import message, sentences
from sdterm.tui.language import tr


def _yes(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--yes", is_flag=True, help="Agree without being asked, for scripts.")(command)


@click.command()
@click.argument("source")
@click.option("--as", "name", metavar="NAME", help="What to call it.")
@click.option("--replace", is_flag=True, help="Update it although its files were changed here; they are kept.")
@_yes
@flag_options
@click.pass_context
def install(context: click.Context, source: str, name: str | None, replace: bool, yes: bool) -> None:
    """Install SOURCE, or update it: a git or archive URL, a path, or a package's name.

    Nothing of it is run. What would be added is shown, and you are asked.
    """
    root = settings_of(context).root
    _carry_out(prepare_install(root, source, say, name=name, replace_changes=replace), yes)


@click.command()
@click.argument("name")
@_yes
@flag_options
@click.pass_context
def trust(context: click.Context, name: str, yes: bool) -> None:
    """Show how the installed extension NAME changed since it was approved, and approve it as it is."""
    _carry_out(prepare_trust(settings_of(context).root, name, say), yes)


def _carry_out(proposal: Proposal, yes: bool) -> None:
    try:
        if proposal.unchanged:
            say(message("{slug} is up to date.", slug=proposal.slug))
            return
        for line in told(proposal):
            say(line)
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(message("This needs a terminal to ask you for consent; --yes does it without asking."))
            click.confirm(tr("Approve it?") if proposal.in_place else tr("Install it?"), abort=True, err=True)
        apply(proposal, say)
        done = (
            message("{name} is approved.", name=proposal.slug)
            if proposal.in_place
            else message("{name} is installed.", name=proposal.slug)
        )
        off = (
            ""
            if proposal.record.enabled
            else message("It is disabled: `sdterm ext enable {name}`.", name=proposal.slug)
        )
        say(sentences(done, off))
    finally:
        discard(proposal)
