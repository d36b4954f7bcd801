"""The durable queue: every change of a job is one transaction, and the database itself refuses what is not allowed."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sdterm.api import (
    ENDED,
    STATES,
    FieldError,
    FirstPassOf,
    JobDetails,
    JobPage,
    JobView,
    Queue,
    Resumption,
    Retry,
    Submission,
)
from sdterm.core.output.saving import Saving
from sdterm.core.planning.plan import Plan
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.events import (
    Cancelled,
    Done,
    Event,
    Failed,
    Interrupted,
    Paused,
    QueueChanged,
    Queued,
    Resumed,
    Started,
    Step,
    SteppedDown,
    Waiting,
)
from sdterm.host.database import Database
from sdterm.host.log import EventLog
from sdterm.host.placement import WaitingJob
from sdterm.messages import Message, message
from sdterm.request import GenerationRequest

_SAVING = TypeAdapter(Saving)
_SNAPSHOT = 100  # jobs of each state
_SHOWN = 200  # characters of a prompt in lists
_CLOSEST = 1e-6  # between two positions; closer ones are spread out again


class UnknownJobError(SdtermError, LookupError):
    """There is no such job."""

    code = "unknown_job"


class WrongStateError(SdtermError, RuntimeError):
    """The job is not in a state in which this can be done."""

    code = "wrong_state"


class JobQueue:
    """The queue. Methods raise UnknownJobError, WrongStateError, or sqlite3.Error if nothing can be written."""

    def __init__(self, database: Database, log: EventLog, clock: Callable[[], float]) -> None:
        self._database, self._log, self._clock = database, log, clock

    # --- looking ------------------------------------------------------------------------------------------------------

    def job(self, job: int) -> JobView:
        return _listed(self._row(job))

    def details(self, job: int) -> JobDetails:
        """The same with its request and plan, which may be long."""
        row = self._row(job)
        last = self._database.row("SELECT max(number) FROM events WHERE job = ?", job)
        return JobDetails.model_validate(
            _listed(row).model_dump()
            | {
                "request": json.loads(row["request"]),
                "saving": json.loads(row["saving"]),
                "first_pass": json.loads(row["first_pass"]) if row["first_pass"] else None,
                "plan": json.loads(row["plan"]) if row["plan"] else None,
                "bound_plugins": json.loads(row["generation"]),
                "last_event": (last and last[0]) or 0,
            }
        )

    def plan(self, job: int) -> str | None:
        """What was resolved, as JSON."""
        plan: str | None = self._row(job)["plan"]
        return plan

    def first_pass(self, job: int) -> FirstPassOf | None:
        """The picture whose first pass it goes on from."""
        text = self._row(job)["first_pass"]
        return FirstPassOf.model_validate_json(text) if text else None

    def saving(self, job: int) -> Saving:
        """Where its images go."""
        return _SAVING.validate_json(self._row(job)["saving"])

    def page(self, states: Sequence[str], limit: int, cursor: str | None) -> JobPage:
        """Jobs in these states (none: in all): the newest first; of the queued alone, in the order of the queue.
        Raises FieldError if the cursor is none."""
        position, job = _cursor(cursor) if cursor else (float("-inf"), 2**63 - 1)
        if tuple(states) == ("queued",):
            rows = self._first(position, job, limit + 1)
        else:
            rows = self._newest(states, job, limit + 1)
        more = "{position!r},{id}".format(**rows[limit - 1]) if len(rows) > limit else None
        return JobPage(jobs=tuple(map(_listed, rows[:limit])), next=more)

    def is_known(self, job: int) -> bool:
        return bool(self._database.row("SELECT 1 FROM jobs WHERE id = ?", job))

    def begin_after(self, job: int) -> None:
        """Give the next job a higher number than this one, of which others may still speak."""
        with self._database.transaction():
            row = self._database.row("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")
            self._database.execute("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
            last = max(job, row[0] if row else 0)
            self._database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)", last)

    def open(self) -> tuple[JobView, ...]:
        """The newest of those that are not ended: for a snapshot."""
        states = [state for state in STATES if state not in ENDED]
        return tuple(_listed(row) for state in states for row in self._newest([state], 2**63 - 1, _SNAPSHOT))

    def queue(self) -> Queue:
        counts = {row["state"]: row["jobs"] for row in self._database.rows("SELECT state, jobs FROM states")}
        return Queue(paused=self.is_paused(), counts=counts)

    def is_paused(self) -> bool:
        row = self._database.row("SELECT paused FROM queue")
        return bool(row and row["paused"])

    # --- what clients ask ---------------------------------------------------------------------------------------------

    def submit(
        self,
        submission: Submission,
        saving: Saving,
        inputs: Iterable[str] = (),
        model: str = "",
        along: Callable[[int], None] | None = None,
    ) -> int:
        """Queue a job, for good: once this returns, not even a power cut loses it. inputs: digests that it names;
        model: the name of its checkpoint's file, if that is known; along: writes more about the job in the same
        transaction, or raises, and nothing is queued."""
        request = submission.request
        images = request.images
        with self._database.transaction():
            last = self._database.row("SELECT max(position) FROM jobs WHERE state = 'queued'")
            added = self._database.execute(
                "INSERT INTO jobs (state, position, request, saving, prompt, images, pause_at, pause_pass, first_pass,"
                " device, model, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "paused" if submission.paused else "queued",
                ((last[0] if last else None) or 0) + 1,
                request.model_dump_json(),
                _SAVING.dump_json(saving).decode(),
                printable(" ".join(request.title.split()), _SHOWN),
                images,
                submission.pause_at,
                submission.pause_pass,
                submission.first_pass.model_dump_json() if submission.first_pass else None,
                submission.device,
                model,
                self._clock(),
            )
            job = added.lastrowid or 0
            for digest in inputs:
                self._database.execute("INSERT INTO job_inputs (job, digest) VALUES (?, ?)", job, digest)
            first = self._log.add(job, Paused(images=0) if submission.paused else Queued(images=images))
            self._update(job, first_event=first)
            if along:
                along(job)
        return job

    def cancel(self, job: int) -> bool:
        """Returns whether a worker is to be stopped for it first."""
        with self._database.transaction():
            row = self._row(job, "queued", "running", "paused", "waiting", what=message("cancelled"))
            if row["state"] == "running":
                self._update(job, wish="cancel")
                return True
            self.end(job, "cancelled", Cancelled(images=row["done"]))
        return False

    def pause(self, job: int, at_step: int | None, pass_no: int = 0) -> bool:
        """Returns whether a worker is to be stopped for it first. At a step: it then goes on from its tape up to
        there."""
        with self._database.transaction():
            row = self._row(job, "queued", "running", "waiting", what=message("paused"))
            if row["wish"] == "cancel":
                raise WrongStateError(message("Job {job} is being cancelled and cannot be paused.", job=job))
            if row["state"] == "running":
                self._update(job, wish="again" if at_step else "pause", pause_at=at_step, pause_pass=pass_no)
                return True
            if at_step and row["state"] == "queued":
                self._update(job, pause_at=at_step, pause_pass=pass_no)
                return False
            self._update(job, state="paused", pause_at=at_step, pause_pass=pass_no)
            self._log.add(job, Paused(images=row["done"]))
        return False

    def resume(self, job: int, how: Resumption) -> None:
        """Go on with a paused job, or only some of its images. Raises FieldError if there are none such."""
        with self._database.transaction():
            row = self._row(job, "paused", "waiting", what=message("resumed"))
            if how.images is not None:
                unknown = [number for number in how.images if number >= row["images"]]
                if unknown or not how.images:
                    raise FieldError(
                        "images",
                        message("The job has images 0 to {last}: choose some of them.", last=row["images"] - 1),
                    )
                saved = {number for number, _ in self.saved(job)}
                left = {*json.loads(row["left_out"])} | ({*range(row["images"])} - {*how.images} - saved)
                self._update(job, left_out=json.dumps(sorted(left)))
            if row["state"] == "paused":
                self._update(job, pause_pass=how.pause_pass)
            self._requeue(job, row, pause_at=row["pause_at"] if row["state"] == "waiting" else how.pause_at)

    def retry(self, job: int, how: Retry) -> None:
        """Try a failed job again, perhaps computed another way: the same images, from where they are on the tape.
        Raises FieldError if they cannot be computed that way."""
        with self._database.transaction():
            row = self._row(job, "failed", what=message("tried again"))
            self._change_request(job, row, how.applied)
            self._change_plan(job, row, lambda plan: _applied(how, plan))
            self._requeue(job, row, pause_at=row["pause_at"])

    def stepped_down(self, job: int, event: SteppedDown) -> None:
        """A job needed less memory: whoever goes on with it begins there."""
        with self._database.transaction():
            row = self._row(job)
            self._change_request(job, row, lambda request: _lower(request, [event.rung]))
            self._change_plan(job, row, lambda plan: _lower_plan(plan, [event.rung], event.together))
            self._log.add(job, event)

    def _change_request(
        self, job: int, row: sqlite3.Row, changed: Callable[[GenerationRequest], GenerationRequest]
    ) -> None:
        """Keep another way to compute the same images."""
        self._update(job, request=changed(GenerationRequest.model_validate_json(row["request"])).model_dump_json())

    def _change_plan(self, job: int, row: sqlite3.Row, changed: Callable[[Plan], Plan]) -> None:
        """The same for the plan, if there is one. Its request says more than the one that was submitted: what an
        extension's pipeline left to itself, and how the memory plan began."""
        if row["plan"]:
            self._update(job, plan=changed(Plan.model_validate_json(row["plan"])).model_dump_json())

    def move(self, job: int, before: int | None) -> None:
        with self._database.transaction():
            self._row(job, "queued", what=message("moved"))
            self._update(job, position=self._position(job, before))
            self._log.add(None, QueueChanged(paused=self.is_paused()))

    def pin(self, job: int, device: str | None) -> None:
        """Have a job drawn on that device alone; None: on any. What runs goes on where it is."""
        with self._database.transaction():
            row = self._row(job, *(state for state in STATES if state not in ENDED), what=message("pinned to a device"))
            self._update(job, device=device)
            if row["state"] == "waiting":
                self.resume(job, Resumption())
            self._log.add(None, QueueChanged(paused=self.is_paused()))

    def drained(self) -> set[str]:
        """The devices that take no new jobs."""
        return {row["device"] for row in self._database.rows("SELECT device FROM drained")}

    def drain(self, device: str, drained: bool) -> None:
        """Have a device take no new jobs, or take them again."""
        with self._database.transaction():
            if drained:
                self._database.execute("INSERT OR IGNORE INTO drained (device) VALUES (?)", device)
            else:
                self._database.execute("DELETE FROM drained WHERE device = ?", device)
            self._log.add(None, QueueChanged(paused=self.is_paused()))

    def pause_queue(self, paused: bool) -> None:
        with self._database.transaction():
            if paused != self.is_paused():
                self._database.execute("UPDATE queue SET paused = ?", paused)
                self._log.add(None, QueueChanged(paused=paused))

    # --- what becomes of a job ----------------------------------------------------------------------------------------

    def next(
        self, count: int, devices: Collection[str], known: Collection[str], elsewhere: Collection[str] = ()
    ) -> list[WaitingJob]:
        """The first so many jobs of the queue that one of these devices may draw; none if it is paused. known: all
        devices of the host; a job that is pinned to another one is for any of these. elsewhere: hardware that only
        other devices are; what was begun on it waits for them."""
        if self.is_paused() or not devices:
            return []
        other = [device for device in known if device not in devices]
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE state = 'queued' AND coalesce(device, '') NOT IN ({_marks(other)})"
            f" AND (device IS NOT NULL OR hardware NOT IN ({_marks(elsewhere)})) ORDER BY position, id LIMIT ?",
            *other,
            *elsewhere,
            count,
        )
        return [WaitingJob(row["id"], row["model"], row["device"], row["hardware"]) for row in rows]

    def take(self, job: int | None = None) -> int | None:
        """The next job of the queue, or this one, running from now on; None if there is none or the queue is paused. A
        power cut may undo it, and the job is queued."""
        with self._database.transaction(durable=False):
            which, values = ("AND id = ?", (job,)) if job else ("", ())
            sql = f"SELECT id, began FROM jobs WHERE state = 'queued' {which} ORDER BY position, id LIMIT 1"
            row = self._database.row(sql, *values)
            if not row or self.is_paused():
                return None
            taken: int = row["id"]
            self._update(taken, state="running", wish=None, reason=None, began=row["began"] or self._clock())
        return taken

    def device(self, job: int) -> str | None:
        """The only device that may draw it, if it is pinned to one."""
        device: str | None = self._row(job)["device"]
        return device

    def hardware(self, job: int) -> str:
        """On what it was begun; empty if it was not."""
        hardware: str = self._row(job)["hardware"]
        return hardware

    def begun(self, job: int) -> float:
        """When its drawing first began, in seconds since 1970."""
        return float(self._row(job)["began"])

    def wish(self, job: int) -> str | None:
        """What was asked to become of a running job."""
        wish: str | None = self._row(job)["wish"]
        return wish

    def prepared(
        self, job: int, started: Started, bound_plugins: Sequence[Sequence[str]], hardware: str | None = None
    ) -> bool:
        """Keep a job's plan, before its first step. Returns False if it has one already: of that, only how far down the
        ladder it is changes. hardware: on what it is drawn."""
        with self._database.transaction():
            row = self._row(job)
            self._update(job, hardware=hardware or "")
            if row["plan"]:
                begun = Plan.model_validate_json(started.data)
                self._change_plan(job, row, lambda plan: _lower_plan(plan, begun.request.rungs, begun.together))
                return False
            self._update(
                job,
                plan=started.data.decode(),
                started=started.model_dump_json(),
                generation=json.dumps(bound_plugins),
                model=started.model,
                images=started.images,  # more than were asked for, where a prompt transform wants all its texts drawn
            )
            self._log.add(job, started)
        return True

    def resumed(self, job: int, event: Resumed) -> None:
        """A batch goes on from its tape. A step is on the tape before it is told, and a process may die in between: the
        steps of the tape that were not told are told now."""
        at = event.model_dump(include={"batch", "batches", "steps", "pass_no", "passes"})
        with self._database.transaction(durable=False):
            for step in range(self._log.last_step(job, event.batch, event.pass_no) + 1, event.step + 1):
                self._log.add(job, Step(step=step, **at))
            self._log.add(job, event)

    def started(self, job: int) -> Started | None:
        """The event that began it, if it was prepared."""
        text = self._row(job)["started"]
        return Started.model_validate(_without_name(json.loads(text))) if text else None

    def saved(self, job: int) -> list[tuple[int, str]]:
        """(number, path) of its images on disk."""
        sql = "SELECT number, path FROM pictures WHERE job = ? AND kind IN ('image', 'upscaled') AND saved IS NOT NULL"
        rows = self._database.rows(sql, job)
        return [(row["number"], row["path"]) for row in rows]

    def end(self, job: int, state: str, event: Event) -> None:
        """`done`, `failed`, `cancelled`, `paused` or `waiting`, and the event that says so."""
        reason = None
        if isinstance(event, Failed | Waiting):
            source = event.source if isinstance(event, Failed) else None
            told = Failed(code=event.code, message=event.message, advice=event.advice, source=source)
            reason = told.model_dump_json()
        ended = self._clock() if isinstance(event, Done | Failed | Cancelled) else None
        with self._database.transaction():
            self._update(job, state=state, reason=reason, wish=None, ended=ended)
            self._log.add(job, event)

    def leave_out_rest(self, job: int) -> None:
        """Give up the images that are not saved."""
        with self._database.transaction():
            rest = {*range(self._row(job)["images"])} - {number for number, _ in self.saved(job)}
            self._update(job, left_out=json.dumps(sorted(rest)))

    def again(self, job: int) -> None:
        """A running job goes back to the front of the queue: its worker stopped, for whatever reason."""
        with self._database.transaction():
            row = self._row(job, "running", what=message("queued again"))
            first = self._database.row("SELECT min(position) FROM jobs WHERE state = 'queued'")
            position = min(row["position"], ((first[0] if first else None) or 0) - 1)
            self._update(job, state="queued", position=position, wish=None)

    def interrupted(self, job: int, code: str, message: str) -> int:
        """Count a lost worker. Returns how many there were."""
        with self._database.transaction():
            attempts: int = self._row(job)["attempts"] + 1
            self._update(job, attempts=attempts)
            self._log.add(job, Interrupted(code=code, message=message, attempt=attempts))
        return attempts

    def recover(self) -> list[int]:
        """After a start: what ran when the last host ended goes on, what it was told in the meantime happens. Returns
        the jobs that go on."""
        on: list[int] = []
        with self._database.transaction():
            rows = self._database.rows("SELECT * FROM jobs WHERE state = 'running' ORDER BY position DESC")
            for row in rows:
                job, drawn = row["id"], row["done"]
                if row["wish"] == "cancel":
                    self.end(job, "cancelled", Cancelled(images=drawn))
                elif row["wish"] == "pause":
                    self.end(job, "paused", Paused(images=drawn))
                else:
                    self.again(job)
                    on.append(job)
            for row in self._database.rows("SELECT id FROM jobs WHERE state = 'waiting'"):
                self.resume(row["id"], Resumption())
                on.append(row["id"])
        return on

    def abandon(self, folder: Path) -> None:
        """After a start: cancel every job whose images were to go below that folder."""
        going_on = [state for state in STATES if state not in ENDED]
        marks = ", ".join("?" * len(going_on))
        rows = self._database.rows(f"SELECT id, done, saving FROM jobs WHERE state IN ({marks})", *going_on)
        with self._database.transaction():
            for row in rows:
                if folder in _SAVING.validate_json(row["saving"]).folder.parents:
                    self.end(row["id"], "cancelled", Cancelled(images=row["done"]))

    def bound_plugins(self) -> set[tuple[str, str]]:
        """The (slug, digest) of all plugins that jobs are bound to which may go on."""
        going_on = [state for state in STATES if state not in ("done", "cancelled")]
        marks = ", ".join("?" * len(going_on))
        sql = f"SELECT DISTINCT generation FROM jobs WHERE state IN ({marks})"
        found = (json.loads(row["generation"]) for row in self._database.rows(sql, *going_on))
        return {(slug, digest) for bound_plugins in found for slug, digest in bound_plugins}

    def waiting(self) -> list[int]:
        return [row["id"] for row in self._database.rows("SELECT id FROM jobs WHERE state = 'waiting' ORDER BY id")]

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _row(self, job: int, *states: str, what: str = "") -> sqlite3.Row:
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", job)
        if not row:
            raise UnknownJobError(message("There is no job {job}.", job=job))
        if states and row["state"] not in states:
            raise WrongStateError(
                message("Job {job} is {state} and cannot be {what}.", job=job, state=Message(row["state"]), what=what)
            )
        return row

    def _first(self, position: float, job: int, limit: int) -> list[sqlite3.Row]:
        """Of the queue after that job, in its order: jobs that come back may meet another one at their position."""
        return self._database.rows(
            "SELECT * FROM jobs WHERE state = 'queued' AND (position, id) > (?, ?) ORDER BY position, id LIMIT ?",
            position,
            job,
            limit,
        )

    def _newest(self, states: Sequence[str], before: int, limit: int) -> list[sqlite3.Row]:
        """From each state so many at most, by index: however long the queue, no more rows than that are touched."""
        if not states:
            return self._database.rows("SELECT * FROM jobs WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit)
        one = "SELECT * FROM (SELECT * FROM jobs WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?)"
        sql = " UNION ALL ".join([one] * len(states)) + " ORDER BY id DESC LIMIT ?"
        return self._database.rows(sql, *(value for state in states for value in (state, before, limit)), limit)

    def _update(self, job: int, **values: object) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        self._database.execute(f"UPDATE jobs SET {columns} WHERE id = ?", *values.values(), job)

    def _requeue(self, job: int, row: sqlite3.Row, pause_at: int | None) -> None:
        self._update(job, state="queued", pause_at=pause_at, attempts=0, reason=None, wish=None, ended=None)
        self._log.add(job, Queued(images=row["images"], done=row["done"]))

    def _position(self, job: int, before: int | None) -> float:
        """A place between two others; when there is no room left between them, all are spread out first."""
        if before is None:
            last = self._database.row("SELECT max(position) FROM jobs WHERE state = 'queued' AND id <> ?", job)
            return float((last[0] if last else None) or 0) + 1
        there = float(self._row(before, "queued", what=message("a place in the queue"))["position"])
        if before == job:
            return there
        ahead = self._database.row(
            "SELECT position FROM jobs WHERE state = 'queued' AND (position, id) < (?, ?) AND id <> ?"
            " ORDER BY position DESC, id DESC LIMIT 1",
            there,
            before,
            job,
        )
        previous = ahead[0] if ahead else there - 2
        if there - previous < _CLOSEST:
            rows = self._database.rows("SELECT id FROM jobs WHERE state = 'queued' ORDER BY position, id")
            for place, row in enumerate(rows):
                self._update(row["id"], position=float(place))
            return self._position(job, before)
        return float(previous + there) / 2


def _cursor(text: str) -> tuple[float, int]:
    """The (position, number) of the last job of a page. Raises FieldError."""
    position, _, job = text.partition(",")
    try:
        last = float(position), int(job)
    except ValueError:
        last = 0.0, 0
    if not 0 < last[1] < 2**63:
        raise FieldError("cursor", message("cursor is not the `next` of a page before."))
    return last


def _listed(row: sqlite3.Row) -> JobView:
    return JobView(
        id=row["id"],
        state=row["state"],
        prompt=row["prompt"],
        images=row["images"],
        done=row["done"],
        pause_at=row["pause_at"],
        pause_pass=row["pause_pass"],
        left_out=tuple(json.loads(row["left_out"])),
        reason=Failed.model_validate(_without_name(json.loads(row["reason"]))) if row["reason"] else None,
        attempts=row["attempts"],
        device=row["device"],
        created=row["created"],
        ended=row["ended"],
    )


def _lower(request: GenerationRequest, rungs: Iterable[str]) -> GenerationRequest:
    """The request, further down the ladder."""
    return request.model_copy(update={"rungs": tuple(dict.fromkeys((*request.rungs, *rungs)))})


def _lower_plan(plan: Plan, rungs: Iterable[str], together: int | None) -> Plan:
    """The plan, further down the ladder. together: as in a plan."""
    fewest = min(filter(None, (plan.together, together)), default=None)
    return plan.model_copy(update={"request": _lower(plan.request, rungs), "together": fewest})


def _applied(how: Retry, plan: Plan) -> Plan:
    """The plan, computed as a retry wants it."""
    return plan.model_copy(update={"request": how.applied(plan.request), "together": how.batch_size or plan.together})


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def _without_name(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "event"}
