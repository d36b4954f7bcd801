"""How the main screens look: in two sizes, three themes and another language."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from textual.pilot import Pilot
from textual.widgets import DataTable, OptionList

from sdterm.api import Entry
from sdterm.events import PicturesFound, Started, Step
from sdterm.tui.app import Workstation
from sdterm.tui.messages import Happened
from sdterm.tui.palette import Palette
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.compare import CompareScreen
from sdterm.tui.screens.gallery import PictureTable
from sdterm.tui.screens.parameters import ParametersScreen
from sdterm.tui.screens.pick import Ask, Pick
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.prompt import PromptEditor
from sdterm.tui.widgets.recent import Recent
from sdterm.tui.widgets.tiles import Tiles
from sdterm.tui.widgets.wall import Wall
from tests.host.running import Running, wait_until
from tests.tui.conftest import drive, go_to, screen_text, text_of, until
from tests.tui.snapshot import Snapshots

PROMPT = "a (red:1.3) house, [blue:green:0.5] lake AND <lora:nowhere:1> (open"
JOB = 7
STARTED = Started(
    model="sdterm-demo",
    model_hash="0" * 64,
    sampler="Euler a",
    scheduler="Automatic",
    seed=7,
    width=128,
    height=128,
    images=2,
)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in which nothing depends on where the tests run."""
    for name in ("NO_COLOR", "TMUX", "STY", "ZELLIJ", "KITTY_WINDOW_ID", "TERM_PROGRAM", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture(scope="module")
def host(fresh: Running) -> Running:
    """One that has nothing more to tell of its extensions."""
    wait_until(lambda: {extension.state for extension in fresh.client.extensions()} == {"serving"})
    return fresh


@pytest.fixture
def snapshots(host: Running, request: pytest.FixtureRequest, tmp_path: Path) -> Snapshots:
    return Snapshots(host.settings.root, bool(request.config.getoption("--update-snapshots")), tmp_path)


@pytest.fixture(scope="module")
def filled(host: Running) -> Running:
    """A host with three pictures, as flat as a thumbnail keeps them, and three jobs that wait on a queue on hold."""
    noon = datetime(2026, 1, 2, 12).timestamp()
    for number, (prompt, grey) in enumerate((("red house", 64), ("blue lake", 128), ("green tree", 192))):
        path = host.settings.root / "outputs" / f"{number:05}.png"
        picture = Image.new("L", (128, 128), 255 - grey)
        picture.paste(grey, (0, 0, 128, 64))
        infotext = PngInfo()
        infotext.add_text(
            "parameters", f"{prompt}\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {number}, Size: 128x128"
        )
        picture.convert("RGB").save(path, pnginfo=infotext)
        os.utime(path, (noon + number, noon + number))
    after = host.client.health().last_event
    host.client.rescan_pictures()
    for entry in host.client.events(after=after):
        if isinstance(entry.event, PicturesFound) and entry.event.done:
            break
    host.client.pause_queue()
    jobs = [host.submit(prompt=f"job {n}", batch_count=n) for n in (1, 2, 3)]
    host.client.pause(jobs[1])
    host.client.cancel(host.submit(prompt="a mistake"))
    return host


async def up(app: Workstation, pilot: Pilot[None]) -> None:
    """Wait until the host was found and the form shows what it said."""
    await until(pilot, lambda: app.state.host == "up" and app.models, "the host")
    await until(pilot, lambda: app.desk.query_one(Note).text, "what it says")


async def pictured(app: Workstation, pilot: Pilot[None]) -> None:
    """Wait until the newest picture is shown."""
    await up(app, pilot)
    await until(pilot, lambda: len(app.desk.query_one(Recent).pictures) == 3, "three pictures")
    await until(pilot, lambda: "seed 2" in text_of(app.desk.query_one("#picture")), "the newest")
    await until(pilot, lambda: shows_pixels(app.desk.query_one("#picture", PictureView)), "its pixels")
    await until(pilot, lambda: has_tiles(app.desk.query_one(Recent)), "small pictures")


def has_tiles(tiles: Tiles) -> bool:
    """Whether all pictures are to be seen, at the size that there is now."""
    return {(picture.id, tiles.tile(), tiles._way()) for picture in tiles.pictures} <= {*tiles._made}


def shows_pixels(view: PictureView) -> bool:
    return view._encoded.columns > 0


def test_an_empty_house(host: Running, snapshots: Snapshots) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await up(app, pilot)
        await snapshots.take(pilot, "generate-empty")
        await pilot.press("f3")
        await until(pilot, lambda: "The gallery is empty" in screen_text(app))
        await snapshots.take(pilot, "gallery-empty")
        await pilot.press("f4")
        await until(pilot, lambda: "The queue is empty" in screen_text(app))
        await snapshots.take(pilot, "queue-empty")

    drive(host, act, preview="half")
    snapshots.report()


def test_eighty_columns(filled: Running, snapshots: Snapshots) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pictured(app, pilot)
        await snapshots.take(pilot, "generate-picture")
        editor = app.desk.query_one("#prompt", PromptEditor)
        editor.text = PROMPT
        await until(pilot, lambda: editor.traps and editor.border_subtitle, "what is wrong with it")
        await snapshots.take(pilot, "generate-text")
        app.post_message(Happened(Entry(number=1, at=1000.0, job=JOB, event=STARTED)))
        for step in (1, 2, 3, 4, 5):
            event = Step(batch=0, batches=2, step=step, steps=20)
            app.post_message(Happened(Entry(number=1, at=1000.0 + step, job=JOB, event=event)))
        await until(pilot, lambda: "25%" in screen_text(app), "the status line")
        await snapshots.take(pilot, "generate-drawing")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await snapshots.take(pilot, "question")
        await pilot.press("escape", "f3")
        await until(pilot, lambda: isinstance(app.focused, PictureTable) and len(app.focused.pictures) == 3)
        await until(pilot, lambda: shows_pixels(app.screen.query_one("#picture", PictureView)))
        await snapshots.take(pilot, "gallery")
        await pilot.press("f4")
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 4)
        await snapshots.take(pilot, "queue")

    drive(filled, act, preview="half")
    snapshots.report()


def test_recent_and_a_comparison(filled: Running, snapshots: Snapshots) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pictured(app, pilot)
        recent = app.desk.query_one(Recent)
        await pilot.press("alt+r", "space", "left")
        await until(pilot, lambda: recent.has_labels() and has_tiles(recent), "small pictures")
        await until(pilot, lambda: "seed 1" in text_of(app.desk.query_one("#picture")), "the chosen one")
        await snapshots.take(pilot, "recent")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: all(map(shows_pixels, app.screen.query(PictureView))))
        await until(pilot, lambda: "PSNR" in screen_text(app))
        await snapshots.take(pilot, "compare")

    drive(filled, act, preview="half")
    snapshots.report()


def test_a_large_light_terminal(filled: Running, snapshots: Snapshots) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pictured(app, pilot)
        await snapshots.take(pilot, "light-generate-picture")
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.focused, PictureTable) and len(app.focused.pictures) == 3)
        await pilot.press("t")
        await until(pilot, lambda: len(app.screen.query_one(Wall)._made) == 3)
        await snapshots.take(pilot, "light-gallery")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 1)
        await snapshots.take(pilot, "light-models")
        await pilot.press("alt+x")
        await until(pilot, lambda: "serves" in screen_text(app))
        await snapshots.take(pilot, "light-extensions")
        await pilot.press("f2", "ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen))
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count > 10)
        await snapshots.take(pilot, "light-parameters")

    drive(filled, act, (120, 36), preview="half", theme="sdterm-light")
    snapshots.report()


def test_no_colours(filled: Running, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pictured(app, pilot)
        await go_to(pilot, app.desk.query_one("#field-sampler"))
        await snapshots.take(pilot, "mono-generate-picture")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await snapshots.take(pilot, "mono-pick")
        await pilot.press("escape", "ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count > 10)
        await snapshots.take(pilot, "mono-palette")
        await pilot.press("escape", "f1")
        await until(pilot, lambda: app.screen.query("HelpScreen Static"))
        await snapshots.take(pilot, "mono-help")

    drive(filled, act, preview="half")
    snapshots.report()


def test_chinese(filled: Running, snapshots: Snapshots) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await up(app, pilot)
        await until(pilot, lambda: shows_pixels(app.desk.query_one("#picture", PictureView)))
        await until(pilot, lambda: has_tiles(app.desk.query_one(Recent)))
        await snapshots.take(pilot, "chinese-generate-picture")
        await pilot.press("f10")
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count > 10)
        await snapshots.take(pilot, "chinese-settings")

    drive(filled, act, (120, 36), preview="half", language="zh_CN")
    snapshots.report()
