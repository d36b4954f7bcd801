"""What a workstation in a web page lacks: whoever looks at it is not the owner of the machine that it runs on."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import DataTable, Input

from sdterm.core.settings.settings import SETTINGS, is_owners
from sdterm.tui.actions import ACTIONS, actions_of
from sdterm.tui.app import Workstation
from sdterm.tui.palette import Palette
from sdterm.tui.screens.extensions import ExtensionsScreen
from sdterm.tui.screens.models import ModelsScreen
from sdterm.tui.screens.pick import Type
from sdterm.tui.screens.settings import SettingsScreen
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.parameter import Parameter
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until

ABSENT = {"edit_outside", "suspend", "share_address", "add_model", "stop_adding", "translation_template"} | {
    f"{what}_extension" for what in ("switch", "install", "trust", "remove")
}
NO_FILES = "In a web page, no files can be read"


def _is_at(app: Workstation, screen: type[Screen[Any]]) -> bool:
    return isinstance(app.screen, screen)


@pytest.mark.heavy
def test_actions_on_the_machine_are_neither_offered_nor_done(host: Running) -> None:
    place: dict[str, type[Screen[Any]]] = {"ctrl+l": ModelsScreen, "alt+x": ExtensionsScreen, "f10": SettingsScreen}

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        assert {action.id for action in ACTIONS} - {action.id for action in actions_of(app.settings)} == ABSENT
        for action in ("edit_outside", "suspend"):
            assert not await app.run_action(action)
        for keys, key in (("ctrl+l", "a"), ("alt+x", "i"), ("f10", "T")):
            await pilot.press(keys)
            await until(pilot, partial(_is_at, app, place[keys]))
            await pilot.press(key)
            assert isinstance(app.screen, place[keys])
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        for words in ("external editor", "install extension", "models_dir"):
            app.screen.query_one(Input).value = words
            await pilot.pause()
            shown = screen_text(app)
            assert "$EDITOR" not in shown and "Install or update" not in shown and "  models_dir" not in shown
        assert not (app.settings.root / "localizations" / "template.json").exists()

    drive(host, act, in_page="true")


def test_settings_that_steer_the_host_or_name_a_file_are_absent(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f10")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        table = app.screen.query_one(DataTable)
        rows = {str(table.get_row_at(number)[0]).strip(" *#") for number in range(table.row_count)}
        assert rows == {setting.key for setting in SETTINGS if not is_owners(setting.key)} and "theme" in rows
        assert app.write_setting("outdir", "/srv").startswith("In a web page")
        assert not (app.settings.root / "config.toml").exists()

    drive(host, act, in_page="true")


@pytest.mark.heavy
def test_no_path_is_read_that_is_typed_or_pasted(host: Running, tmp_path: Path) -> None:
    path, said = tmp_path / "mine.png", PngInfo()
    said.add_text("parameters", "a secret prompt\nSteps: 20, Sampler: Euler a, Seed: 7, Size: 64x64")
    Image.new("RGB", (64, 64), "navy").save(path, pnginfo=said)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        async def refused(where: str) -> None:
            await until(pilot, lambda: NO_FILES in text_of(app.desk.query_one(Note)), where)
            app.desk.query_one(Note).say("")

        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        app.post_message(events.Paste(str(path)))
        await refused("in the prompt")
        await pilot.press("alt+i")
        await until(pilot, lambda: isinstance(app.screen, Type))
        app.screen.query_one(Input).value = str(path)
        await pilot.press("enter")
        await refused("as an infotext")
        await until(pilot, lambda: app.screen is app.desk, "the form again")
        app.desk.focus_field("init_images")
        await until(pilot, lambda: isinstance(app.focused, Parameter) and app.focused.field.id == "init_images")
        app.post_message(events.Paste(str(path)))
        await refused("as an init image")
        assert "secret" not in screen_text(app) and "init_images" not in app.form.draft.fields

    drive(host, act, in_page="true")
