"""The Gallery: columns, orders, batches, the wall, a large picture, and a filter that completes itself."""

import asyncio

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from sdterm.core.settings.settings import resolve
from sdterm.tui.app import Workstation
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.columns import Columns
from sdterm.tui.screens.gallery import PictureTable
from sdterm.tui.widgets.bars import KeyBar, Note
from sdterm.tui.widgets.large import ChosenPicture
from sdterm.tui.widgets.recent import Recent
from sdterm.tui.widgets.wall import Wall
from tests.host.running import Running
from tests.tui.conftest import blocks_in, drive, screen_text, text_of, until, write

PROMPTS = ("a castle on a hill, morning mist", "a castle on a hill, evening light", "a boat")


@pytest.fixture(scope="module")
def drawn(host: Running) -> Running:
    """Six pictures of four jobs, the last of which has three."""
    for seed, (prompt, sampler) in enumerate(zip(PROMPTS, ("Euler a", "Euler", "Heun"), strict=True)):
        host.events(host.submit(prompt=prompt, seed=30 - seed, steps=1 + seed, sampler=sampler))
    host.events(host.submit(prompt="a batch of lakes", seed=5, steps=2, batch_count=3))
    return host


async def opened(app: Workstation, pilot: Pilot[None]) -> PictureTable:
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(app.focused, PictureTable) and len(app.focused.pictures) >= 6)
    return app.screen.query_one(PictureTable)


def titles(table: PictureTable) -> list[str]:
    return [str(column.label).rstrip(" ↑↓") for column in table.ordered_columns[1:]]


def seeds(table: PictureTable) -> list[int | None]:
    return [line.picture.seed for line in table.lines]


@pytest.mark.heavy
def test_columns_fit_the_width_and_tell_the_pictures_apart(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        assert titles(table)[:3] == ["No.", "Seed", "Sampler"] and titles(table)[-1] == "Prompt"
        screen = screen_text(app)
        assert "morning" in screen and "evening" in screen and "Heun" in screen
        bar = text_of(app.screen.query_one(KeyBar))
        assert all(hint in bar for hint in ("i img2img", "m Mask", "h Hires", "u Upscale", "Space Mark", "D Delete")), (
            bar
        )
        assert "/ filters, t wall, z large" in screen
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: {"Steps", "CFG", "Size", "Model", "Time"} <= {*titles(table)})
        view = app.screen.query_one("#picture", PictureView)
        await until(pilot, lambda: view.size.width > 60 and view.size.height > 30)

    drive(drawn, act)


@pytest.mark.heavy
def test_no_column_is_below_the_scrollbar(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await until(pilot, lambda: table.show_vertical_scrollbar)
        await until(pilot, lambda: table.virtual_size.width <= table.scrollable_content_region.width, "no cut column")

    drive(drawn, act, (80, 12))


@pytest.mark.heavy
def test_columns_are_chosen_and_ordered_in_a_dialog(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, Columns) and app.screen.query_one(OptionList).option_count)
        await pilot.press("space", "down", "down", "K", "down", "down", "space", "enter")  # no number, sampler first
        await until(pilot, lambda: titles(table)[:2] == ["Sampler", "Seed"] and "No." not in titles(table))
        kept = resolve({}, {"SDTERM_DATA": str(drawn.settings.root)})["gallery_columns"]
        assert kept == ("sampler", "seed", "cfg", "size", "model", "time", "prompt")
        app.write_setting("gallery_columns", None)

    drive(drawn, act)


@pytest.mark.heavy
def test_the_host_sorts_by_any_column_both_ways(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await pilot.press("down", "o")
        await until(pilot, lambda: seeds(table)[:4] == [5, 6, 7, 28] and table.cursor_row == 0)
        await until(pilot, lambda: "Sorted by Seed ↑" in text_of(app.screen.query_one(Note)))
        await pilot.press("O")
        await until(pilot, lambda: seeds(table)[:4] == [30, 29, 28, 7])
        await pilot.press("o")
        await until(pilot, lambda: "Sampler: Euler," in table.lines[0].picture.infotext)

    drive(drawn, act)


@pytest.mark.heavy
def test_the_row_that_takes_a_deleted_ones_place_is_chosen(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        view = app.screen.query_one(ChosenPicture)
        before, count = [*table.pictures], len(table.pictures)
        assert f"Gallery  {count} images" in str(table.border_title)
        await pilot.press("down", "D")
        await until(pilot, lambda: len(table.pictures) == count - 1, "a row less")
        assert table.cursor_row == 1 and table.chosen() == before[2]
        infotext = app.screen.query_one("#infotext", Static)
        await until(pilot, lambda: before[2].path[-12:] in "".join(text_of(infotext).split()), "its infotext")
        assert f"Gallery  {count - 1} images" in str(table.border_title)
        await until(
            pilot, lambda: view.chosen() == before[2] and f"{before[2].id}  128x128" in screen_text(app), "its picture"
        )
        await pilot.press("r")
        await until(pilot, lambda: [*table.pictures] == before, "it is back")
        await until(pilot, lambda: f"Gallery  {count} images" in str(table.border_title), "all are counted")
        assert table.chosen() == before[2], "the choice stays"

    drive(drawn, act, (100, 30))


@pytest.mark.heavy
def test_marks_are_stars_and_sizes_are_told_where_they_differ(drawn: Running) -> None:
    job = drawn.submit(prompt="a tall boat", seed=3, steps=1, width=64, height=128)
    drawn.events(job)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        assert titles(table)[:3] == ["No.", "Seed", "Size"] and "64x128" in screen_text(app)
        await pilot.press("space", "down", "space")
        await until(pilot, lambda: [table.get_row_at(n)[0].plain[1] for n in range(3)] == ["*", "*", " "], "stars")
        await pilot.press("space")
        await until(pilot, lambda: [table.get_row_at(n)[0].plain[1] for n in range(3)] == ["*", " ", " "], "one less")
        drawn.client.delete_picture(table.pictures[0].id)
        await until(pilot, lambda: table.pictures[0].job != job, "as before")

    drive(drawn, act)


def test_a_batch_folds_into_one_line_and_opens_again(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        whole = len(table.lines)
        await pilot.press("down", "f")
        await until(pilot, lambda: len(table.lines) == whole - 2 and "(3)" in screen_text(app))
        assert table.cursor_row == 0
        await pilot.press("down", "f")
        await until(pilot, lambda: "only one of its job" in text_of(app.screen.query_one(Note)))
        await pilot.press("up", "f")
        await until(pilot, lambda: len(table.lines) == whole)
        await pilot.press("F")
        await until(pilot, lambda: len(table.lines) == whole - 2)

    drive(drawn, act)


@pytest.mark.heavy
def test_a_setting_folds_all_from_the_start(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await until(pilot, lambda: table.lines and table.lines[0].is_folded)
        await pilot.press("s")
        await until(pilot, lambda: app.form.draft.fields.get("seed") == 7)

    drive(drawn, act, gallery_folded="true")


@pytest.mark.heavy
def test_the_wall_is_walked_by_arrows_and_gives_its_picture(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await pilot.press("t")
        wall = app.screen.query_one(Wall)
        await until(pilot, lambda: app.focused is wall and blocks_in(text_of(wall)))
        await pilot.press("end")
        await until(pilot, lambda: wall.chosen() == table.pictures[-1])
        await until(pilot, lambda: text_of(wall).count("▐") and f" {table.pictures[-1].id} 30" in text_of(wall))
        await pilot.press("left", "up", "down")
        await until(pilot, lambda: wall.chosen() == table.pictures[-2])
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == PROMPTS[1])
        await pilot.press("f3", "t")
        await until(pilot, lambda: app.focused is table)

    drive(drawn, act)


@pytest.mark.heavy
@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24)])
def test_a_picture_is_shown_large_and_the_next_one_too(drawn: Running, width: int, height: int) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        view = app.screen.query_one(ChosenPicture)
        await pilot.press("end", "G", "z")
        await until(pilot, lambda: app.focused is view and view.size.width > width - 5 and view.size.height > 10)
        await until(pilot, lambda: blocks_in(text_of(view)) and "seed 30" in text_of(view))
        await pilot.press("left")
        await until(pilot, lambda: "seed 29" in text_of(view))
        await pilot.press("space")
        assert [*app.marks] == [table.pictures[-2].id], "Space marks, and shows no other picture"
        await pilot.press("space")
        assert not app.marks
        await until(pilot, lambda: "seed 29" in text_of(view))
        await pilot.press("f1")
        await until(pilot, lambda: "Here: Where an image is chosen" in screen_text(app), "help about pictures")
        await pilot.press("f1", "left", "right")
        await until(pilot, lambda: app.focused is view and "seed 29" in text_of(view), "back at the large picture")
        await pilot.press("escape")
        await until(pilot, lambda: app.focused is table and table.chosen() == table.pictures[-2])

    drive(drawn, act, (width, height))


def test_a_picture_is_seen_on_sixty_and_on_forty_columns(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        view = app.screen.query_one("#picture", PictureView)
        await until(pilot, lambda: blocks_in(text_of(view)))
        await pilot.resize_terminal(40, 20)
        await until(pilot, lambda: view.size.width < 40 and blocks_in(text_of(view)))

    drive(drawn, act, (60, 20))


@pytest.mark.heavy
def test_the_filter_completes_its_fields_and_values(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        await pilot.press("slash")
        line = app.screen.query_one("#filter", Input)
        assert "sampler:" in text_of(app.screen.query_one(Note))
        bar = text_of(app.screen.query_one(KeyBar))
        assert "Tab Complete  Enter Filter  Esc Back" in bar, bar
        assert "Wall" not in bar and "Fold" not in bar, "letters are written here"
        await write(pilot, "sam")
        await until(pilot, lambda: "sampler:" in screen_text(app).splitlines()[1])
        await pilot.press("tab")
        assert line.value == "sampler:"
        await write(pilot, "eu")
        await until(pilot, lambda: 'ler a"' in screen_text(app).splitlines()[1])
        await pilot.press("down")
        await until(pilot, lambda: screen_text(app).splitlines()[1].strip().startswith("sampler:euler "))
        await pilot.press("right")
        await until(pilot, lambda: line.value == "sampler:Euler")
        await pilot.press("enter")
        await until(pilot, lambda: app.focused is table and table.pictures and len(table.pictures) < 7)
        await pilot.press("slash", "escape")
        await until(pilot, lambda: app.focused is table)

    drive(drawn, act)


def test_what_was_drawn_meanwhile_is_there_when_the_gallery_is_opened_again(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        table = await opened(app, pilot)
        number = len(table.pictures)
        await pilot.press("down", "f2")
        chosen = table.chosen()
        await asyncio.to_thread(lambda: drawn.events(drawn.submit(prompt="a new lake", seed=70, steps=1)))
        await until(pilot, lambda: app.desk.query_one(Recent).pictures[-1].seed == 70, "the new picture")
        await pilot.press("f3")
        await until(pilot, lambda: len(table.pictures) == number + 1 and table.pictures[0].seed == 70, "it is listed")
        assert table.chosen() == chosen, "the cursor stays with its picture"
        await pilot.press("f2")

    drive(drawn, act)


def test_it_opens_without_colours(drawn: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await until(pilot, lambda: app.no_color and "morning mist" in screen_text(app))

    drive(drawn, act)
