"""Queue: what runs, waits, failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import work
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Static

from sdterm.core.text import printable
from sdterm.messages import sentences
from sdterm.tui import calls, devices
from sdterm.tui.actions import bindings
from sdterm.tui.calls import HostCall
from sdterm.tui.language import said, tr
from sdterm.tui.messages import FillRequest, OfferRemedies
from sdterm.tui.progress import CHANGES_QUEUE
from sdterm.tui.screens.pick import Pick
from sdterm.tui.screens.table import TableScreen
from sdterm.tui.state import clock, passes
from sdterm.tui.widgets.invitation import empty_list
from sdterm.tui.widgets.rows import cell
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from sdterm.api import Entry, JobView, WorkerView

_OPEN = ("running", "queued", "paused", "waiting")
_MOST = 200
_LOOK_EVERY = 2.0  # seconds between two looks at the devices
MARKS = {"running": ">", "queued": " ", "paused": "=", "waiting": "~", "failed": "!", "done": " ", "cancelled": "x"}
"""A state's sign, beside its word."""
_ENDED = ("edit_job", "hold_queue")
_FIRST_KEYS = {
    "running": ("hold", "cancel", "hold_queue"),
    "queued": ("move_up", "move_down", "cancel", "hold_queue"),
    "paused": ("hold", "cancel", "hold_queue"),
    "waiting": ("remedy", "cancel", "hold_queue"),
    "failed": ("remedy", "retry", *_ENDED),
}
"""What the key bar names first where a job in this state is chosen."""


class QueueScreen(TableScreen["JobView"]):
    """Jobs: those to be drawn in their order, then what ended."""

    tab = "go_queue"
    scopes = ("queue",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("queue")]

    def __init__(self) -> None:
        super().__init__()
        self._due = False
        self._workers: tuple[WorkerView, ...] = ()

    @property
    def first_keys(self) -> tuple[str, ...]:
        """What the key bar names first."""
        job = self.chosen()
        return _FIRST_KEYS.get(job.state, _ENDED) if job else ("hold_queue",)

    def body(self) -> Iterable[Widget]:
        yield Static(classes="devices", markup=False)
        yield from super().body()

    def on_mount(self) -> None:
        self.set_interval(_LOOK_EVERY, self._look)

    def columns(self) -> Iterable[tuple[str, int]]:
        yield from ((tr("No."), 7), (tr("State"), 12), (tr("Step"), 9), (tr("Left"), 7), (tr("Done"), 6))
        yield tr("Prompt"), 200

    def up(self) -> None:
        self._load()
        self._look()

    def _look(self) -> None:
        if self.is_current:
            self._load_devices()

    @work(group="devices", exclusive=True)
    async def _load_devices(self) -> None:
        if (health := await self.ask(calls.health())) is None:
            return
        self._workers = health.workers
        shown = self.query_one(".devices", Static)
        shown.display = devices.are_worth_a_line(health.workers)
        run_of = self.shell.state.run_of
        shown.update(Text("\n".join(devices.line(each, run_of(each.job)) for each in health.workers), no_wrap=True))

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        waiting = await self.ask(calls.jobs("queued", limit=_MOST))
        others = await self.ask(calls.jobs("running", "paused", "waiting", limit=_MOST))
        ended = await self.ask(calls.jobs("failed", "done", "cancelled", limit=30))
        if waiting is None or others is None or ended is None:
            return
        running = [job for job in others.jobs if job.state == "running"]
        held = [job for job in others.jobs if job.state != "running"]
        jobs = [*running, *waiting.jobs, *held, *ended.jobs]
        # the cursor goes with a job that moves, and stays where it is when its job leaves the queue
        chosen = self.chosen()
        still = (i for i, job in enumerate(jobs) if chosen and job.id == chosen.id and job.state in _OPEN)
        title = tr(
            "Queue ({state})  running {running}  waiting {waiting}",
            state=tr("paused") if self.shell.state.paused else tr("open"),
            running=len(running),
            waiting=len(waiting.jobs),
        )
        self.show(jobs, next(still, self.table.cursor_row), title)

    def empty(self) -> Text:
        generate = tr("Write a prompt; {key} generates an image.", key=self.shell.key("generate"))
        return empty_list(
            self.table,
            tr("The queue is empty"),
            tr("Jobs that run, wait or have ended are listed here: pause, move, cancel or retry them."),
            [(self.shell.key("go_generate"), generate)],
        )

    def row(self, item: JobView) -> tuple[str, ...]:
        run = self.shell.state.run_of(item.id)
        steps = f"{passes(run)}{run.step}/{run.steps}" if run and run.steps else ""
        left = clock(run.left) if run and run.left is not None else ""
        prompt = printable(item.prompt.replace("\n", " "), 200)
        return (f"{MARKS[item.state]} {item.id}", tr(item.state), steps, left, f"{item.done}/{item.images}", prompt)

    def about(self, item: JobView) -> Iterable[str]:
        yield printable(item.prompt, 1000)
        if item.reason:
            yield f"! {printable(said(sentences(item.reason.message, item.reason.advice)), 1000)}"
        if item.device and item.state in _OPEN:
            yield tr("It runs on {device} alone.", device=printable(item.device, 60))
        if item.attempts:
            yield tr("Workers lost while running it: {number}.", number=item.attempts)

    def selected(self) -> None:
        self.action_remedy()

    def happened(self, entry: Entry) -> None:
        from sdterm.events import Step

        if isinstance(entry.event, CHANGES_QUEUE):
            self._load()
        elif isinstance(entry.event, Step) and not self._due:
            self._due = True
            self.set_timer(0.5, self._show_steps)

    def _show_steps(self) -> None:
        self._due = False
        table = self.table
        for at, job in enumerate(self.rows):
            if job.state == "running" and at < table.row_count:
                for column, text in enumerate(self.row(job)):
                    table.update_cell_at((at, column), cell(text))  # type: ignore[arg-type]

    # --- keys --------------------------------------------------------------------------------------------------------

    def _do(self, call: HostCall[Any]) -> None:
        begin(self, self._done, call)

    async def _done(self, call: HostCall[Any]) -> None:
        if await self.ask(call) is not None:
            self._load()

    def action_cancel(self) -> None:
        if job := self.chosen():
            self._do(calls.cancel(job.id))

    def action_retry(self) -> None:
        if job := self.chosen():
            self._do(calls.retry(job.id))

    def action_hold(self) -> None:
        job = self.chosen()
        if job and job.state == "paused":
            self._do(calls.resume(job.id))
        elif job:
            self._do(calls.pause(job.id))

    def action_hold_queue(self) -> None:
        paused = self.shell.state.paused
        self._do(calls.resume_queue() if paused else calls.pause_queue())

    def action_move_up(self) -> None:
        self._move(-1)

    def action_move_down(self) -> None:
        self._move(1)

    def _move(self, by: int) -> None:
        job = self.chosen()
        waiting = [job.id for job in self.rows if job.state == "queued"]
        if not job or job.id not in waiting:
            self.say(tr("Only jobs that wait can be moved."))
            return
        at = waiting.index(job.id)
        if not 0 <= at + by < len(waiting):
            return
        others = [*waiting[:at], *waiting[at + 1 :]]
        before = others[at + by] if at + by < len(others) else None
        self._do(calls.move(job.id, before))

    def action_pin_job(self) -> None:
        if job := self.chosen():
            self._pin(job)

    @work
    async def _pin(self, job: JobView) -> None:
        names = [worker.device for worker in self._workers]
        rows = [tr("any device"), *names]
        at = rows.index(job.device) if job.device in names else 0
        title = tr("Which device runs job {job}?", job=job.id)
        chosen = await self.app.push_screen_wait(Pick(title, rows, chosen=at))
        if chosen is not None:
            self._do(calls.pin(job.id, names[chosen - 1] if chosen else None))

    @work
    async def action_drain(self) -> None:
        rows = [devices.line(worker, None) for worker in self._workers]
        chosen = await self.app.push_screen_wait(Pick(tr("Which device takes no new jobs, or takes them again?"), rows))
        if chosen is not None and chosen < len(self._workers):
            worker = self._workers[chosen]
            if await self.ask(calls.drain(worker.device, not worker.drained)) is not None:
                self._look()

    def action_edit_job(self) -> None:
        if job := self.chosen():
            self._edit(job.id)

    @work
    async def _edit(self, job: int) -> None:
        if (details := await self.ask(calls.job(job))) is not None:
            self.post_message(FillRequest(details.request.model_dump(mode="json"), details.id))

    def action_remedy(self) -> None:
        from sdterm.tui.remedies import remedies

        job = self.chosen()
        if not job:
            return
        if not job.reason:
            self.say(tr("#{job}: {state}.", job=job.id, state=tr(job.state)))
            return
        found = remedies(job.reason.code) or [(tr("the same again"), {})]
        why = said(sentences(job.reason.message, job.reason.advice))
        self.post_message(OfferRemedies(job.id, why, found))
