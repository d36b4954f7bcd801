"""Following a job of the host until it ends, through lost connections and lost hosts."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

import click

from sdterm.api import ENDED, JobView, Snapshot, picture_event
from sdterm.cli.errors import EXIT_CANCELLED, EXIT_FAILED, EXIT_USAGE, say
from sdterm.cli.fetching import brought
from sdterm.cli.output import Output
from sdterm.client import Client, HostError, connect
from sdterm.core.output.saving import saving_of
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.events import Cancelled, Done, Event, Failed, Paused
from sdterm.messages import Message, message, sentences

_PATIENCE = 3
"""How often a host that is lost is looked for again before giving up."""


class _LeftError(Exception):
    """Whoever watched went away; the job goes on."""


def follow(
    host: Client,
    job: int,
    output: Output,
    settings: Settings,
    *,
    on_interrupt: Callable[[], None],
    out: Path | None = None,
) -> int:
    """Show a job from its beginning to its end. Returns the exit code. on_interrupt: what the first Ctrl+C does; the
    second leaves the job to itself. out: where pictures of another machine's host go; unset is the outputs folder."""
    last: Event | None = None
    with _interrupts(on_interrupt):
        try:
            with output:
                for last in _events(host, job, settings, out, previews=output.wants_previews):
                    output.show(last)
        except _LeftError:
            say(message("Job {job} continues without this terminal. `sdterm attach {job}` shows it again.", job=job))
            return EXIT_CANCELLED
    _notify(settings["notify"], job, last)
    match last:
        case Cancelled():
            return EXIT_CANCELLED
        case Failed(code=code):
            return EXIT_USAGE if code == "bad_request" else EXIT_FAILED
        case Paused():
            say(message("`sdterm queue resume {job}` continues it.", job=job))
    return 0


def leave() -> None:
    """Go away; the job goes on."""
    raise _LeftError


def _events(host: Client, job: int, settings: Settings, out: Path | None, *, previews: bool) -> Iterator[Event]:
    """A job's events, until it ends or waits to be resumed. A host that is lost in between is found, or started,
    again; one that was stopped is not."""
    after, left, folder = 0, _PATIENCE, saving_of(settings, out).folder
    while True:
        try:
            for entry in host.events(after=after, job=job, previews=previews):
                after, left = max(after, entry.number), _PATIENCE
                if isinstance(entry.event, Snapshot):  # its beginning is not kept any more
                    if not (known := host.job(job)).last_event and known.state in ENDED:
                        for event in _remains(host, known):
                            yield brought(host, job, event, folder)
                        return
                    continue
                yield brought(host, job, entry.event, folder)
                if isinstance(entry.event, Done | Failed | Cancelled | Paused) and after >= host.job(job).last_event:
                    return  # a job that was resumed or tried again has earlier ends, too
        except HostError as error:
            if not left:
                raise
            left -= 1
            say(sentences(error, message("Looking for it again.")))
        else:
            raise HostError(
                message("The host was stopped. `sdterm attach {job}` starts it again, and the job continues.", job=job)
            )
        host.close()
        try:
            host = connect(settings)
        except HostError as error:
            back = message("`sdterm attach {job}` follows the job once the host can be reached.", job=job)
            raise HostError(sentences(error, back)) from error


def _remains(host: Client, job: JobView) -> Iterator[Event]:
    """What can still be told of a job that ended long ago: its pictures, and how it ended."""
    say(
        message(
            "Job {job} ended as {state} on {date}.",
            job=job.id,
            state=Message(job.state),
            date=f"{datetime.fromtimestamp(job.ended or job.created):%F}",
        )
    )
    for picture in reversed(host.pictures(job=job.id, limit=500).pictures):
        yield picture_event(picture)
    if job.state == "failed" and job.reason:
        yield job.reason
    elif job.state == "cancelled":
        yield Cancelled(images=job.done)


@contextmanager
def _interrupts(act: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl+C acts, in a thread of its own where it must not disturb the stream; the second leaves."""
    pressed = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if pressed.is_set() or act is leave:
            raise _LeftError
        pressed.set()
        threading.Thread(target=act, daemon=True).start()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _notify(how: str, job: int, last: Event | None) -> None:
    """Ring, or put a message on the desktop, if that was asked for and this is a terminal."""
    if how == "none" or not sys.stdout.isatty():
        return
    words = f"sdterm: job {job} {last.event if last else 'ended'}"
    click.echo("\a" if how == "bell" else f"\x1b]9;{printable(words)}\x07", nl=False)
