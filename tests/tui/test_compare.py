"""Pictures side by side: what differs, and which of them stay."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from sdterm.tui.app import Workstation
from sdterm.tui.palette import Palette
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.compare import CompareScreen
from sdterm.tui.screens.gallery import PictureTable
from sdterm.tui.screens.help import HelpScreen
from sdterm.tui.screens.pick import Ask
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.recent import Recent
from tests.host.running import Running
from tests.tui.conftest import add_picture, drive, screen_text, text_of, until

SAME: dict[str, Any] = {"prompt": "red house", "steps": 2, "sampler": "Heun", "seed": 5}


HOSTILE = "\x1b[31mblue \x9b31mlake \u202e[b]"
INFOTEXT = "{prompt}\nSteps: 2, Sampler: \x1b]0;owned\x07Heun, CFG scale: 9, Seed: 6, Size: {size}, Model: sdterm-demo"


@pytest.fixture(scope="module")
def drawn(host: Running) -> Running:
    """A host with four pictures, of which the last two come from somewhere else."""
    for changes in ({}, {"cfg_scale": 9.0}):
        host.events(host.submit(**{**SAME, **changes}))
    add_picture(host, INFOTEXT.format(prompt=HOSTILE, size="128x128"))
    add_picture(host, INFOTEXT.format(prompt=HOSTILE, size="64x128"), (64, 128))
    return host


async def ready(app: Workstation, pilot: Pilot[None], number: int = 4) -> Recent:
    recent = app.desk.query_one(Recent)
    await until(pilot, lambda: len(recent.pictures) == number, f"{number} pictures")
    await pilot.press("alt+r")
    await until(pilot, lambda: app.focused is recent, "Recent")
    return recent


async def comparing(app: Workstation, pilot: Pilot[None]) -> CompareScreen:
    await until(pilot, lambda: isinstance(app.screen, CompareScreen), "the comparison")
    assert isinstance(app.screen, CompareScreen)
    screen = app.screen
    await until(pilot, lambda: all(view._encoded.columns for view in screen.query(PictureView) if view.display), "both")
    return screen


def said(screen: CompareScreen, name: str) -> str:
    return text_of(screen.query_one(f"#{name}", Static))


def shown(screen: CompareScreen) -> list[str]:
    """The ids of the pictures that are to be seen."""
    return [str(view.border_title).split()[1] for view in screen.query(PictureView) if view.display]


def test_two_are_marked_compared_and_flipped(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await ready(app, pilot)
        one, other = (str(picture.id) for picture in recent.pictures[:2])
        await pilot.press("1", "space", "2", "space", "c")
        screen = await comparing(app, pilot)
        assert shown(screen) == [one, other]
        assert said(screen, "differing").split() == ["CFG", "scale", "7", "9"], "only what differs"
        await until(pilot, lambda: "PSNR" in said(screen, "measured"), "how far they are apart")
        assert "% of the pixels differ, by at most " in said(screen, "measured")
        assert "Esc leaves" in screen_text(app)
        await pilot.press("space")
        assert shown(screen) == [other]
        await pilot.press("space")
        assert shown(screen) == [one]
        await pilot.press("escape")
        assert shown(screen) == [one, other]
        await pilot.press("escape")
        assert app.screen is app.desk

    drive(drawn, act)


@pytest.mark.heavy
def test_without_marks_a_picture_is_compared_with_the_one_on_its_left(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await ready(app, pilot)
        await pilot.press("home", "c")
        assert app.screen is app.desk and "Mark two images" in text_of(app.desk.query_one(Note))
        await pilot.press("right", "right", "c")
        screen = await comparing(app, pilot)
        assert shown(screen) == [str(picture.id) for picture in recent.pictures[1:3]]
        table = said(screen, "differing")
        assert "Prompt" in table and "Seed" in table and "[b]" in table
        assert not {*"\x1b\x07\x9b\u202e"} & {*screen_text(app)}
        await pilot.press("escape", "right", "c")
        screen = await comparing(app, pilot)
        await until(pilot, lambda: "sizes are not the same" in said(screen, "measured"))

    drive(drawn, act)


@pytest.mark.heavy
def test_any_two_are_seen_side_by_side_after_two_keys(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = app.desk.query_one(Recent)
        await until(pilot, lambda: len(recent.pictures) == 4 and recent.region, "four pictures")
        ids = [str(picture.id) for picture in recent.pictures]
        await pilot.press("alt+3")
        await until(pilot, lambda: app.focused is recent and recent.at == 2, "the third, in Recent")
        await pilot.press("alt+1")
        assert shown(await comparing(app, pilot)) == [ids[2], ids[0]]
        await pilot.press("escape", "2", "1", "c")
        assert shown(await comparing(app, pilot)) == [ids[1], ids[0]], "the two that digits chose last"
        await pilot.press("escape", "right", "c")
        assert shown(await comparing(app, pilot)) == [ids[0], ids[1]], "after an arrow the one on its left"

    drive(drawn, act)


def test_a_picture_that_is_chosen_before_there_are_any_is_chosen_then(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = app.desk.query_one(Recent)
        recent.put([], 0)  # as in the first moments
        await pilot.press("alt+2")
        app.desk.refresh_recent()
        await until(pilot, lambda: len(recent.pictures) == 4 and recent.at == 1, "the second")

    drive(drawn, act)


@pytest.mark.heavy
def test_the_table_has_all_that_are_marked(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await pilot.press("1", "space", "2", "space", "4", "space", "c")
        screen = await comparing(app, pilot)
        lines = said(screen, "differing").splitlines()
        assert lines[0].split() == ["[1]", "[2]", "3"], lines
        assert ["CFG", "scale", "7", "9", "9"] in [line.split() for line in lines], lines
        await pilot.press("right")
        assert said(screen, "differing").split()[:3] == ["[1]", "2", "[3]"]
        assert not {*"\x1b\x07\x9b\u202e"} & {*screen_text(app)}
        await pilot.resize_terminal(40, 24)
        await pilot.press("left")
        await until(pilot, lambda: said(screen, "differing").split()[:4] == ["1", "more", "[1]", "[2]"], "two fit")

    drive(drawn, act)


@pytest.mark.heavy
def test_of_three_one_is_rejected_and_one_kept(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await ready(app, pilot)
        ids = [picture.id for picture in recent.pictures]
        await pilot.press("1", "space", "2", "space", "3", "space", "c")
        screen = await comparing(app, pilot)
        await pilot.press("right")
        assert shown(screen) == [str(ids[0]), str(ids[2])], "the active side goes on"
        await pilot.press("tab", "right")
        assert shown(screen) == [str(ids[1]), str(ids[2])]
        await pilot.press("x")
        assert shown(screen) == [str(ids[0]), str(ids[2])] and [*app.marks] == [ids[0], ids[2]]
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "help")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen, "help goes back to the comparison")
        await pilot.press("k")
        assert app.screen is app.desk and [*app.marks] in ([ids[0]], [ids[2]])
        kept = f"Only image {next(iter(app.marks))} is marked now."
        await until(pilot, lambda: kept in text_of(app.desk.query_one(Note)), "what was kept")

    drive(drawn, act)


@pytest.mark.heavy
def test_one_is_deleted_and_brought_back(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await ready(app, pilot)
        before = list(recent.pictures)
        last = Path(before[1].path)
        await pilot.press("1", "space", "2", "space", "c")
        screen = await comparing(app, pilot)
        await pilot.press("D")
        await until(pilot, lambda: shown(screen) == [str(before[0].id)], "one is left")
        assert not last.exists() and [*app.marks] == [before[0].id]
        await until(pilot, lambda: len(recent.pictures) == 3, "Recent without it")
        await until(pilot, lambda: "is in the trash; r restores it" in text_of(screen.query_one(Note)))
        await pilot.press("r")
        await until(pilot, lambda: len(shown(screen)) == 2 and len(recent.pictures) == 4, "it is back")
        assert last.is_file() and list(recent.pictures) == before
        await pilot.press("escape", "r")
        await until(pilot, lambda: "Nothing was deleted" in text_of(app.desk.query_one(Note)))

    drive(drawn, act)


@pytest.mark.heavy
def test_the_trash_is_emptied_once_that_is_agreed_to(drawn: Running) -> None:
    host = drawn
    host.events(host.submit(**{**SAME, "seed": 77}))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ready(app, pilot, 5)
        await pilot.press("U")
        await until(pilot, lambda: "The trash is empty." in text_of(app.desk.query_one(Note)), "nothing is there")
        await pilot.press("end", "D")
        await until(pilot, lambda: len(host.client.trash()) == 1, "it is in the trash")
        await pilot.press("ctrl+p")
        await pilot.press(*"purge", "enter")
        await until(pilot, lambda: isinstance(app.screen, Ask) and "One image, 0.0 MB." in screen_text(app), "asked")
        await pilot.press("escape")
        assert len(host.client.trash()) == 1
        await pilot.press("U")
        await until(pilot, lambda: isinstance(app.screen, Ask), "asked again")
        await pilot.press("y")
        await until(pilot, lambda: "One image is permanently deleted." in text_of(app.desk.query_one(Note)))
        assert host.client.trash() == []

    drive(drawn, act)


@pytest.mark.heavy
def test_the_gallery_marks_compares_and_deletes_too(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.focused, PictureTable) and len(app.focused.pictures) == 4)
        table = app.screen.query_one(PictureTable)
        await pilot.press("space", "down", "space")
        assert [*app.marks] == [table.pictures[0].id, table.pictures[1].id]
        await pilot.press("D")
        await until(pilot, lambda: len(table.pictures) == 3, "a row less")
        assert table.cursor_row == 1, "the cursor stays"
        await pilot.press("r")
        await until(pilot, lambda: len(table.pictures) == 4, "it is back")
        await pilot.press("down", "c")
        await comparing(app, pilot)
        assert "[Gallery]" in screen_text(app), "where it was opened"

    drive(drawn, act)


def test_with_its_last_picture_a_comparison_goes_and_what_stands_over_it(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await ready(app, pilot)
        ids = [picture.id for picture in recent.pictures[:2]]
        await pilot.press("1", "space", "2", "space", "c")
        await comparing(app, pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette), "the palette")
        for number in ids:
            drawn.client.delete_picture(number)
        try:
            await until(pilot, lambda: app.screen is app.desk, "the form")
        finally:
            for number in ids:
                drawn.client.restore_picture(number)

    drive(drawn, act)
