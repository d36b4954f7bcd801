"""One terminal tried: the workstation is opened in it, keys are pressed, and its screen is looked at."""

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdterm.client import connect
from sdterm.core.settings.settings import resolve
from sdterm.events import PicturesFound
from tools.terminals import likeness
from tools.terminals.likeness import Likeness
from tools.terminals.line import Line, served
from tools.terminals.programs import TERMINALS, Start
from tools.terminals.screen import Screen, compositor, screen, window

_RELAY = Path(__file__).with_name("relay.py")
_WITHIN = 60.0  # seconds
_LOOKED = 15.0  # seconds that a picture may take once the program has written all
_LEAST = 10  # cells of a picture's side; thumbnails have fewer
_QUIET = 1.5  # seconds without a byte, and the program has written all
_PROTOCOLS = {
    "kitty": rb"\x1b_G[^;\x1b]*a=[Tt]",
    "iTerm2": rb"\x1b\]1337;(?:Multipart)?File=",
    "sixel": rb"\x1bP[\d;]*q",
    "sextants": rb"\xf0\x9f\xac[\x80-\xbb]",
    "half blocks": "▀".encode(),
}
_PICTURE = likeness.specimen()
_SAID = f"a lake\nSteps: 1, Sampler: Euler, Seed: 1, Size: {likeness.SIDE}x{likeness.SIDE}"


class Step(NamedTuple):
    name: str
    keys: str
    shows: bool | None = True
    """Whether the picture is to be seen then. None: in part, and it is not looked at."""


STEPS = (
    Step("start", ""),
    Step("palette", "\x10", shows=None),
    Step("palette closed", "\x1b"),
    Step("gallery", "\x1bOR"),
    Step("help", "\x1bOP", shows=False),
    Step("back", "\x1bOQ"),
    Step("large", "\x1bw"),
)


class Seen(NamedTuple):
    step: Step
    likeness: Likeness | None
    passed: bool

    def __str__(self) -> str:
        word = "passed" if self.passed else "FAILED"
        if not (found := self.likeness):
            return f"{self.step.name:15} {word}  no picture is seen"
        size = f"{found.box[2] - found.box[0]}x{found.box[3] - found.box[1]}"
        return (
            f"{self.step.name:15} {word}  {size} pixels, colours apart by {found.mean} (worst spot {found.worst}), "
            f"PSNR {found.psnr} dB, stretched by {found.stretch}"
        )


class Trial(NamedTuple):
    """What came of one terminal."""

    protocol: str
    size: str
    seen: list[Seen]

    @property
    def passed(self) -> bool:
        return bool(self.seen) and all(seen.passed for seen in self.seen)


def tried(
    name: str,
    data: Path,
    out: Path,
    *,
    size: tuple[int, int] = (80, 24),
    settings: Mapping[str, str] = {},
    root: Path = Path("/"),
    xterm_js: Path | None = None,
) -> Trial:
    """Its screens go to `out` as PNG files, and with them the bytes that went both ways."""
    terminal = TERMINALS[name]
    line = Line(data, {**terminal.settings, **settings})
    (data / "draft.json").unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        screen(Path(folder) / "x") as shown,
        compositor(shown) if terminal.compositor else nullcontext(shown.environ) as environ,
        served(line, xterm_js) as address,
    ):
        inside = ["python3", str(shutil.copy(_RELAY, folder)), address]
        if terminal.tmux is not None:
            config = Path(folder) / "tmux.conf"
            config.write_text(terminal.tmux)
            inside = ["tmux", "-f", str(config), "-S", f"{folder}/tmux", "new-session", " ".join(inside)]
        command = [*terminal.command(Start(inside, address, Path(folder), *size))]
        if root != Path("/"):
            command = ["chroot", str(root), *command]
        try:
            with window(command, environ, out / f"{name}.log") as process:
                _until(lambda: line.size or process.poll() is not None, _WITHIN)
                assert line.size, f"{name} does not start: {(out / f'{name}.log').read_text()}"
                seen = [_look(step, line, shown, name, out) for step in STEPS]
        finally:
            (out / f"{name}.sent").write_bytes(line.sent)
            (out / f"{name}.answered").write_bytes(line.answered)
    rows, columns, width, height = line.size or (0, 0, 0, 0)
    protocol = next((protocol for protocol, mark in _PROTOCOLS.items() if re.search(mark, line.sent)), "none")
    return Trial(protocol, f"{columns}x{rows} characters, {width}x{height} pixels", seen)


def _look(step: Step, line: Line, shown: Screen, name: str, out: Path) -> Seen:
    """Press the keys, and look at the screen until it is as it should be, or no more is to be expected."""
    before = len(line.sent)
    if step.keys:
        line.type(step.keys)
    _until(lambda: len(line.sent) > before, _WITHIN)
    _until_quiet(line)
    end = time.monotonic() + _LOOKED
    while True:
        image = shown.picture()
        seen = _judged(step, image, line, name)
        if seen.passed or time.monotonic() > end:
            image.save(out / f"{name}-{step.name.replace(' ', '-')}.png")
            return seen
        time.sleep(0.3)


def _judged(step: Step, image: Image.Image, line: Line, name: str) -> Seen:
    rows, columns, width, height = line.size or (0, 0, 0, 0)
    cell = (width // columns, height // rows) if width and height else (9, 18)
    box = likeness.find(image, _LEAST * cell[0])
    found = likeness.compare(image, box, _PICTURE, cell) if box else None
    if step.shows:
        terminal = TERMINALS[name]
        return Seen(step, found, found is not None and found.holds(terminal.mean, terminal.worst))
    return Seen(step, found, step.shows is None or found is None)


def _until(condition: Callable[[], object], limit: float) -> None:
    end = time.monotonic() + limit
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def _until_quiet(line: Line) -> None:
    """Wait until the program has written all that it has to say for now; it has no other way to say so."""
    length, since = len(line.sent), time.monotonic()
    while time.monotonic() - since < _QUIET:
        time.sleep(0.1)
        if len(line.sent) != length:
            length, since = len(line.sent), time.monotonic()


@contextmanager
def data_folder() -> Iterator[Path]:
    """A host with one picture, whose file is the specimen."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        settings = resolve({}, {"SDTERM_DATA": folder})
        said = PngInfo()
        said.add_text("parameters", _SAID)
        with connect(settings) as host:
            (data / "outputs").mkdir(exist_ok=True)
            _PICTURE.save(data / "outputs" / "specimen.png", pnginfo=said)
            after = host.health().last_event
            host.rescan_pictures()
            for entry in host.events(after=after):
                if isinstance(entry.event, PicturesFound) and entry.event.done:
                    break
            try:
                yield data
            finally:
                host.stop()
