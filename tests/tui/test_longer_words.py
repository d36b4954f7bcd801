"""Words that are 40 % longer, as in other languages, push nothing off a screen of 80x24."""

import json
import math
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import DataTable, Label

from sdterm.tui.app import Workstation
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.texts import messages
from sdterm.tui.widgets.bars import KeyBar, StatusLine, TopBar
from sdterm.tui.widgets.large import ChosenPicture
from sdterm.tui.widgets.parameter import Parameter
from sdterm.tui.widgets.prompt import PromptEditor
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until

LONGER = 1.4
SIZE = WIDTH, HEIGHT = 80, 24
LANGUAGE = "longer"
SCREENS = {"f3": "go_gallery", "f4": "go_queue", "ctrl+l": "go_models", "alt+x": "go_extensions", "f10": "go_settings"}


def longer(text: str) -> str:
    return text + "~" * (math.ceil(LONGER * cell_len(text)) - cell_len(text))


@pytest.fixture(scope="module")
def translated(host: Running) -> Iterator[Running]:
    path = host.settings.root / "localizations" / f"{LANGUAGE}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({text: longer(text) for text in messages()}))
    yield host
    path.unlink()


def outside(app: Workstation) -> list[str]:
    """Widgets that are shown and not wholly on the screen; what scrolls is cut by what it scrolls in."""
    kinds = BaseScreen, Label, Parameter, PromptEditor, DataTable
    shown = [widget for widget in app.screen.walk_children() if isinstance(widget, kinds)]
    return [
        f"{widget} at {widget.region}"
        for widget in shown
        if widget.region and (widget.region.right > WIDTH or widget.region.bottom > HEIGHT)
    ]


def test_the_form_has_its_labels_whole_and_its_values_in_sight(translated: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
        box = app.desk.query_one("#parameters").content_region
        for label in app.desk.query("#parameters Label").results(Label):
            said = str(label.content)
            assert said.endswith("~") and label.content_region.width >= cell_len(said), f"{said} is cut"
            assert box.contains_region(label.region), said
        for shown in app.desk.query("#parameters Parameter").results(Parameter):
            assert box.contains_region(shown.region) and shown.region.width >= 6, shown.field.id
        assert app.desk.query_one("#prompt").size.height >= 2, "room for a prompt"
        for title in ("Prompt", "Negative prompt", "Parameters"):
            assert f" {longer(title)} " in screen_text(app)
        words = " ".join(text_of(app.desk.query_one(ChosenPicture)).split())
        assert (
            longer("Or draw one of these:") in words
            and "orange cat" in words
            and "~~" in words.rpartition("Stable-diffusion")[2]
        ), "the last sentence is whole"
        assert outside(app) == []

    drive(translated, act, SIZE, language=LANGUAGE)


def test_every_screen_names_the_others_and_its_keys(translated: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
        for key, tab in SCREENS.items():
            await pilot.press(key)
            await until(pilot, lambda tab=tab: getattr(app.screen, "tab", "") == tab, key)  # type: ignore[misc]
            await until(pilot, lambda: not app.screen.query("DataTable") or outside(app) == [], "a layout")
            top = text_of(app.screen.query_one(TopBar))
            others = [app.key(action) for action in (*SCREENS.values(), "go_generate") if action != tab]
            assert all(f" {each} " in top for each in others), f"{top} lacks one of {others}"
            assert text_of(app.screen.query_one(KeyBar)).rstrip().endswith((longer("Help"), longer("All keys")))
            assert longer("idle") in text_of(app.screen.query_one(StatusLine))

    drive(translated, act, SIZE, language=LANGUAGE)
