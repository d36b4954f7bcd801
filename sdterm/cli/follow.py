"""Following a job of the host until it ends, through lost connections and lost hosts."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from sdterm.cli.errors import EXIT_CANCELLED, EXIT_FAILED, say
from sdterm.cli.output import Output
from sdterm.client import Client, HostError, connect
from sdterm.core.config import Settings
from sdterm.core.jobs import Entry, Snapshot
from sdterm.core.names import printable
from sdterm.events import Cancelled, Done, Event, Failed, Paused

_PATIENCE = 3
"""How often a host that is lost is looked for again before giving up."""


class _LeftError(Exception):
    """Whoever watched went away; the job goes on."""


def follow(host: Client, job: int, output: Output, settings: Settings, *, on_interrupt: Callable[[], None]) -> int:
    """Show a job from its beginning to its end. Returns the exit code. on_interrupt: what the first Ctrl+C does; the
    second leaves the job to itself."""
    last: Event | None = None
    with _interrupts(on_interrupt):
        try:
            with output:
                for entry in _entries(host, job, settings, previews=output.wants_previews):
                    if isinstance(entry.event, Snapshot):  # its beginning is not kept any more
                        continue
                    output.show(entry.event)
                    last = entry.event
                    if isinstance(last, Done | Failed | Cancelled | Paused):
                        break
        except _LeftError:
            say(f"Job {job} goes on without this terminal. `sdterm attach {job}` shows it again.")
            return EXIT_CANCELLED
    _notify(settings["notify"], job, last)
    match last:
        case Cancelled():
            return EXIT_CANCELLED
        case Failed():
            return EXIT_FAILED
        case Paused():
            say(f"`sdterm queue resume {job}` goes on with it.")
    return 0


def leave() -> None:
    """Go away; the job goes on."""
    raise _LeftError


def _entries(host: Client, job: int, settings: Settings, *, previews: bool) -> Iterator[Entry]:
    """A job's events. A host that is lost in between is found, or started, again."""
    after, left = 0, _PATIENCE
    while True:
        try:
            for entry in host.events(after=after, job=job, previews=previews):
                if after == 0 and isinstance(entry.event, Snapshot) and not _is_open(entry.event, job):
                    yield _told_again(host, job, entry)
                yield entry
                after, left = max(after, entry.number), _PATIENCE
            reason = HostError("The host has ended.")
        except HostError as error:
            reason = error
        if not left:
            raise reason
        left -= 1
        say(f"{reason} Looking for it again.")
        host.close()
        host = connect(settings)


def _is_open(snapshot: Snapshot, job: int) -> bool:
    return any(known.id == job for known in snapshot.jobs)


def _told_again(host: Client, job: int, entry: Entry) -> Entry:
    """The end of a job that ended so long ago that its events are gone."""
    known = host.job(job)
    end: Event
    match known.state:
        case "failed" if known.reason:
            end = known.reason
        case "done":
            end = Done(images=known.done, seconds=0.0)
        case _:
            end = Cancelled(images=known.done)
    return entry.model_copy(update={"event": end})


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
