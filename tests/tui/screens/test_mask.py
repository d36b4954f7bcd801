"""The mask editor: shapes by keys and the mouse, zoom, taking back, and what each costs on the line."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.pilot import Pilot

from sdterm.tui import mask
from sdterm.tui.app import Workstation
from sdterm.tui.paper import Paper
from sdterm.tui.picture.masked import BARE
from sdterm.tui.screens.mask import MaskScreen
from sdterm.tui.screens.pick import Ask
from sdterm.tui.widgets.bars import KeyBar, Note
from sdterm.tui.widgets.mask_view import MaskView
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until

SIDE = 128
PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)).resize((SIDE, SIDE))


async def drawing(app: Workstation, pilot: Pilot[None], taken: Callable[[bytes], None] = lambda png: None) -> MaskView:
    """Open the editor over a picture of which no two parts look alike."""
    app._open_over(MaskScreen("12", PICTURE, mask.blank(SIDE, SIDE), taken))
    await until(pilot, lambda: app.screen.query(MaskView), "the editor")
    view = app.screen.query_one(MaskView)
    await until(pilot, lambda: app.focused is view and view._shown, "its picture")
    return view


@pytest.mark.heavy
def test_a_rectangle_is_begun_and_ended_by_its_key(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await pilot.press("home", "pageup", "r", "5", "right", "shift+down")
        assert view.stroke and not view.history.now.any()
        across, down = view.window.dots
        await pilot.press("r")
        assert not view.stroke
        covered = view.history.now
        right, bottom = round(6 * SIDE / across), round(9 * SIDE / down)
        assert covered[:bottom, :right].all() and covered.sum() == 255 * right * bottom
        assert "covered" in str(view.border_subtitle)

    drive(host, act)


@pytest.mark.heavy
def test_each_shape_is_in_the_mask_once_it_ended_and_goes_again(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        shares = [0.0]
        for key in ("b", "e", "o"):
            await pilot.press(key, "4", "right", "4", "down", "4", "left", key)
            shares.append(mask.share(view.history.now))
        assert shares == sorted(set(shares)), "each covers some more"
        for share in reversed(shares[:-1]):
            await pilot.press("u")
            assert mask.share(view.history.now) == share
        await pilot.press("U", "U", "U")
        assert mask.share(view.history.now) == shares[-1]

    drive(host, act)


@pytest.mark.heavy
def test_erasing_takes_away_and_esc_drops_what_was_begun(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await pilot.press("i")
        assert view.history.now.all()
        await pilot.press("x", "r", "shift+right", "shift+down", "escape")
        assert view.history.now.all() and not view.stroke and app.screen.query(MaskView)
        await pilot.press("r", "shift+right", "shift+down", "enter")
        assert 0 < mask.share(view.history.now) < 1 and "x adds again" in str(view.border_subtitle)
        await pilot.press("c")
        assert not view.history.now.any()

    drive(host, act)


def test_the_border_tells_as_much_as_there_is_room_for_and_nothing_is_cut(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        assert "brush 7 px  x erases  z zooms  F1 all keys ═╝" in screen_text(app)
        view.radius = 60
        await pilot.press("x")
        await until(pilot, lambda: "brush 121 px  x adds again  F1 all keys ═╝" in screen_text(app), screen_text(app))

    drive(host, act)


def test_the_mask_grows_and_shrinks_by_pixels_that_were_typed(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await pilot.press("b", "b")
        before = view.history.now
        await pilot.press("4", "g")
        assert np.array_equal(view.history.now, mask.grown(before, 4))
        await pilot.press("4", "s")
        assert abs(mask.share(view.history.now) - mask.share(before)) < 0.005

    drive(host, act)


@pytest.mark.heavy
def test_lengths_are_told_in_the_pictures_pixels(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        def note() -> str:
            return text_of(app.screen.query_one(Note)).strip()

        view = await drawing(app, pilot)
        await pilot.press("home", "pageup", "r", "shift+right", "shift+down")
        assert view.stroke
        left, top, right, bottom = view.stroke.box
        told = f"{view.cursor[0]},{view.cursor[1]}  {right - left}x{bottom - top} px"
        await until(pilot, lambda: note() == told, told)
        await pilot.press("r", "4")
        far = round(4 * view.window.step)
        await until(pilot, lambda: note().endswith(f"4: an arrow goes {far} px; g or s 4 px"), "what the number means")

    drive(host, act)


def test_a_region_is_zoomed_to_and_drawn_in_with_its_own_pixels(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        whole = view.window
        await pilot.press("r", "shift+right", "shift+down", "z")
        assert view.window.zoom > 2 and not view.history.now.any(), "the rectangle was only a region"
        assert "x" in str(view.border_title).split()[-1]
        before = view.cursor
        await pilot.press("r", "r")
        assert view.history.now[before[1], before[0]] and view.history.now.sum() < 255 * 25
        for _ in range(12):
            await pilot.press("shift+right")
        assert view.cursor[0] > before[0] and view.window.left > 0, "what is in sight follows the cursor"
        for _ in range(6):
            await pilot.press("Z")
        assert view.window == whole

    drive(host, act)


@pytest.mark.heavy
def test_the_mouse_draws_with_the_tool_used_last(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await pilot.press("r", "r", "u")
        assert not view.history.now.any()
        left, top = view._corner()
        await pilot.mouse_down(view, offset=(left + 3, top + 3))
        await pilot.hover(view, offset=(left + 9, top + 6))
        await pilot.mouse_up(view, offset=(left + 9, top + 6))
        share = mask.share(view.history.now)
        across, down = view.window.dots
        assert share == pytest.approx(7 * 7 / (across * down), rel=0.3)

    drive(host, act)


def test_enter_ends_a_shape_then_takes_the_mask_as_a_file(host: Running) -> None:
    taken: list[bytes] = []

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot, taken.append)
        keys = text_of(app.screen.query_one(KeyBar))
        assert all(word in keys for word in ("b Brush", "r Rect", "e Oval", "o Lasso", "u Undo", "Enter Use")), keys
        await pilot.press("e", "shift+right", "shift+down", "enter")
        assert not taken and not view.stroke
        canvas = view.history.now
        await pilot.press("enter")
        await until(pilot, lambda: taken, "the mask")
        with Image.open(BytesIO(taken[0])) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (SIDE, SIDE))
            assert np.array_equal(np.asarray(image), canvas)
        assert app.screen is app.desk

    drive(host, act)


@pytest.mark.heavy
def test_leaving_asks_once_something_was_drawn(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await drawing(app, pilot)
        await pilot.press("escape")
        assert app.screen is app.desk, "nothing would be lost"
        view = await drawing(app, pilot)
        await pilot.press("b", "b", "escape")
        await until(pilot, lambda: isinstance(app.screen, Ask), "a question")
        await pilot.press("escape")
        assert app.focused is view and view.history.now.any()
        await pilot.press("escape", "d")
        await until(pilot, lambda: app.screen is app.desk)

    drive(host, act)


class Line:
    """What a terminal would be sent after each key."""

    def __init__(self, app: Workstation) -> None:
        self.app, self.paper = app, Paper()
        self.console = Console(color_system="truecolor", force_terminal=True, width=80)
        self.sent()

    def sent(self) -> int:
        """Bytes since it was asked last, with those around each write."""
        strips = [[strip] for strip in self.app.screen._compositor.render_strips()]
        update = LayoutUpdate(strips, Region(0, 0, 80, 24))  # type: ignore[arg-type] # as the compositor has it
        text, spans = self.paper.write(update, 80, 24, self.console)
        return len(text.encode()) + (len("\x1b[?2026h\x1b[2;2H\x1b[?2026l") if spans else 0)


STROKES = {
    "brush": "b right right right right right right down down down down down down b",
    "rectangle": "r shift+right shift+right shift+down shift+down r",
    "ellipse": "e shift+left shift+left shift+up shift+up right right e",
    "lasso": "o right right down down shift+right shift+down shift+left left left up o",
    "everything": "home pageup r end pagedown r",
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", STROKES)
def test_a_stroke_costs_at_most_2_kb(host: Running, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all its keys, over a picture of which no two cells are alike. Nothing is sent behind it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await until(pilot, lambda: view._fine() == view._shown, "all of the picture")
        await pilot.pause()
        line, sent = Line(app), []
        for key in STROKES[name].split():
            await pilot.press(key)
            sent.append(line.sent())
        assert view.history.now.any() and all(sent)
        await until(pilot, lambda: view._fine() == view._shown, "all of the stroke")
        await pilot.pause()
        assert sum([*sent, line.sent()]) <= 2048, f"{sent}"

    drive(host, act)


def test_whatever_comes_back_is_seen_at_once_in_2_kb_and_fine_by_and_by(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await pilot.press("i")
        await until(pilot, lambda: view._fine() == view._shown, "the mask")
        line = Line(app)
        view.action_invert_mask()
        assert 0 < line.sent() <= 2048, "before anything else goes on"
        assert view._fine() != view._shown, "what has no room yet"
        await until(pilot, lambda: view._fine() == view._shown, "the picture as fine as before")
        assert not any(cell.covered for row in view._shown for cell in row)

    drive(host, act)


@pytest.mark.heavy
def test_in_kitty_the_picture_is_its_own_pixels_and_what_is_covered_are_half_blocks(
    host: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("KITTY_WINDOW_ID", "1")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = await drawing(app, pilot)
        await until(pilot, lambda: view._fine() == view._shown, "all of the picture")
        assert {cell for row in view._shown for cell in row} == {BARE}
        first = view._image_id
        assert first is not None and "\U0010eeee" in screen_text(app)
        await pilot.press("home", "pageup", "r", "4", "right", "4", "down", "r")
        assert view._shown[0][0].covered and view._shown[-1][-1] == BARE
        await pilot.press("z")
        assert view._image_id != first, "the part that is in sight is another picture"

    drive(host, act, preview="kitty")


def test_the_mask_is_to_be_seen_without_colours_too(host: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await drawing(app, pilot)
        await pilot.press("r", "shift+right", "shift+down", "r")
        await until(pilot, lambda: screen_text(app).count("xxxxxxxx") >= 4, "crosses")

    drive(host, act)
