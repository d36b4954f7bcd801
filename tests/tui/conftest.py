"""The workstation on a real host with the embedded model, driven by keys."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from textual.app import App
from textual.css.query import NoMatches
from textual.pilot import Pilot
from textual.widget import Widget

from sdterm.api import ENDED, State
from sdterm.core.settings.settings import resolve
from sdterm.events import PicturesFound
from sdterm.tui import draft as drafts
from sdterm.tui.app import Workstation
from sdterm.tui.language import use
from tests.host.running import Running, running, wait_until

WITHIN = 60.0  # seconds
OWN = ("run", "cache", "installed", "inputs")  # of the host

Act = Callable[[Workstation, Pilot[None]], Awaitable[None]]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One host, and one process that draws, for the tests of many files."""
    with running(tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture(scope="module")
def host(shared: Running) -> Iterator[Running]:
    """It begins with an empty gallery, nothing that waits, and the files of a new data folder. The numbers of jobs and
    pictures go on from one file of tests to the next."""
    client = shared.client
    wait_until(lambda: {extension.state for extension in client.extensions()} == {"serving"})
    before, extensions = _files(shared), {extension.slug for extension in client.extensions()}
    yield shared
    client = shared.client  # of the host that runs now: one may have died
    client.resume_queue()
    for job in client.jobs([state for state in get_args(State) if state not in ENDED], limit=500).jobs:
        client.cancel(job.id)
        shared.events(job.id)
    while pictures := client.pictures(limit=100).pictures:
        for picture in pictures:
            client.delete_picture(picture.id)
    client.empty_trash()
    for file in _files(shared) - before:
        file.unlink(missing_ok=True)
    wait_until(lambda: {extension.slug for extension in client.extensions()} == extensions)


def _files(host: Running) -> set[Path]:
    """Those that tests make."""
    root = host.settings.root
    return {path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] not in OWN}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A host of a file's own, which has just started in an empty folder."""
    with running(tmp_path_factory.mktemp("data")) as found:
        yield found


def drive(
    host: Running, act: Act, size: tuple[int, int] = (80, 24), *, keep_draft: bool = False, **settings: str
) -> None:
    """Open the workstation with an empty form (unless it is kept) and do something there."""
    data = host.settings.root
    if not keep_draft:
        (data / drafts.FILE).unlink(missing_ok=True)

    async def go() -> None:
        given = {f"SDTERM_{key.upper()}": value for key, value in settings.items()}
        app = Workstation(resolve({}, {"SDTERM_DATA": str(data), **given}))
        app.patience = WITHIN  # a busy machine is no reason to hear the next key early
        try:
            async with app.run_test(size=size) as pilot:
                await act(app, _Patient(pilot))
                app.exit()  # as a user leaves: what still loads is given up before the screens go
                while app.is_running:
                    await asyncio.sleep(0)
        finally:
            use(None)

    asyncio.run(go())


class _Patient(Pilot[None]):
    """Presses keys, and waits until they have done what they do."""

    def __init__(self, pilot: Pilot[None]) -> None:
        super().__init__(pilot.app)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await super().press(key)
            assert isinstance(self.app, Workstation)
            await self.app.heard()
        await self.pause()


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str = "") -> None:
    """Wait for something that is to come."""
    deadline = asyncio.get_running_loop().time() + WITHIN
    pause = 0.02
    while not _holds(pilot.app, condition):
        assert asyncio.get_running_loop().time() < deadline, f"it never came: {what}\n{screen_text(pilot.app)}"
        await pilot.pause(pause)
        pause = min(1.2 * pause, 0.06)  # who waits for long leaves the machine to what it waits for


def _holds(app: App[None], condition: Callable[[], object]) -> bool:
    """A screen that is being opened, or made anew, is not there before its widgets are."""
    try:
        return all(screen.is_mounted for screen in app.screen_stack[-1:]) and bool(condition())
    except NoMatches:
        return False


async def go_to(pilot: Pilot[None], widget: Widget) -> None:
    """Give a widget the focus, and wait until it has it."""
    widget.focus()
    await until(pilot, lambda: pilot.app.focused is widget, f"the focus on {widget}")


def blocks_in(text: str) -> int:
    """How many characters that pictures are made of, with many colours or with few."""
    return sum(text.count(sign) for sign in "▀░▒▓")


def screen_text(app: object) -> str:
    """What is on the screen, as text."""
    assert isinstance(app, Workstation)
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)


def text_of(widget: Widget) -> str:
    """What a widget shows."""
    return "\n".join(widget.render_line(y).text.rstrip() for y in range(widget.size.height))


def add_picture(
    host: Running, infotext: str, size: tuple[int, int] = (128, 128), picture: Image.Image | None = None
) -> None:
    """A file that somebody put into the outputs folder, listed."""
    said = PngInfo()
    said.add_text("parameters", infotext)
    folder = host.settings.root / "outputs"
    (picture or Image.new("RGB", size, "navy")).save(folder / f"found{len([*folder.iterdir()])}.png", pnginfo=said)
    after = host.client.health().last_event
    host.client.rescan_pictures()
    for entry in host.client.events(after=after):
        if isinstance(entry.event, PicturesFound) and entry.event.done:
            return


async def write(pilot: Pilot[None], text: str) -> None:
    """Type a text."""
    for character in text:
        await pilot.press(_KEYS.get(character, character))


_KEYS = {
    " ": "space",
    ",": "comma",
    "(": "left_parenthesis",
    ")": "right_parenthesis",
    ":": "colon",
    ".": "full_stop",
    "<": "less_than_sign",
    ">": "greater_than_sign",
    "_": "underscore",
    "-": "minus",
    "*": "asterisk",
}
