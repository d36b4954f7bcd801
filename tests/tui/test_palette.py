"""The command palette: what users type finds what they mean, and Enter does that or nothing."""

import tomllib
from collections.abc import Iterable

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from sdterm.tui.actions import BY_ID
from sdterm.tui.app import Workstation
from sdterm.tui.commands import Command, found
from sdterm.tui.palette import Palette
from sdterm.tui.screens.gallery import PictureTable
from sdterm.tui.screens.pick import Pick
from sdterm.tui.vocabulary import NAMES
from sdterm.tui.widgets.wall import Wall
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, until, write

WORDS = {
    "prev": "Preview mode",
    "preview": "preview",
    "theme": "theme",
    "language": "language",
    "sampler": "Sampler",
    "schedule": "Schedule",
    "steps": "Steps",
    "size": "Size",
    "seed": "Seed",
    "clear": "Clear the prompt",
    "copy": "Copy infotext",
    "copied": "Select by hand",
    "clipboard": "Copy infotext",
    "mouse": "mouse",
    "delete": "Clear the prompt",
    "undo": "Undo",
    "paste": "Paste an infotext",
    "quit": "Quit",
    "exit": "Quit",
    "help": "Help",
    "shortcuts": "Help",
    "models": "Models",
    "checkpoint": "Models",
    "extensions": "Extensions",
    "plugin": "Extensions",
    "vari": "Variations",
    "queue": "Queue",
    "gallery": "Gallery",
    "log": "Messages",
    "errors": "Messages",
    "fullscreen": "Large image",
    "zoom": "Large image",
    "loop": "Generate forever",
    "fg job": "Suspend to the shell",
    "fg": "Suspend to the shell",
    "euler": "Euler",
    "Euler a": "Euler a",
    "karras": "Karras",
    "demo": "sdterm-demo",
    "lighthouse": "{picture} seed 4711",
    "4711": "{picture} seed 4711",
    "nord": "nord",
    "zh": "zh_CN",
}
"""What users type, and the name of what Enter then does."""


@pytest.fixture(scope="module")
def drawn(host: Running) -> Running:
    host.events(host.submit(prompt="a lighthouse", seed=4711, steps=2))
    return host


async def opened(app: Workstation, pilot: Pilot[None]) -> Palette:
    """The palette, with all that the host can tell it."""
    await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(app.screen, Palette) and app.focused)
    palette = app.screen
    assert isinstance(palette, Palette)
    await until(pilot, lambda: palette._asking and palette._asking.is_finished, "the lists")
    return palette


@pytest.mark.heavy
def test_it_knows_the_words_that_users_type(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: drawn.client.pictures(limit=1).pictures)
        picture = drawn.client.pictures(limit=1).pictures[0].id
        palette = await opened(app, pilot)
        wrong = {}
        for words, name in WORDS.items():
            palette.query_one(Input).value = words
            await pilot.pause()
            names = [command.name for command in palette._found]
            if name.format(picture=picture) not in names[: 3 if words == "delete" else 1]:  # of what, nobody says
                wrong[words] = names[:3]
        assert wrong == {}
        assert all(command.about for command in [*palette._commands, *palette._lists]), "each has a line about it"

    drive(drawn, act)


@pytest.mark.heavy
def test_the_gallery_has_its_commands_in_it(drawn: Running) -> None:
    words = {
        "zoom": "Large image",
        "wall": "Wall",
        "thumbnails": "Wall",
        "columns": "Columns",
        "filter": "Filter",
        "unfold": "Fold this job",
        "sort": "Sort by the next column",
        "reverse": "Reverse the order",
    }

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.focused, PictureTable) and app.focused.pictures)
        palette = await opened(app, pilot)
        for word, name in words.items():
            palette.query_one(Input).value = word
            await pilot.pause()
            assert [palette._found[0].group, palette._found[0].name] == ["Gallery", name]
        palette.query_one(Input).value = "wall"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, Wall))

    drive(drawn, act)


def test_its_table_names_no_action_that_is_gone() -> None:
    assert NAMES.keys() <= BY_ID.keys()


def commands(*rows: tuple[str, str, str]) -> Iterable[Command]:
    return [Command("Group", name, about, lambda: None, words) for name, about, words in rows]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("two", ["Two", "One two", "Other"]),
        ("o", ["One two", "Other", "Two"]),
        ("one two", ["One two"]),
        ("TWO-one", ["One two"]),
        ("other three", []),
        ("猫", ["大猫"]),
    ],
)
def test_a_name_goes_before_a_word_beside_it(text: str, names: list[str]) -> None:
    rows = commands(("One two", "", ""), ("Two", "only", ""), ("Other", "", "two"), ("大猫", "", ""))
    assert [command.name for command in found(rows, text)] == names


def test_enter_waits_for_what_only_the_host_knows(drawn: Running) -> None:
    """Typed at once, before the host has told its samplers."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
        for key in ("ctrl+p", *"heun", "enter"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: app.form.draft.fields.get("sampler") == "Heun")
        await until(pilot, lambda: app.screen is app.desk)

    drive(drawn, act)


@pytest.mark.heavy
def test_enter_without_a_word_or_a_match_does_nothing(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = drawn.client.jobs(limit=1).jobs[0].id
        await opened(app, pilot)
        await pilot.press("enter")
        assert isinstance(app.screen, Palette)
        await write(pilot, "[bold]nothing\u202e")
        assert "Nothing matches “[bold]nothing" in screen_text(app) and "\u202e" not in screen_text(app)
        await pilot.press("enter")
        assert isinstance(app.screen, Palette)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk)
        assert drawn.client.jobs(limit=1).jobs[0].id == before

    drive(drawn, act)


@pytest.mark.heavy
def test_a_theme_is_shown_while_moving_and_kept_by_enter_alone(drawn: Running) -> None:
    config = drawn.settings.root / "config.toml"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = app.theme  # by what the terminal has
        await opened(app, pilot)
        await write(pilot, "theme gruvbox")
        assert app.theme == before, "nothing was chosen yet"
        await pilot.press("down")
        assert app.theme == "gruvbox"
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk and app.theme == before)
        assert not config.exists()
        await opened(app, pilot)
        await write(pilot, "gruvbox")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "gruvbox" and tomllib.loads(config.read_text()) == {"theme": "gruvbox"})

    try:
        drive(drawn, act)
    finally:
        config.unlink(missing_ok=True)


@pytest.mark.heavy
def test_a_setting_opens_its_editor_and_a_locked_one_says_why(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await write(pilot, "mouse")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Pick) and "mouse" in screen_text(app))
        await pilot.press("escape")
        await opened(app, pilot)
        await write(pilot, "notify")
        await pilot.press("enter")
        await until(pilot, lambda: "notify is locked" in screen_text(app))

    drive(drawn, act, freeze_specific_settings="notify")


@pytest.mark.heavy
def test_a_field_a_picture_and_a_place_are_gone_to(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await write(pilot, "steps")
        await pilot.press("enter")
        await until(pilot, lambda: app.focused and app.focused.id == "field-steps")
        await opened(app, pilot)
        await write(pilot, "lighthouse")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "a lighthouse")
        await opened(app, pilot)
        await write(pilot, "clear")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "")
        await opened(app, pilot)
        await write(pilot, "undo")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "a lighthouse")
        await opened(app, pilot)
        await write(pilot, "saved files")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(PictureTable))

    drive(drawn, act)
