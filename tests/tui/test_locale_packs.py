"""A language that a plugin brings, in a workstation that is open: learned, changed and forgotten while it runs."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from sdterm.tui.app import Workstation
from sdterm.tui.screens.extensions import ExtensionsScreen
from sdterm.tui.screens.settings import SettingsScreen
from sdterm.tui.widgets.bars import Note, TopBar
from tests.host.running import Running
from tests.tui.conftest import drive, text_of, until

PACK = """
from sdterm.hooks import LocalePack, hookimpl

@hookimpl
def sdterm_locale_packs():
    return [LocalePack("klingon", "Klingon", "tlh", {messages})]
"""


def write(file: Path, **messages: str) -> None:
    file.write_text(PACK.format(messages=messages))


def tabs(app: Workstation) -> str:
    """The line that names the screens; empty while it is made anew."""
    return "".join(text_of(bar) for bar in app.screen.query(TopBar))


def notes(app: Workstation) -> str:
    return " ".join(note.text for note in app.screen.query(Note))


@pytest.mark.heavy
def test_a_workstation_speaks_what_a_plugin_brings_as_soon_as_it_is_saved(host: Running) -> None:
    file = host.settings.root / "extensions" / "klingon.py"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "no translation 'tlh'" in notes(app), "a language that nobody has")
        write(file, Gallery="Qapla", Seed="Mi")
        await until(pilot, lambda: "Qapla" in tabs(app), "the language of a plugin that was just saved")
        await pilot.press("alt+x")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen))
        write(file, Gallery="Batlh")
        await until(pilot, lambda: "Batlh" in tabs(app), "its newer version")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen), "the screen where one was")
        app.go("settings")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        file.unlink()
        await until(pilot, lambda: "Gallery" in tabs(app), "English, once it is gone")

    try:
        drive(host, act, (100, 30), language="tlh")
    finally:
        file.unlink(missing_ok=True)
