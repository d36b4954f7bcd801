"""Words that are 40 % longer, as in other languages, push nothing off a screen of 80x24."""

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import DataTable, Label

from sdterm.core.languages.pseudo import NAME, pseudo
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.tui.app import Workstation
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.bars import KeyBar, StatusLine, TopBar
from sdterm.tui.widgets.large import ChosenPicture
from sdterm.tui.widgets.parameter import Parameter
from sdterm.tui.widgets.prompt import PromptEditor
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until

SIZE = WIDTH, HEIGHT = 80, 24
SCREENS = {"f3": "go_gallery", "f4": "go_queue", "ctrl+l": "go_models", "alt+x": "go_extensions", "f10": "go_settings"}


def outside(app: Workstation) -> list[str]:
    """Widgets that are shown and not wholly on the screen; what scrolls is cut by what it scrolls in."""
    kinds = BaseScreen, Label, Parameter, PromptEditor, DataTable
    shown = [widget for widget in app.screen.walk_children() if isinstance(widget, kinds)]
    return [
        f"{widget} at {widget.region}"
        for widget in shown
        if widget.region and (widget.region.right > WIDTH or widget.region.bottom > HEIGHT)
    ]


def test_the_form_has_its_labels_whole_and_its_values_in_sight(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
        box = app.desk.query_one("#parameters").content_region
        for label in app.desk.query("#parameters Label").results(Label):
            said = str(label.content)
            assert label.content_region.width >= cell_len(said), f"{said} is cut"
            assert box.contains_region(label.region), said
        for shown in app.desk.query("#parameters Parameter").results(Parameter):
            assert box.contains_region(shown.region) and shown.region.width >= 6, shown.field.id
        assert app.desk.query_one("#prompt").size.height >= 2, "room for a prompt"
        for title in ("Prompt", "Negative prompt", "Parameters"):
            assert f" {pseudo(title)} " in screen_text(app)
        words = " ".join(text_of(app.desk.query_one(ChosenPicture)).split())
        last = pseudo("A model of your own: {models}, then {add} adds one; or put its file into {folder}.")
        for said in (pseudo("Or generate one of these:"), last.format(models="^L", add="a", folder=CHECKPOINTS)):
            assert said in words
        assert outside(app) == []

    drive(host, act, SIZE, language=NAME)


@pytest.mark.heavy
def test_every_screen_names_the_others_and_its_keys(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
        for key, tab in SCREENS.items():
            await pilot.press(key)
            await until(pilot, lambda tab=tab: getattr(app.screen, "tab", "") == tab, key)  # type: ignore[misc]
            await until(pilot, lambda: not app.screen.query("DataTable") or outside(app) == [], "a layout")
            top = text_of(app.screen.query_one(TopBar))
            others = [app.key(action) for action in (*SCREENS.values(), "go_generate") if action != tab]
            assert all(f" {each} " in f"{top} " for each in others), f"{top} lacks one of {others}"
            assert text_of(app.screen.query_one(KeyBar)).rstrip().endswith((pseudo("Help"), pseudo("All keys")))
            assert pseudo("idle") in text_of(app.screen.query_one(StatusLine))

    drive(host, act, SIZE, language=NAME)


@pytest.mark.heavy
def test_in_few_columns_a_screens_own_keys_come_first(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f4")
        await until(pilot, lambda: "K Up" in text_of(app.screen.query_one(KeyBar)), "a key of the Queue")
        assert text_of(app.screen.query_one(KeyBar)).rstrip().endswith("F1 Help")
        await pilot.press("f1")
        await until(pilot, lambda: "Here: Queue" in screen_text(app), "help")
        lines = text_of(app.screen.query_one("HelpScreen Static")).splitlines()
        indents = {len(line) - len(line.lstrip()) for line in lines[3:20] if line.strip()}
        assert {0, 2} <= indents and max(indents) > 20, "long lines go on below their column"

    drive(host, act, (44, 20))


@pytest.mark.heavy
def test_a_column_is_as_wide_as_its_title_in_each_language(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        for key in ("alt+x", "f4", "ctrl+l"):
            await pilot.press(key)
            await until(pilot, lambda tab=SCREENS[key]: getattr(app.screen, "tab", "") == tab)  # type: ignore[misc]
            columns = app.screen.query_one(DataTable).ordered_columns
            assert [str(c.label) for c in columns if c.width < cell_len(str(c.label))] == []

    drive(host, act, language="ja")
