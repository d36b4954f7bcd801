"""A picture among other widgets: shown in every mode, and nothing is sent twice."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Label

from sdterm.tui.picture import kitty
from sdterm.tui.picture.budget import Budget, Frame
from sdterm.tui.picture.preview import LivePreview
from sdterm.tui.picture.support import Protocol
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import PictureView
from tests.tui.picture.reader import (
    distance,
    half_block_picture,
    inline_picture,
    kitty_pictures,
    placed_cells,
    sixel_picture,
)

REST = 0.3  # seconds: longer than the app waits for calm before it draws sixel
WITHIN = 60.0  # seconds


class Dialog(ModalScreen[None]):
    CSS = "Dialog { align: center middle; } #words { width: 20; height: 3; }"

    def compose(self) -> ComposeResult:
        yield Label("Are you sure?", id="words")


class Gallery(PictureApp[None]):
    """What it would write besides Textual's own text is kept."""

    def __init__(self, mode: Protocol) -> None:
        super().__init__()
        self.mode = mode
        self.out: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("nothing", id="words")
            yield PictureView(mode=self.mode)

    def write_to_terminal(self, sequence: str) -> None:
        if sequence:
            self.out.append(sequence)

    @property
    def view(self) -> PictureView:
        return self.query_one(PictureView)

    def lines(self) -> list[Any]:
        return [self.view.render_line(y) for y in range(self.view.size.height)]


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")


@pytest.fixture(scope="module")
def photo(repo: Path) -> bytes:
    return (repo / "docs" / "images" / "sunset-red-house.png").read_bytes()


def jpeg(colour: str, size: tuple[int, int] = (64, 64)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


async def shown(app: Gallery, pilot: Pilot[None], data: bytes, **options: Any) -> int:
    await pilot.pause()  # what is still to be painted would be painted over the picture
    written = await asyncio.wait_for(app.view.shown(data, **options), WITHIN)
    await pilot.pause()
    return written


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():
            await pilot.pause(0.01)


async def made(app: Gallery, pilot: Pilot[None]) -> None:
    """Wait until nothing is made any more, and what was made is on the screen."""
    await pilot.pause()
    await until(pilot, lambda: not [*app.workers])
    await pilot.pause()


async def drawn_again(app: Gallery, pilot: Pilot[None], count: int) -> None:
    """Wait until so much was written in all, and a while longer, in which there is no more."""
    await until(pilot, lambda: len(app.out) >= count)
    await pilot.pause(REST)
    assert len(app.out) == count


def run(scenario: Any) -> None:
    asyncio.run(scenario)


def test_half_blocks_fill_the_middle_and_keep_the_proportions(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("half")
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo, caption="seed 42")
            lines = app.lines()
            assert lines[-1].text.strip() == "seed 42"
            assert {line.cell_length for line in lines} == {60}
            picture = half_block_picture([line.crop(15, 45) for line in lines[:-1]])
            with Image.open(BytesIO(photo)) as original:
                assert distance(picture, original) < 8
            assert {line.crop(0, 15).text for line in lines[:-1]} == {" " * 15}

    run(scenario())


def test_every_mode_shows_what_it_says(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("off")
        async with app.run_test(size=(60, 17)) as pilot:
            app.view.show(photo, caption="a caption")
            await pilot.pause()
            assert "".join(line.text for line in app.lines()).strip() == ""
            app.view.mode = "text"
            await pilot.pause()
            assert "".join(line.text for line in app.lines()).strip() == "a caption"
            app.view.mode = "half"
            await made(app, pilot)
            assert "▀" in app.lines()[5].text
            assert not app.out

    run(scenario())


def test_kitty_is_sent_each_picture_once_and_told_to_forget_the_last(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("kitty")
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo)
            ((number, (keys, picture)),) = kitty_pictures("".join(app.out)).items()
            with Image.open(BytesIO(photo)) as original:
                assert distance(picture, original) < 8
            cells = placed_cells(app.lines(), kitty._marks())
            assert {cell[0] for cell in cells.values()} == {number}
            assert len(cells) == int(keys["c"]) * int(keys["r"]) == 32 * 16

            sent = len(app.out)
            app.query_one("#words", Label).update("something else")
            app.view.refresh()
            app.view.show(photo)
            await pilot.pause()
            await app.push_screen(Dialog())
            await pilot.pause()
            await app.pop_screen()
            await pilot.pause()
            assert len(app.out) == sent

            await shown(app, pilot, jpeg("red"))
            ((other, (_, picture)),) = kitty_pictures("".join(app.out)).items()
            assert other != number
            assert distance(picture, Image.new("RGB", (8, 8), "red")) < 4
            await app.view.remove()
            assert not kitty_pictures("".join(app.out))

    run(scenario())


def test_sixel_is_drawn_again_only_when_its_cells_were_written_over(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("sixel")
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo)
            assert len(app.out) == 1
            before, _, rest = app.out[0].partition("\x1bP")
            assert before == "\x1b7\x1b[2;15H"
            with Image.open(BytesIO(photo)) as original:
                assert distance(sixel_picture("\x1bP" + rest.removesuffix("\x1b8")), original) < 15

            app.query_one("#words", Label).update("something else")
            await pilot.pause()
            app.view.show(photo)
            await pilot.pause(REST)
            assert len(app.out) == 1, "an unrelated repaint sent the picture again"

            await app.push_screen(Dialog())
            await pilot.pause(REST)
            assert len(app.out) == 1, "the picture was drawn over a dialog"
            await app.pop_screen()
            await drawn_again(app, pilot, 2)  # what the dialog wiped out

            app.view.mode = "half"
            await made(app, pilot)
            app.view.refresh()
            await pilot.pause(REST)
            assert len(app.out) == 2

    run(scenario())


def test_inline_images_are_drawn_over_their_cells(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("iterm")
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo)
            before, _, rest = app.out[0].partition("\x1b]1337")
            assert before == "\x1b7\x1b[2;15H" and len(app.out) == 1
            given, picture = inline_picture("\x1b]1337" + rest.removesuffix("\x1b8"))
            assert (given["width"], given["height"]) == ("32", "16")
            with Image.open(BytesIO(photo)) as original:
                assert distance(picture, original) < 8

    run(scenario())


@pytest.mark.parametrize(("mode", "signs"), [("ascii", " .:-=+*#%@"), ("quadrant", " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█")])
def test_other_characters_stand_in_where_they_are_chosen(photo: bytes, mode: Protocol, signs: str) -> None:
    async def scenario() -> None:
        app = Gallery(mode)
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo)
            used = {*"".join(line.text for line in app.lines())}
            assert used <= {*signs} and len(used) > 4

    run(scenario())


def test_a_toast_over_a_sixel_picture_stays_readable(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("sixel")
        async with app.run_test(size=(60, 17), notifications=True) as pilot:
            await shown(app, pilot, photo)
            app.notify("Saved.", timeout=600)
            await until(pilot, lambda: any(toast.region for toast in app.screen.query("Toast")))
            await pilot.pause(REST)
            count = len(app.out)
            app.view.refresh()
            await pilot.pause(REST)
            assert len(app.out) == count
            app.clear_notifications()
            await drawn_again(app, pilot, count + 1)

    run(scenario())


def test_what_was_shown_before_is_not_made_again(photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from sdterm.tui.picture import image

    async def scenario() -> None:
        app = Gallery("half")
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo)
            first = [line.text for line in app.lines()]
            await shown(app, pilot, jpeg("red"))
            monkeypatch.setattr(image, "read", None)
            assert await shown(app, pilot, photo) > 0
            assert [line.text for line in app.lines()] == first
            assert await shown(app, pilot, photo) == 0, "what is on the screen was written again"

    run(scenario())


@pytest.mark.parametrize("mode", ["half", "sextant", "kitty", "iterm", "sixel"])
def test_hostile_bytes_show_a_sentence(mode: Protocol) -> None:
    huge = BytesIO()
    Image.new("1", (7_000, 7_000)).save(huge, "PNG")
    hostile = [b"", b"no picture \x1b]0;owned\x07", jpeg("red", (300, 300))[:500], huge.getvalue()]
    caption = "\x1b[31mevil\x1b]0;owned\x07 [@click=app.quit]x[/] " + "e\u0301" * 3000

    async def scenario() -> None:
        app = Gallery(mode)
        async with app.run_test(size=(40, 12)) as pilot:
            for data in hostile:
                await shown(app, pilot, data, caption=caption)
                text = "\n".join(line.text for line in app.lines())
                assert "This image" in text or "This file" in text
                assert "\x1b" not in text and "\x07" not in text
                assert {line.cell_length for line in app.lines()} == {40}
            assert not app.out

    run(scenario())


@pytest.mark.few(5)
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 5), (40, 2), (200, 60)])
@pytest.mark.parametrize("mode", ["ascii", "half", "quadrant", "kitty", "iterm", "sixel"])
def test_no_size_is_too_small_or_too_large(mode: Protocol, size: tuple[int, int], photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery(mode)
        async with app.run_test(size=size) as pilot:
            app.view.show(photo, caption="图像 42")
            await pilot.pause()
            for width, height in ((80, 24), size, (40, 3)):
                await pilot.resize_terminal(width, height)
                await made(app, pilot)
                assert {line.cell_length for line in app.lines()} <= {app.view.size.width}

    run(scenario())


def test_without_colours_there_are_none(photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scenario() -> None:
        app = Gallery("kitty")
        async with app.run_test(size=(60, 17)) as pilot:
            await shown(app, pilot, photo)
            text = "".join(line.text for line in app.lines())
            assert set(text) <= set(" ░▒▓█") and len(set(text)) > 2
            assert not app.out

    run(scenario())


def test_a_preview_is_as_small_as_its_budget_says(photo: bytes) -> None:
    async def scenario() -> None:
        app = Gallery("half")
        async with app.run_test(size=(120, 40)) as pilot:
            frame = Frame(32, 16)
            written = await shown(app, pilot, photo, frame=frame)
            assert 1000 < written < frame.limit + 40 * 80

    run(scenario())


@pytest.mark.parametrize("mode", ["half", "mono"])
def test_a_preview_has_the_place_of_the_picture_that_it_will_be(
    photo: bytes, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "mono":
        monkeypatch.setenv("NO_COLOR", "1")

    async def scenario() -> None:
        app = Gallery("half")
        async with app.run_test(size=(120, 40)) as pilot:
            await shown(app, pilot, photo, frame=Frame(32, 16))
            place, coarse = app.view._place, "".join(line.text for line in app.lines())
            await shown(app, pilot, photo)
            assert app.view._place == place and place.width > 32
            assert "".join(line.text for line in app.lines()) != coarse, "and is coarser"

    run(scenario())


def test_the_live_preview_shows_the_newest_state_and_always_the_last(photo: bytes) -> None:
    """The clock stands still: after the first frame only the last state has a right to be shown."""
    asked: list[int] = []

    async def scenario() -> None:
        app = Gallery("half")
        async with app.run_test(size=(60, 17)) as pilot:
            preview = LivePreview(app.view, Budget(), clock=lambda: 1.0)

            def fetch_of(step: int) -> Any:
                async def fetch() -> bytes | None:
                    asked.append(step)
                    return jpeg("red" if step < 20 else "blue")

                return fetch

            for step in range(1, 21):
                preview.offer(step, 20, fetch_of(step))
            await made(app, pilot)
            blue = half_block_picture([line.crop(20, 40) for line in app.lines()[4:12]])
            assert distance(blue, Image.new("RGB", (4, 4), "blue")) < 10

    run(scenario())
    assert asked == [5, 20]


def test_pillow_is_imported_with_the_first_picture(repo: Path) -> None:
    code = "import sys, sdterm.tui.picture.preview as p; print({'PIL', 'numpy', 'textual_image'} & set(sys.modules))"
    environ = os.environ | {"PYTHONPATH": str(repo)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.strip() == "set()"
