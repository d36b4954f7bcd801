"""Queue: what runs, waits, failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Static

from sdterm.core.language import tr
from sdterm.core.names import printable
from sdterm.tui.actions import bindings
from sdterm.tui.progress import CHANGES_QUEUE
from sdterm.tui.screens.room import Room
from sdterm.tui.state import clock

if TYPE_CHECKING:
    from sdterm.client import Client
    from sdterm.core.jobs import Entry, Job

_OPEN = ("running", "queued", "paused", "waiting")
_MOST = 200
MARKS = {"running": ">", "queued": " ", "paused": "=", "waiting": "~", "failed": "!", "done": " ", "cancelled": "x"}
"""A state's sign, beside its word."""


class QueueScreen(Room):
    """Jobs: those to be drawn in their order, then what ended."""

    room = "go_queue"
    scopes = ("queue",)
    AUTO_FOCUS = "DataTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("queue"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._jobs: list[Job] = []
        self._due = False

    def body(self) -> Iterable[Widget]:
        yield DataTable(cursor_type="row")
        yield Static(classes="words", markup=False)

    def on_mount(self) -> None:
        table = self._table()
        columns = ((tr("No."), 7), (tr("State"), 12), (tr("Step"), 9), (tr("Left"), 7), (tr("Done"), 6))
        for title, width in columns:
            table.add_column(title, width=width)
        table.add_column(tr("Prompt"))
        self._load()

    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        waiting = await self.app.ask(lambda host: host.jobs(["queued"], limit=_MOST))
        others = await self.app.ask(lambda host: host.jobs(["running", "paused", "waiting"], limit=_MOST))
        ended = await self.app.ask(lambda host: host.jobs(["failed", "done", "cancelled"], limit=30))
        if waiting is None or others is None or ended is None:
            return
        chosen, row = self._chosen(), self._table().cursor_row
        running = [job for job in others.jobs if job.state == "running"]
        held = [job for job in others.jobs if job.state != "running"]
        self._jobs = [*running, *waiting.jobs, *held, *ended.jobs]
        table = self._table()
        table.clear()
        for job in self._jobs:
            table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in self._row(job)))
        # the cursor goes with a job that moves, and stays where it is when its job leaves the queue
        still = (i for i, job in enumerate(self._jobs) if chosen and job.id == chosen.id and job.state in _OPEN)
        table.move_cursor(row=next(still, min(row, max(0, len(self._jobs) - 1))))
        on_hold = tr("on hold") if self.app.state.paused else tr("open")
        table.border_title = tr(
            "Queue ({state})  running {running}  waiting {waiting}",
            state=on_hold,
            running=len(running),
            waiting=len(waiting.jobs),
        )
        if not self._jobs:
            self.say(tr("The queue is empty: {key} goes to the prompt.", key=self.app.key("go_generate")))
        self._tell()

    def _row(self, job: Job) -> tuple[str, ...]:
        run = self.app.run_of(job.id)
        steps = f"{run.step}/{run.steps}" if run and run.steps else ""
        left = clock(run.left) if run and run.left is not None else ""
        prompt = printable(job.prompt.replace("\n", " "), 200)
        return (f"{MARKS[job.state]} {job.id}", tr(job.state), steps, left, f"{job.done}/{job.images}", prompt)

    def _chosen(self) -> Job | None:
        at = self._table().cursor_row
        return self._jobs[at] if 0 <= at < len(self._jobs) else None

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._tell()

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.action_remedy()

    def _tell(self) -> None:
        words = self.query_one(".words", Static)
        job = self._chosen()
        if job is None:
            words.update("")
            return
        lines = [printable(job.prompt, 1000)]
        if job.reason:
            lines.append(f"! {printable(job.reason.message, 500)} {printable(job.reason.advice, 500)}")
        if job.attempts:
            lines.append(tr("Processes lost while drawing it: {number}.", number=job.attempts))
        words.update(Text("\n".join(lines)))

    def happened(self, entry: Entry) -> None:
        from sdterm.events import Step

        if isinstance(entry.event, CHANGES_QUEUE):
            self._load()
        elif isinstance(entry.event, Step) and not self._due:
            self._due = True
            self.set_timer(0.5, self._show_steps)

    def _show_steps(self) -> None:
        self._due = False
        table = self._table()
        for at, job in enumerate(self._jobs):
            if job.state == "running" and at < table.row_count:
                for column, cell in enumerate(self._row(job)):
                    table.update_cell_at((at, column), Text(cell, no_wrap=True))  # type: ignore[arg-type]

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_cursor(self, by: int) -> None:
        table = self._table()
        table.move_cursor(row=table.cursor_row + by)

    def _do(self, ask: Callable[[Client], Any]) -> None:
        self.run_worker(self._asked(ask))

    async def _asked(self, ask: Callable[[Client], Any]) -> None:
        if await self.app.ask(ask) is not None:
            self._load()

    def action_cancel(self) -> None:
        if job := self._chosen():
            self._do(lambda host: host.cancel(job.id))

    def action_retry(self) -> None:
        if job := self._chosen():
            self._do(lambda host: host.retry(job.id))

    def action_hold(self) -> None:
        job = self._chosen()
        if job and job.state == "paused":
            self._do(lambda host: host.resume(job.id))
        elif job:
            self._do(lambda host: host.pause(job.id))

    def action_hold_queue(self) -> None:
        paused = self.app.state.paused
        self._do(lambda host: host.resume_queue() if paused else host.pause_queue())

    def action_move_up(self) -> None:
        self._move(-1)

    def action_move_down(self) -> None:
        self._move(1)

    def _move(self, by: int) -> None:
        job = self._chosen()
        waiting = [job.id for job in self._jobs if job.state == "queued"]
        if not job or job.id not in waiting:
            self.say(tr("Only jobs that wait can be moved."))
            return
        at = waiting.index(job.id)
        if not 0 <= at + by < len(waiting):
            return
        others = [*waiting[:at], *waiting[at + 1 :]]
        before = others[at + by] if at + by < len(others) else None
        self._do(lambda host: host.move(job.id, before))

    def action_edit_job(self) -> None:
        if job := self._chosen():
            self._edit(job.id)

    @work
    async def _edit(self, job: int) -> None:
        if (details := await self.app.ask(lambda host: host.job(job))) is not None:
            fields = details.request.model_dump(mode="json")
            self.app.take_request(fields)

    def action_remedy(self) -> None:
        from sdterm.tui.remedies import remedies

        job = self._chosen()
        if not job:
            return
        if not job.reason:
            self.say(tr("#{job}: {state}.", job=job.id, state=tr(job.state)))
            return
        found = remedies(job.reason.code, self.app.values()) or [(tr("the same again"), {})]
        said = f"{job.reason.message} {job.reason.advice}".strip()
        self.app.offer_remedies(job.id, said, found)
