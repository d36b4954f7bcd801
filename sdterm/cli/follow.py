"""Following a job of the host until it ends, through lost connections and lost hosts."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

import click

from sdterm.api import ENDED, JobView, Snapshot, picture_event
from sdterm.cli.errors import EXIT_CANCELLED, EXIT_FAILED, EXIT_USAGE, say
from sdterm.cli.fetching import Fetching, pictures_of
from sdterm.cli.output import Output
from sdterm.client import Client, HostError, connect
from sdterm.core.output.saving import saving_of
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.events import Cancelled, Done, Event, Failed, Paused
from sdterm.messages import Message, message, sentences

_PATIENCE = 3
"""How often a host that is lost is looked for again before giving up."""
_BETWEEN = 2.0  # seconds between two tries


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
    after, left, is_lost = 0, _PATIENCE, False
    fetching = Fetching(job, saving_of(settings, out).folder)
    while True:
        try:
            if is_lost:
                host = connect(settings)
                is_lost = False
            for entry in host.events(after=after, job=job, previews=previews):
                event = fetching.brought(host, entry.event)
                after, left = max(after, entry.number), _PATIENCE
                if isinstance(event, Snapshot):  # its beginning is not kept any more
                    if not (known := host.job(job)).last_event and known.state in ENDED:
                        for event in _remains(host, known):
                            yield fetching.brought(host, event)
                        return
                    continue
                yield event
                if isinstance(event, Done | Failed | Cancelled | Paused) and after >= host.job(job).last_event:
                    return  # a job that was resumed or tried again has earlier ends, too
        except HostError as error:
            if not left:
                back = message("`sdterm attach {job}` follows the job once the host can be reached.", job=job)
                raise HostError(sentences(error, back)) from error
            say(sentences(error, message("Looking for it again.")))
            if left < _PATIENCE:
                time.sleep(_BETWEEN)
            left, is_lost = left - 1, True
            host.close()
        else:
            raise HostError(
                message("The host was stopped. `sdterm attach {job}` starts it again, and the job continues.", job=job)
            )


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
    for picture in reversed([*pictures_of(host, job.id)]):
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
