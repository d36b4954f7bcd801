"""The workstation: a Textual application, one client of the host among others."""

import os
from collections.abc import Callable

from sdterm.core.settings.settings import Settings


def work(settings: Settings) -> None:
    """Open the workstation, until it is left."""
    from sdterm.core.settings.paths import prepare

    prepare(settings.root)
    log_in = _dial(settings)
    from sdterm.tui.app import Workstation
    from sdterm.tui.picture.support import has_colours

    if settings["in_page"]:
        Workstation(settings).run(mouse=True)
        return
    log_in()
    if all(os.get_terminal_size()):  # a serial line does not know its size
        for exported in ("COLUMNS", "LINES"):  # which would hide every later size
            os.environ.pop(exported, None)
    if not has_colours(os.environ):
        os.environ["NO_COLOR"] = "1"
    Workstation(settings).run(mouse=settings["mouse"])


def _dial(settings: Settings) -> Callable[[], None]:
    """Do for a host on another machine what cannot be done once a screen is painted: SSH begins to connect, which may
    ask for a password here until what is returned has been called; of an address there is only to be seen whether it,
    its token and its file are any. The workstation then connects by itself. Raises SdtermError."""
    target: str | None = settings["connect"]
    if not target or settings["in_page"]:
        return lambda: None
    if "://" in target:
        from sdterm.remote import remote_of

        remote_of(settings)
        return lambda: None
    import click

    from sdterm.ssh import tunnel
    from sdterm.tui.language import tr

    line = tunnel(target)
    click.echo(tr("Connecting to {machine} …", machine=line.place), err=True)
    line.dial()
    return line.log_in
