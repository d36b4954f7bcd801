"""Colours: one accent that can be read in every theme, and what is left of the look without them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.color import Color
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.widgets import DataTable

from sdterm.core.settings.settings import resolve
from sdterm.tui import themes
from sdterm.tui.app import Workstation
from sdterm.tui.screens.pick import Pick
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until, write

LEGIBLE = 3.0
"""The least contrast of large or bold text, by WCAG 2."""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workstation]:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    yield Workstation(resolve({}, {"SDTERM_DATA": str(tmp_path)}))


def test_in_every_theme_keys_and_what_is_wrong_can_be_read(app: Workstation) -> None:
    illegible = []
    for name in themes.names(app):
        assert themes.choose(app, name) == "" and app.theme == name
        variables = app.get_css_variables()
        if app.current_theme.ansi:
            continue
        for ink, paper in (("text-primary", "background"), ("text-primary", "panel"), ("text-error", "background")):
            if (found := contrast(variables[ink], variables[paper], variables["background"])) < LEGIBLE:
                illegible.append(f"{name}: ${ink} on ${paper} has {found:.1f}")
    assert illegible == []


def contrast(ink: str, paper: str, below: str) -> float:
    under = Color.parse(below)
    dark, light = sorted(_luminance(under + Color.parse(each)) for each in (paper, ink))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_stylesheet_can_be_read_in_every_theme(app: Workstation) -> None:
    source = Path(themes.__file__).with_name("sdterm.tcss")
    for theme in (*themes.names(app), *(theme.name for theme in themes.OURS)):
        app.theme = theme
        sheet = Stylesheet(variables=app.get_css_variables())
        sheet.read(source)
        sheet.parse()
        assert sheet.rules


@pytest.mark.parametrize(
    ("terminal", "setting", "theme"),
    [
        ({"TERM": "xterm-256color"}, "sdterm", "sdterm"),
        ({"TERM": "xterm"}, "sdterm", "sdterm-16"),
        ({"TERM": "linux"}, "sdterm-light", "sdterm-light-16"),
        ({"TERM": "xterm"}, "nord", "nord"),
        ({"TERM": "vt100"}, "sdterm", "mono"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "sdterm-light", "mono"),
    ],
)
def test_what_the_terminal_has_decides_how_a_theme_is_drawn(
    app: Workstation, monkeypatch: pytest.MonkeyPatch, terminal: dict[str, str], setting: str, theme: str
) -> None:
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    given = {"SDTERM_DATA": str(app.settings.root), "SDTERM_THEME": setting}
    assert Workstation(resolve({}, given)).theme == theme


@pytest.mark.heavy
def test_settings_show_a_theme_while_one_moves_through_the_list(host: Running) -> None:
    config = host.settings.root / "config.toml"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = app.theme
        await pilot.press("f10")
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count > 10)
        await pilot.press("slash")
        await write(pilot, "theme")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Pick), "the list")
        await write(pilot, "dracula")
        await until(pilot, lambda: app.theme == "dracula", "a theme that is only looked at")
        await pilot.press("escape")
        await until(pilot, lambda: app.theme == before, "the one before")
        assert not config.exists()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Pick), "the list again")
        await write(pilot, "dracula")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "dracula" and 'theme = "dracula"' in config.read_text())

    try:
        drive(host, act)
    finally:
        config.unlink(missing_ok=True)


@pytest.mark.heavy
def test_a_bar_stands_before_what_is_chosen(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f10")
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count > 10)
        await pilot.press("down")
        rows = text_of(app.screen.query_one(DataTable)).splitlines()[1:]
        assert [at for at, row in enumerate(rows) if row.startswith("▌")] == [1]
        await pilot.press("slash")
        await write(pilot, "preview")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Pick), "the list")
        assert "▌* auto" in screen_text(app), "the bar, and the star of what is set now"
        await pilot.press("down")
        await until(pilot, lambda: "▌  off" in screen_text(app) and "▌*" not in screen_text(app), "the next one")

    drive(host, act)
