"""`sdterm ext`: get extensions, and write them."""

import click

from sdterm.cli.lazy import LazyGroup
from sdterm.messages import message

COMMANDS = {
    "install": ("sdterm.cli.ext.install", message("Install an extension, or update it.")),
    "remove": ("sdterm.cli.ext.manage", message("Remove an installed extension.")),
    "enable": ("sdterm.cli.ext.manage", message("Enable an extension.")),
    "disable": ("sdterm.cli.ext.manage", message("Disable an extension.")),
    "list": ("sdterm.cli.ext.listing", message("List extensions: their source, version, and whether they run.")),
    "info": ("sdterm.cli.ext.info", message("Show details of an extension.")),
    "trust": ("sdterm.cli.ext.install", message("Show how an installed extension changed, and approve it.")),
    "new": ("sdterm.cli.ext.author", message("Write an extension to start from.")),
    "check": ("sdterm.cli.ext.author", message("Check an extension without running it.")),
    "test": ("sdterm.cli.ext.author", message("Run an extension's tests on a tiny model.")),
    "trace": ("sdterm.cli.ext.author", message("Show every call of an extension: time, shapes.")),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def ext() -> None:
    """Install, write and test extensions."""
