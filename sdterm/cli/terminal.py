"""How a run is shown on a terminal: a live preview over a progress bar, then the picture and what it took.

Imported only there: rich and the picture protocols cost start-up time that a pipe does not owe.
"""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image as Picture
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn

from sdterm.cli.output import duration, told
from sdterm.cli.picture import in_characters, show_picture
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.events import Event, Image, ModelLoading, Preview, Queued, Step
from sdterm.messages import Message, message
from sdterm.tui.language import tr
from sdterm.tui.picture.asking import Answers
from sdterm.tui.picture.support import Cells, Support

PREVIEW_COLUMNS = 16  # 128 cells, about 5 KB a frame: bearable over a slow line at four frames a second


class _Progress(Progress):
    """A progress bar with a picture above it."""

    preview: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.preview:
            yield self.preview
        yield from super().get_renderables()


class TerminalOutput:
    """Shows a run on a terminal; a context that leaves it as it was."""

    def __init__(self, settings: Settings, how: Support, heard: Answers | None) -> None:
        """how: pictures are shown; heard: what the terminal said of itself."""
        self.wants_previews = how.protocol not in ("off", "text")
        self._settings, self._how, self._heard = settings, how, heard
        self._console = Console(highlight=False)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}")
        self._progress = _Progress(*columns, console=self._console, transient=True, refresh_per_second=4)
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
            case Queued():
                self._progress.update(self._task, description=tr("Waiting for its turn"), total=None, visible=True)
            case ModelLoading(done=False, model=model):
                loading = tr("Loading {model}", model=printable(model))
                self._progress.update(self._task, description=loading, total=None, visible=True)
            case Step():
                self._step(event)
            case Preview(data=data):
                picture = Picture.open(BytesIO(data))
                rows = PREVIEW_COLUMNS * picture.height // (2 * picture.width)
                cells: Cells = "ascii" if self._how.protocol == "ascii" else "half"
                self._progress.preview = in_characters(picture, PREVIEW_COLUMNS, rows, self._how.depth, cells)
            case Image():
                self._image(event)
            case _:
                self._print(told(event, self._settings))

    def _step(self, event: Step) -> None:
        if event.batch != self._batch:
            self._batch = event.batch
            name = tr("Generating")
            if event.batches > 1:
                name = tr("Batch {number}/{count}", number=event.batch + 1, count=event.batches)
            self._progress.reset(self._task, description=name, total=event.steps, completed=event.step - 1, status="")
        self._progress.update(self._task, completed=event.step, visible=True)
        task = self._progress.tasks[0]
        left = tr("ETA {time}", time=duration(task.time_remaining or 0))
        pace = f"  {task.speed:.2f} it/s  {left}" if task.speed else ""
        self._progress.update(self._task, status=f"{event.step}/{event.steps}{pace}")

    def _image(self, event: Image) -> None:
        self._progress.update(self._task, visible=False)
        self._progress.preview = None
        if self.wants_previews and event.path:
            self._progress.stop()  # the picture protocols write to the terminal themselves
            show_picture(self._console, Path(event.path), self._how, self._heard)
            self._progress.start()
        saved = [message("Saved {path}", path=event.path)] if event.path else []
        self._print([*event.infotext.splitlines(), *saved])

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            said = tr(line) if isinstance(line, Message) else line
            self._console.print(printable(said, limit=100_000), markup=False, soft_wrap=True)
