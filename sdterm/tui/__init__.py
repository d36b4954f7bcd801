"""The workstation: a Textual application, one client of the host among others."""

import os

from sdterm.core.settings.settings import Settings


def work(settings: Settings) -> None:
    """Open the workstation, until it is left."""
    from sdterm.core.settings.paths import prepare
    from sdterm.tui.app import Workstation

    prepare(settings.root)
    if all(os.get_terminal_size()):  # a serial line does not know its size
        for exported in ("COLUMNS", "LINES"):  # which would hide every later size
            os.environ.pop(exported, None)
    Workstation(settings).run(mouse=settings["mouse"])
