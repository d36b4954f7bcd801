"""The workstation: a Textual application, one client of the host among others."""

from sdterm.core.config import Settings


def work(settings: Settings) -> None:
    """Open the workstation, until it is left."""
    from sdterm.core.dataroot import prepare
    from sdterm.tui.app import Workstation

    prepare(settings.root)
    Workstation(settings).run(mouse=settings["mouse"])
