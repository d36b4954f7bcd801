"""How a run is shown: on a terminal, in a pipe, as JSON."""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import click

from sdterm.cli.errors import say
from sdterm.core.dataroot import CHECKPOINTS
from sdterm.core.names import printable
from sdterm.core.output import write_atomically
from sdterm.events import Cancelled, Done, Event, Failed, Image, ModelLoading, Resumed, Started, Step, Warning

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
        click.echo(event.model_dump_json())


class PlainOutput:
    """In a pipe: the saved files' paths on stdout, words on stderr."""

    wants_previews = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        match event:
            case Image(path=path, infotext=infotext):
                click.echo(path)
                for line in infotext.splitlines():
                    say(line)
            case _:
                for line in sentences(event, self._root):
                    say(line)


class TerminalOutput:
    """On a terminal: a progress bar with it/s and ETA, then the picture, its infotext and what it took."""

    wants_previews = False

    def __init__(self, root: Path, *, pictures: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._root, self._pictures = root, pictures
        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, status="", visible=False)
        self._batch = -1

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case ModelLoading(done=False, model=model):
                self._progress.update(self._task, description=f"Loading {printable(model)}", total=None, visible=True)
            case Step():
                self._step(event)
            case Image(path=path, infotext=infotext):
                self._progress.update(self._task, visible=False)
                if self._pictures and path:
                    from sdterm.cli.picture import show_picture

                    with self._paused():
                        show_picture(Path(path))
                for line in (*infotext.splitlines(), f"Saved {path}"):
                    self._print(line)
            case _:
                for line in sentences(event, self._root):
                    self._print(line)

    def _step(self, event: Step) -> None:
        if event.batch != self._batch:
            self._batch = event.batch
            name = f"Batch {event.batch + 1}/{event.batches}" if event.batches > 1 else "Drawing"
            self._progress.reset(self._task, description=name, total=event.steps, completed=event.step - 1, status="")
        self._progress.update(self._task, completed=event.step, visible=True)
        task = self._progress.tasks[0]
        pace = f"  {task.speed:.2f} it/s  ETA {_duration(task.time_remaining or 0)}" if task.speed else ""
        self._progress.update(self._task, status=f"{event.step}/{event.steps}{pace}")

    def _print(self, line: str) -> None:
        self._console.print(printable(line, limit=100_000), markup=False, soft_wrap=True)

    def _paused(self) -> "_Paused":
        return _Paused(self._progress)


class _Paused:
    """The progress display off, while something else is written to the terminal."""

    def __init__(self, progress: object) -> None:
        self._progress = progress

    def __enter__(self) -> None:
        self._progress.stop()  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        self._progress.start()  # type: ignore[attr-defined]


def sentences(event: Event, root: Path) -> list[str]:
    """What there is to say about an event."""
    match event:
        case Started(demo=True):
            return _demo_notice(root)
        case Warning(message=message):
            return [f"Warning: {message}"]
        case Resumed(images=images, calls=calls):
            return [f"Resumed: {calls} network calls of {images} image(s) came from the tape."]
        case Failed(message=message, advice=advice):
            return [f"Failed: {message} {advice}".rstrip()]
        case Cancelled(images=0):
            return ["Cancelled. No image was finished."]
        case Cancelled(images=images):
            return [f"Cancelled. {images} finished image(s) were saved."]
        case Done():
            return [f"Time taken: {_duration(event.seconds)}", _memory(event)]
        case _:
            return []


def _duration(seconds: float) -> str:
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


def _demo_notice(root: Path) -> list[str]:
    """Said once per data folder."""
    said = root / "cache" / "demo-notice"
    if said.exists():
        return []
    with contextlib.suppress(OSError):  # then it is said again
        write_atomically(said, b"")
    return [
        "This is the small demo model that comes with sdterm: it knows simple scenes, shapes and colours at 128x128.",
        f"Put a real SD 1.x checkpoint (.safetensors) into {root / CHECKPOINTS} and it is used instead.",
    ]
