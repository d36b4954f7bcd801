"""`sdterm ext install`, `sdterm ext trust`: show everything, ask, then do it."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from sdterm.cli.errors import UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.extensions.install import Proposal, apply, discard, prepare_install, prepare_trust
from sdterm.core.extensions.manifest import CAPABILITIES
from sdterm.core.names import printable

_SHOWN = 10  # names of a kind


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
            say(f"{proposal.slug} is up to date.")
            return
        for line in _told(proposal):
            say(line)
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("Nobody is there to agree: with --yes it is done without asking.")
            click.confirm("Approve it?" if proposal.in_place else "Install it?", abort=True, err=True)
        apply(proposal, say)
        state = "" if proposal.record.enabled else f" It is switched off: `sdterm ext enable {proposal.slug}`."
        say(f"{proposal.slug} is {'approved' if proposal.in_place else 'installed'}.{state}")
    finally:
        discard(proposal)


def _told(proposal: Proposal) -> Iterable[str]:
    """Everything that one should know before one agrees."""
    record, before, manifest = proposal.record, proposal.before, proposal.manifest
    version = f" {record.version}" if record.version else ""
    was = f" (now {before.version})" if before and before.version != record.version else ""
    deed = "Approve" if proposal.in_place else "Update" if before else "Install"
    yield f"{deed} {proposal.slug}{version}{was} from {record.source}"
    if manifest.description:
        yield f"  {manifest.description}"
    if manifest.authors or manifest.license:
        yield f"  by {', '.join(manifest.authors) or 'nobody named'}; license: {manifest.license or 'not said'}"
    yield f"  {proposal.files} file(s), {proposal.size / 1024:.0f} KiB; content {record.digest}"
    if before:
        for what, names in vars(proposal.changes).items():
            if names:
                yield f"  {what}: {_some(names)}"
    for capability in record.capabilities:
        new = " (new)" if before and capability in proposal.new_capabilities else ""
        yield f"  says that it {CAPABILITIES[capability]}{new}"
    if not record.capabilities:
        yield "  says nothing of what it does beyond drawing"
    if proposal.native:
        yield f"  compiled code, which nobody can read: {_some(proposal.native)}"
    for wheel in proposal.wheels:
        new = " (new)" if before and wheel in proposal.new_wheels else ""
        yield f"  brings {wheel.name} {wheel.version}{new}"
    for warning in proposal.warnings:
        yield f"Warning: {warning}"
    yield "It runs with your full account rights: files, network, everything that you may do."


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
