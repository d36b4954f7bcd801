"""`sdterm keys`: what the terminal sends, and what that does."""

import sys

import click

from sdterm.cli.errors import UsageError
from sdterm.cli.options import flag_options, settings_of
from sdterm.messages import message


@click.command()
@click.option("--list", "only_list", is_flag=True, help="List actions and their keys instead.")
@flag_options
@click.pass_context
def keys(context: click.Context, only_list: bool) -> None:
    """Show the name of each key that you press, as a keymap file has it, and what it does. Ctrl+C twice ends this."""
    from sdterm.tui.actions import BY_ID
    from sdterm.tui.keymap import clashes, keys_of, read_keymap

    keymap = read_keymap(settings_of(context)["keymap"])
    for clash in clashes(keymap):
        click.echo(f"! {clash}", err=True)
    if only_list:
        for action, pressed in keys_of(keymap).items():
            click.echo(f"{action:<24} {pressed:<34} {BY_ID[action].title}")
        return
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError(
            message("This shows what a terminal sends, and here is none. `sdterm keys --list` lists all keys.")
        )
    from sdterm.tui.keyboard import Keyboard

    Keyboard(keys_of(keymap)).run(inline=True)
