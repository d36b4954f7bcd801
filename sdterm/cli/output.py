"""How a run is shown in a pipe and as JSON, and the sentences that all ways of showing share."""

import contextlib
import os
import sys
from types import TracebackType
from typing import Protocol, Self

import click

from sdterm.cli.errors import say
from sdterm.cli.print_json import print_json
from sdterm.core.files import write_atomically
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.core.settings.settings import Settings
from sdterm.events import (
    Cancelled,
    Done,
    Event,
    Failed,
    Grid,
    Image,
    Interrupted,
    Paused,
    Resumed,
    SideImage,
    Started,
    SteppedDown,
    Waiting,
    Warning,
)
from sdterm.messages import Message, message, plural, sentences

_GIB = 1024**3


class Output(Protocol):
    """Shows the events of a run; a context that tidies up the terminal."""

    wants_previews: bool

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, event: Event) -> None: ...


class JsonOutput:
    """One JSON object a line on stdout, for programs."""

    wants_previews = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        print_json(event.model_dump_json())


class PlainOutput:
    """In a pipe: the saved files' paths on stdout, words on stderr."""

    wants_previews = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        match event:
            case Image(path=path, infotext=infotext):
                _print_path(path)
                for line in infotext.splitlines():
                    say(line)
            case Grid(path=path) | SideImage(path=path):
                _print_path(path)
            case _:
                for line in told(event, self._settings):
                    say(line)


def _print_path(path: str | None) -> None:
    if path:  # a picture that stays on another machine has none here
        click.echo(path)


def output_for(as_json: bool, no_show: bool, settings: Settings) -> Output:
    """How a run is shown here."""
    if as_json:
        return JsonOutput()
    if not sys.stdout.isatty():
        return PlainOutput(settings)
    from sdterm.cli.picture import known_terminal
    from sdterm.cli.terminal import TerminalOutput
    from sdterm.tui.picture.support import Terminal, support

    terminal = Terminal(os.environ) if no_show else known_terminal(settings.root)
    how = support(terminal, "off" if no_show else settings["preview"])
    return TerminalOutput(settings, how, terminal.heard)


def told(event: Event, settings: Settings) -> list[str]:
    """What there is to say about an event."""
    match event:
        case Started(demo=demo, memory=memory):
            return [*(_demo_notice(settings) if demo else []), *([memory] if memory else [])]
        case Warning(message=text):
            return [message("Warning: {warning}", warning=text)]
        case SteppedDown(message=text):
            return [text]
        case Resumed(images=images, calls=calls):
            return [
                plural(
                    "Resumed: {calls} network calls of {number} image came from the tape.",
                    "Resumed: {calls} network calls of {number} images came from the tape.",
                    images,
                    calls=calls,
                )
            ]
        case Interrupted(message=text):
            return [sentences(text, message("Continuing from the tape."))]
        case Waiting(message=text, advice=advice):
            return [message("Waiting: {why}", why=sentences(text, advice))]
        case Paused(step=None, images=images):
            return [sentences(message("Paused."), _finished(images))]
        case Paused(step=step, images=images, pass_no=0):
            return [sentences(message("Paused at step {step}.", step=step), _finished(images))]
        case Paused(step=step, images=images, pass_no=pass_no):
            at = message("Paused at step {step} of pass {number}.", step=step, number=pass_no + 1)
            return [sentences(at, _finished(images))]
        case SideImage(path=None) | Grid(path=None):
            return []
        case SideImage(path=path, kind=kind):
            return [message("Saved {path} ({kind})", path=path, kind=Message(kind))]
        case Grid(path=path):
            return [message("Saved {path} with all images", path=path)]
        case Failed(message=text, advice=advice):
            return [message("Failed: {why}", why=sentences(text, advice))]
        case Cancelled(images=0):
            return [message("Cancelled. No image was finished.")]
        case Cancelled(images=images):
            return [
                plural(
                    "Cancelled. {number} finished image was saved.",
                    "Cancelled. {number} finished images were saved.",
                    images,
                )
            ]
        case Done():
            return [message("Time taken: {time}", time=duration(event.seconds)), _memory(event)]
        case _:
            return []


def _finished(images: int) -> Message:
    return plural("{number} image is finished.", "{number} images are finished.", images)


def duration(seconds: float) -> str:
    """As A1111 says it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min. {rest:.1f} sec." if minutes else f"{rest:.1f} sec."


def _memory(done: Done) -> str:
    """The line A1111 users know: active, reserved, system; on a CPU the process's resident memory."""
    share = 100 * done.memory_used / max(1, done.memory_total)
    system = f"Sys: {done.memory_used / _GIB:.1f}/{done.memory_total / _GIB:.1f} GB ({share:.1f}%)"
    active = (done.memory_active or 0) / _GIB
    if done.memory_reserved is None:
        return f"Resident: {active:.2f} GB, {system}"
    return f"A: {active:.2f} GB, R: {done.memory_reserved / _GIB:.2f} GB, {system}"


def _demo_notice(settings: Settings) -> list[str]:
    """Said once per data folder; of hosts on other machines, once for all of them."""
    is_far = bool(settings["connect"])
    said = settings.root / "cache" / ("demo-notice-far" if is_far else "demo-notice")
    if said.exists():
        return []
    with contextlib.suppress(OSError):  # then it is said again
        write_atomically(said, b"")
    return [
        message(
            "This is the small demo model that comes with sdterm: it knows simple scenes, shapes and "
            "colours at 128x128."
        ),
        message(
            "Put a real Stable Diffusion checkpoint (.safetensors) on the host's machine and it is used instead: "
            "`sdterm models add` there."
        )
        if is_far
        else message(
            "Put a real Stable Diffusion checkpoint (.safetensors) into {folder} and it is used instead.",
            folder=settings.root / CHECKPOINTS,
        ),
    ]
