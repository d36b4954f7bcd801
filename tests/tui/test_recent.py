"""Recent, the wall, and the picture pane."""

import gc
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sdterm.api import Picture
from sdterm.tui import calls
from sdterm.tui.app import Workstation
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.compare import CompareScreen
from sdterm.tui.screens.wall import WallScreen
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.invitation import EXAMPLES
from sdterm.tui.widgets.large import ChosenPicture
from sdterm.tui.widgets.prompt import PromptEditor
from sdterm.tui.widgets.recent import Recent
from sdterm.tui.widgets.wall import Wall
from tests.host.running import Running, running
from tests.tui.conftest import blocks_in, drive, screen_text, text_of, until, write

FIVE = 5


@pytest.fixture(scope="module")
def drawn(host: Running) -> Running:
    """A host with a job of five pictures and their grid."""
    host.events(host.submit(prompt="red house", steps=1, batch_count=FIVE, grid=True))
    return host


def caption(app: Workstation) -> str:
    return text_of(app.desk.query_one(ChosenPicture)).splitlines()[-1].strip()


async def filled(app: Workstation, pilot: Pilot[None], number: int) -> Recent:
    recent = app.desk.query_one(Recent)
    await until(pilot, lambda: len(recent.pictures) == number, f"{number} pictures")
    return recent


def is_another(app: Workstation, before: object) -> bool:
    return app.screen is not before


@pytest.mark.heavy
def test_the_picture_is_there_again_once_there_is_room_beside_the_form(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await filled(app, pilot, FIVE + 1)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "grid" in caption(app), "the picture that had no room")
        await pilot.resize_terminal(60, 20)
        await pilot.press("alt+w", "escape")
        await until(pilot, lambda: not app.desk.query_one(ChosenPicture).size, "no picture beside a narrow form")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "grid" in caption(app), "the picture that was shown alone")

    drive(drawn, act, size=(60, 20))


@pytest.mark.heavy
def test_walls_and_comparisons_do_not_pile_up(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await filled(app, pilot, FIVE + 1)
        await pilot.press("alt+r")
        await until(pilot, lambda: app.focused is recent, "Recent")
        for key in "bcbcbb":
            before = app.screen
            await pilot.press(key)
            await until(pilot, partial(is_another, app, before), key)
            await until(pilot, lambda: all(len(each.pictures) == FIVE for each in app.screen.query(Wall)), key)
            await pilot.press("2")
        assert [type(screen) for screen in app.screen_stack[1:]] == [WallScreen]
        await pilot.press("escape")
        assert app.screen is app.desk

    drive(drawn, act)


@pytest.mark.heavy
def test_an_empty_pane_says_the_next_step(tmp_path: Path) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "No image yet: write a prompt" in text_of(app.desk.query_one(ChosenPicture)))
        said = text_of(app.desk.query_one(ChosenPicture))
        assert "then F5 generates." in said and "^L, then a adds one" in " ".join(said.split())
        assert [f"M-{number} {prompt}" in said for number, prompt in enumerate(EXAMPLES, 1)] == [True] * len(EXAMPLES)
        await pilot.press("f6")
        await until(pilot, lambda: "nothing was generated yet" in text_of(app.desk.query_one(Note)))

        await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
        await pilot.press("alt+2")
        await until(pilot, lambda: own.client.jobs(limit=1).jobs, "an example, by one key")
        assert own.client.jobs(limit=1).jobs[0].prompt == EXAMPLES[1] == app.form.draft.prompt
        await pilot.press("ctrl+z")
        assert app.form.draft.prompt == ""

    with running(tmp_path) as own:
        own.client.pause_queue()  # no picture is needed
        drive(own, act)


def test_the_third_of_five_is_taken_with_three_keys_and_typing_goes_on(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await filled(app, pilot, FIVE + 1)
        assert "M-r" in str(recent.border_title), "the key that leads there"
        await pilot.press("alt+r")
        await until(pilot, lambda: app.focused is recent and recent.has_labels(), "Recent, with its labels")
        await until(pilot, lambda: blocks_in(text_of(recent)) > 20, "small pictures")
        assert [text_of(recent).splitlines()[-1][7 * at] for at in range(6)] == [*"123456"]
        await pilot.press("3")
        third = recent.chosen()
        assert third and third.number == 2
        await until(pilot, lambda: caption(app).startswith(f"{third.id} "), "the third, large")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.fields.get("seed") == third.seed, "its seed")
        await write(pilot, ", lake")
        assert app.desk.query_one("#prompt", PromptEditor).text == "red house, lake"

    drive(drawn, act)


@pytest.mark.heavy
def test_the_chosen_one_stands_between_bars_and_a_marked_one_has_a_star(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await filled(app, pilot, FIVE + 1)
        await pilot.press("alt+r", "2")
        await until(pilot, lambda: text_of(recent).splitlines()[1][7] == "▐", "a bar on its left")
        lines = text_of(recent).splitlines()
        assert lines[1][14] == "▌" and lines[0][0] == " " and lines[0][21] == " ", "and one on its right; gaps else"
        assert "seed 8" in str(recent.border_subtitle)
        await pilot.press("space")
        await until(pilot, lambda: text_of(recent).splitlines()[0][7] == "*", "a star")
        assert [*app.marks] == [recent.pictures[1].id]
        await pilot.press("space")
        assert not app.marks
        said = text_of(app.desk.query_one(Note))
        await pilot.press("escape")
        await until(pilot, lambda: app.focused is app.desk.query_one("#prompt"), "Esc leaves")
        assert text_of(app.desk.query_one(Note)) == said, "quietly"

    drive(drawn, act)


@pytest.mark.heavy
def test_the_batch_is_seen_at_once_and_one_of_it_taken(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await filled(app, pilot, FIVE + 1)
        await pilot.press("alt+r", "b")
        await until(pilot, lambda: isinstance(app.screen, WallScreen), "the wall")
        tiles = app.screen.query_one(Wall)
        await until(pilot, lambda: len(tiles.pictures) == FIVE and blocks_in(text_of(tiles)) > 100, "five pictures")
        assert [picture.number for picture in tiles.pictures] == [*range(FIVE)]
        assert "Esc leaves" in str(tiles.border_subtitle)
        await pilot.press("home", "right", "down")
        assert tiles.chosen() == tiles.pictures[min(FIVE - 1, 1 + tiles.columns) if 1 + tiles.columns < FIVE else 1]
        await pilot.press("escape")
        assert app.screen is app.desk
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, WallScreen) and app.screen.query_one(Wall).pictures)
        await pilot.press("4", "enter")
        await until(pilot, lambda: app.form.draft.fields.get("seed") == 10 and app.screen is app.desk, "the fourth")

    drive(drawn, act)


@pytest.mark.heavy
def test_the_large_picture_is_left_by_escape_and_by_its_key(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await filled(app, pilot, FIVE + 1)
        for leave in ("escape", "alt+w"):
            await pilot.press("alt+w")
            await until(pilot, lambda: app.focused is app.desk.query_one(ChosenPicture), "the picture alone")
            assert "Esc leaves" in str(app.desk.query_one(ChosenPicture).border_subtitle)
            at = recent.at
            await pilot.press("left")
            assert recent.at == at - 1
            await pilot.press(leave)
            await until(pilot, lambda: app.focused is app.desk.query_one("#prompt"), "the prompt")
            assert not app.desk.has_class("-picture-only")

    drive(drawn, act)


@pytest.mark.heavy
def test_a_key_swaps_form_and_picture_in_small_windows(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await filled(app, pilot, FIVE + 1)
        view = app.desk.query_one(ChosenPicture)
        for size in ((60, 20), (40, 20)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: not view.region and app.desk.settled(), "the form alone")
            assert f"{app.key('show_preview')} Image" in screen_text(app).splitlines()[0]
            await pilot.press("alt+w")
            await until(pilot, lambda: blocks_in(text_of(view)) > 50, "the picture")
            assert "Esc leaves" in str(view.border_subtitle)
            await pilot.press("alt+w")
            await until(pilot, lambda: app.focused is app.desk.query_one("#prompt"), "the form")

    drive(drawn, act, (60, 20), preview="half")


def test_a_seed_of_before_is_kept_after_a_restart(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await filled(app, pilot, FIVE + 1)
        await pilot.press("f6")
        newest = next(p.seed for p in drawn.client.pictures().pictures if p.seed is not None)
        await until(pilot, lambda: app.form.seed == newest, "its seed")

    drive(drawn, act)


@pytest.mark.heavy
def test_what_changed_stands_below_each_picture(drawn: Running) -> None:
    same: dict[str, Any] = {"prompt": "red house", "steps": 1, "sampler": "Heun"}
    several: list[dict[str, Any]] = [{}, {"cfg_scale": 9.0}, {"cfg_scale": 9.0, "sampler": "Euler"}, {"prompt": "lake"}]
    for changes in several:
        drawn.events(drawn.submit(**{**same, **changes}))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = await filled(app, pilot, FIVE + 5)
        await pilot.press("alt+r")
        await until(pilot, lambda: "CFG 9" in text_of(recent) and "Euler" in text_of(recent), "what changed")
        assert "promp" in text_of(recent), "as much as there is room for"
        await pilot.press("left", "left")
        assert str(recent.border_subtitle) == "seed 7  CFG 9"

    drive(drawn, act, (80, 24))
    drive(drawn, act, (120, 36))


@pytest.mark.few(1)
@pytest.mark.parametrize("keep", ["true", "false"])
def test_a_setting_keeps_the_chosen_picture_when_a_job_ends(drawn: Running, keep: str) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = app.desk.query_one(Recent)
        await until(pilot, lambda: len(recent.pictures) > FIVE)
        await pilot.press("alt+r", "left", "left")
        chosen = recent.chosen()
        assert chosen
        drawn.events(drawn.submit(steps=1))
        newest = drawn.client.pictures(limit=1).pictures[0]
        await until(pilot, lambda: recent.pictures[-1].id == newest.id, "the newest in Recent")
        wanted = chosen if keep == "true" else newest
        await until(pilot, partial(is_shown, app, recent, wanted), "what is shown then")

    def is_shown(app: Workstation, recent: Recent, picture: Picture) -> bool:
        return recent.chosen() == picture and caption(app).startswith(f"{picture.id} ")

    drive(drawn, act, keep_chosen=keep)


@pytest.mark.heavy
def test_a_call_that_is_cancelled_before_it_begins_leaves_nothing_behind(host: Running) -> None:
    """As when the workstation closes while small pictures are fetched; what is never awaited would be an error here."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app._carry_out(calls.health())
        app.workers.cancel_all()
        await pilot.pause()
        gc.collect()

    drive(host, act)


@pytest.mark.heavy
def test_recent_is_there_when_options_have_its_place(drawn: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = app.desk.query_one(Recent)
        await until(pilot, lambda: recent.pictures, "pictures")
        await pilot.press("alt+m")
        await until(pilot, lambda: not recent.region, "options in its place")
        await pilot.press("alt+r")
        await until(pilot, lambda: app.focused is recent and recent.has_labels() and recent.region, "Recent")

    drive(drawn, act)


@pytest.mark.heavy
def test_of_a_grid_the_last_two_pictures_are_compared(drawn: Running) -> None:
    """It is what a job of several pictures shows in the end, and it has no other to be measured against."""

    drawn.events(drawn.submit(prompt="red house", steps=1, batch_count=2, grid=True))
    grid, last, first = drawn.client.pictures(limit=3).pictures

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = app.desk.query_one(Recent)
        await until(pilot, lambda: bool(recent.pictures) and recent.pictures[-1].id == grid.id)
        await pilot.press("alt+r")
        await until(pilot, lambda: app.focused is recent)
        assert grid.kind == "grid" and recent.chosen() == grid
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        titles = [str(view.border_title).split()[1] for view in app.screen.query(PictureView)]
        assert titles == [str(first.id), str(last.id)]

    drive(drawn, act)
