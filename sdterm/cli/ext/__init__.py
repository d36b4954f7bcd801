"""`sdterm ext`: get extensions, and write them."""

import click

from sdterm.cli.lazy import LazyGroup

COMMANDS = {
    "install": ("sdterm.cli.ext.install", "Install an extension, or update it."),
    "remove": ("sdterm.cli.ext.manage", "Remove an installed extension."),
    "enable": ("sdterm.cli.ext.manage", "Enable an extension."),
    "disable": ("sdterm.cli.ext.manage", "Disable an extension."),
    "list": ("sdterm.cli.ext.listing", "List extensions: where from, which version, whether they run."),
    "info": ("sdterm.cli.ext.info", "Show details of an extension."),
    "trust": ("sdterm.cli.ext.install", "Show how an installed extension changed, and approve it."),
    "new": ("sdterm.cli.ext.author", "Write an extension to start from."),
    "check": ("sdterm.cli.ext.author", "Check an extension without running it."),
    "test": ("sdterm.cli.ext.author", "Run an extension's tests on a tiny model."),
    "trace": ("sdterm.cli.ext.author", "Show every call of an extension: time, shapes."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def ext() -> None:
    """Install, write and test extensions."""
