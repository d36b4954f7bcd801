"""The workstation: a Textual application, one client of the host among others."""

import os

from sdterm.core.settings.settings import Settings


def work(settings: Settings) -> None:
    """Open the workstation, until it is left."""
    from sdterm.core.settings.paths import prepare
    from sdterm.tui.app import Workstation
    from sdterm.tui.picture.support import has_colours

    prepare(settings.root)
    if settings["in_page"]:
        Workstation(settings).run(mouse=True)
        return
    if settings["connect"]:
        _knock(settings)
    if all(os.get_terminal_size()):  # a serial line does not know its size
        for exported in ("COLUMNS", "LINES"):  # which would hide every later size
            os.environ.pop(exported, None)
    if not has_colours(os.environ):
        os.environ["NO_COLOR"] = "1"
    Workstation(settings).run(mouse=settings["mouse"])


def _knock(settings: Settings) -> None:
    """Open the line to a host on another machine while SSH may still ask for a password here. Raises SdtermError."""
    import click

    from sdterm.client import address_of, reach
    from sdterm.tui.language import tr

    address = address_of(settings)
    click.echo(tr("Connecting to {machine} …", machine=address.place), err=True)
    reach(address).close()
