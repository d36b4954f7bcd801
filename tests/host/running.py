"""A real host with its own data folder, for tests that hurt it."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from sdterm.api import Entry, Submission
from sdterm.client import Client, connect
from sdterm.core.settings.settings import Settings, resolve
from sdterm.events import Cancelled, Done, Event, Failed, Image, Paused, Step
from sdterm.request import GenerationRequest

REPOSITORY = Path(__file__).parents[2]
ENDS = (Done, Failed, Cancelled, Paused)


class Running:
    """A host, and the hands to hurt it with."""

    def __init__(self, data: Path, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.settings: Settings = resolve({}, {"SDTERM_DATA": str(data), **environ})
        self.client: Client = self._connected()

    def _connected(self) -> Client:
        """To the host, which is started with this environment if there is none."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environ.items():
                patch.setenv(name, value)
            return connect(self.settings)

    @property
    def host(self) -> psutil.Process:
        return psutil.Process(self.client.health().pid)

    @property
    def worker(self) -> psutil.Process:
        """The process that draws."""
        return psutil.Process(next(worker.pid for worker in self.client.health().workers if worker.pid))

    def submit(self, *, pause_at: int | None = None, **fields: object) -> int:
        request = GenerationRequest.model_validate({"prompt": "sunset, lake", "sampler": "Euler a", "seed": 7} | fields)
        return self.client.submit(Submission(request=request, pause_at=pause_at)).id

    def entries(self, job: int, after: int = 0, ends: tuple[type[Event], ...] = ENDS) -> Iterator[Entry]:
        """What happens to a job until it ends or pauses."""
        for entry in self.client.events(job=job, after=after):
            yield entry
            if isinstance(entry.event, ends):
                return

    def events(self, job: int) -> list[Event]:
        """All that happened to a job, once it has ended."""
        return [entry.event for entry in self.entries(job)]

    def at_step(self, job: int, step: int) -> None:
        """Wait until a job is there."""
        for entry in self.entries(job):
            if isinstance(entry.event, Step) and entry.event.step >= step:
                return

    def kill_host(self, host: psutil.Process | None = None) -> None:
        """Without a word, and wait until its workers have noticed. host: needed where it cannot be asked."""
        host = host or self.host
        workers = host.children()
        host.kill()
        _, alive = psutil.wait_procs([host, *workers], timeout=20)
        assert not alive, f"processes outlive the host: {alive}"
        self.client.close()

    def again(self) -> None:
        """A new host for the same data."""
        self.client.close()
        self.client = self._connected()


@contextlib.contextmanager
def running(data: Path, **environ: str) -> Iterator[Running]:
    """A host that is gone afterwards, with all its processes. environ: more of its environment, `SDTERM_*` settings
    among it."""
    it = Running(data, environ)
    try:
        yield it
    finally:
        it.again()
        host = it.host
        workers = host.children()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGCONT)
        it.client.stop()
        it.client.close()
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive


def is_there(process: psutil.Process) -> bool:
    """Whether a process has not ended. A zombie has: where nobody reaps, it stays for ever."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(what: Callable[[], object], limit: float = 60.0) -> None:
    """Look again and again until something is so."""
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline, f"not so after {limit:.0f} s"
        time.sleep(0.02)


def images(events: list[Event]) -> list[Image]:
    return [event for event in events if isinstance(event, Image)]


def steps(events: list[Event]) -> list[tuple[int, int]]:
    """(batch, step) of each, in order."""
    return [(event.batch, event.step) for event in events if isinstance(event, Step)]


def names(events: list[Event], *kinds: str) -> list[str]:
    """The events' names; only these kinds if any are given."""
    return [event.event for event in events if not kinds or event.event in kinds]
