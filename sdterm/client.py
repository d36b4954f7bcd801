"""How a front end talks to the host: every `/v1` call as a method, the events as an iterator.

with connect(settings) as host:
    job = host.submit(Submission(request=request))
    for entry in host.events(job=job.id, after=0):
        …
"""

import base64
import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx2 as httpx
import psutil
from pydantic import BaseModel, TypeAdapter

from sdterm.api import (
    HEARTBEAT,
    LAST,
    Download,
    DownloadOffer,
    DownloadRequest,
    Emptied,
    Entry,
    Extension,
    Hashing,
    Health,
    JobDetails,
    JobPage,
    JobView,
    LibraryFile,
    LibraryKind,
    Model,
    Networks,
    Picture,
    PicturePage,
    Pin,
    Problem,
    PromptReading,
    Queue,
    Resumption,
    Retry,
    SettingView,
    State,
    Stop,
    Style,
    Submission,
    TrashedPicture,
    Words,
    WorkerView,
)
from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.files import legible
from sdterm.core.library.sources import TOKENS
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.rundir import RunFolder, RunFolderError, holder, is_held, make_private, run_folder_of
from sdterm.core.settings.settings import SETTINGS, Settings
from sdterm.core.text import file_size
from sdterm.errors import AnswerError as AnswerError
from sdterm.errors import HostError as HostError
from sdterm.errors import SdtermError
from sdterm.messages import from_json, message
from sdterm.remote import CONNECT_LIMIT, Remote, http_of, reason_of, remote_of
from sdterm.ssh import SshError, Tunnel, tunnel
from sdterm.version import __version__

START_LIMIT = 60.0
"""Seconds that a host may take to start."""
STOP_LIMIT = 30.0
"""Seconds that a host may take to end."""
_LISTENS_WITHIN = 5.0  # seconds
_CALL_LIMIT = 90.0  # seconds for one call: the first one may have to list all plugins
_SILENCE = 60.0  # seconds without even a keep-alive after which a stream counts as broken
_FAR_SILENCE = 3 * HEARTBEAT  # the same over TCP, where a line breaks without a word
_BACK_WITHIN = 10.0  # seconds in which a line that broke is expected back
_BETWEEN_TRIES = 0.25  # seconds
_MOST = 256 * 2**20  # bytes of one answer: a picture, or a list

_ENDED = message("The host ended. Its jobs continue with the next one.")

B = TypeVar("B", bound=BaseModel)


class RefusedError(SdtermError, RuntimeError):
    """The host did not do what was asked; the message is a sentence for the user."""

    def __init__(self, problem: Problem, status: int) -> None:
        super().__init__(problem.message)
        self.problem, self.status = problem, status
        self.code, self.field = problem.code, problem.field


class _EndedError(HostError):
    """The host said that it ends: it did not get lost."""


def connect(
    settings: Settings, *, start: bool = True, check: bool = False, starting: Callable[[], None] = lambda: None
) -> "Client":
    """A client of the host of this data root, which is started if there is none; raises HostError if it cannot be, or,
    without `start`, if there is none.

    check: raise HostError, too, if it runs with other settings than the ones given here. starting: called before one
    is started, which takes a moment. Where the setting `connect` names a host on another machine, that one is reached,
    with the settings that it has.
    """
    if settings["connect"]:
        return reach(address_of(settings), start=start)
    run_folder = run_folder_of(settings.root)
    client = _reach_held(run_folder)
    if not client:
        if not start:
            raise HostError(_absent(run_folder, settings.root))
        starting()
        client = _start(settings, run_folder)
    try:
        if check:
            _check(client, settings)
    except BaseException:
        client.close()
        raise
    return client


def address_of(settings: Settings) -> "Remote | Tunnel":
    """Where the host on another machine is that these settings name. Raises RemoteError, SshError."""
    target: str = settings["connect"]
    return remote_of(settings) if "://" in target else tunnel(target)


def reach(remote: "Remote | Tunnel", *, start: bool = True) -> "Client":
    """A client of a host on another machine, which with `start` is started there if SSH leads there. Raises HostError
    if it cannot be reached or is of another version, RefusedError if its token is not valid."""
    if isinstance(remote, Tunnel):
        remote.open(start=start)
    client = Client(remote)
    try:
        if (version := client.health().version) != __version__:
            raise HostError(
                message(
                    "The host at {place} runs sdterm {theirs}, this is {ours}. Install the same version on both "
                    "machines.",
                    place=remote.place,
                    theirs=version,
                    ours=__version__,
                )
            )
    except BaseException:
        client.close()
        raise
    return client


class Client:
    """A connection to a host: of this machine by its run folder, of another one over TCP or SSH. Methods raise
    RefusedError if it says no, HostError if it is gone."""

    def __init__(self, address: "RunFolder | Remote | Tunnel") -> None:
        self._address = address
        if isinstance(address, Remote):
            self._http = http_of(address, _CALL_LIMIT)
        else:
            # verify: nothing speaks TLS here, and reading the certificates would take 50 ms
            transport = httpx.HTTPTransport(uds=str(address.socket), retries=0, verify=False)
            self._http = httpx.Client(transport=transport, base_url="http://sdterm/v1", timeout=_CALL_LIMIT)
        self._http.headers["accept-encoding"] = "identity"

    @property
    def remote(self) -> Remote | None:
        """Where the host is, if it is reached over TCP."""
        return self._address if isinstance(self._address, Remote) else None

    @property
    def is_far(self) -> bool:
        """Whether its files are another machine's."""
        return not isinstance(self._address, RunFolder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def health(self) -> Health:
        return self._get(Health, "health")

    def submit(self, submission: Submission) -> JobView:
        """Queue a job. What its request leaves unset is the host's to say: a model may have values of its own. A host
        on another machine saves as its own settings say."""
        if self.is_far:
            submission = submission.model_copy(update={"saving": None})
        return self._post(JobView, "jobs", submission)

    def job(self, job: int) -> JobDetails:
        return self._get(JobDetails, f"jobs/{job}")

    def jobs(self, states: Sequence[State] = (), limit: int = 50, cursor: str | None = None) -> JobPage:
        return self._get(JobPage, "jobs", state=list(states), limit=limit, cursor=cursor)

    def cancel(self, job: int) -> JobView:
        return self._post(JobView, f"jobs/{job}/cancel")

    def pause(self, job: int, at_step: int | None = None, pass_no: int = 0) -> JobView:
        return self._post(JobView, f"jobs/{job}/pause", Stop(at_step=at_step, pass_no=pass_no))

    def resume(
        self, job: int, images: Sequence[int] | None = None, pause_at: int | None = None, pause_pass: int = 0
    ) -> JobView:
        chosen = None if images is None else tuple(images)
        how = Resumption(images=chosen, pause_at=pause_at, pause_pass=pause_pass)
        return self._post(JobView, f"jobs/{job}/resume", how)

    def retry(self, job: int, how: Retry | None = None) -> JobView:
        """Try a failed job again, from where it was; `how`: computed in another way, which leaves its images."""
        return self._post(JobView, f"jobs/{job}/retry", how)

    def move(self, job: int, before: int | None = None) -> JobView:
        return self._post(JobView, f"jobs/{job}/move", {"before": before})

    def pin(self, job: int, device: str | None = None) -> JobView:
        """Have a job drawn on that device alone; None: on any."""
        return self._post(JobView, f"jobs/{job}/pin", Pin(device=device))

    def drain(self, device: str) -> WorkerView:
        """Have a device take no new jobs, and let go of its memory once it draws nothing."""
        return self._post(WorkerView, f"devices/{device}/drain")

    def resume_device(self, device: str) -> WorkerView:
        """Have it take jobs again."""
        return self._post(WorkerView, f"devices/{device}/resume")

    def queue(self) -> Queue:
        return self._get(Queue, "queue")

    def pause_queue(self) -> Queue:
        return self._post(Queue, "queue/pause")

    def resume_queue(self) -> Queue:
        return self._post(Queue, "queue/resume")

    def models(self) -> list[Model]:
        return self._get_list(Model, "models")

    def load_model(self, name: str) -> None:
        """Have a checkpoint read into memory; events of no job tell how it goes: `model_loading`, of which the last is
        `done`, or a `warning` with the code `model_not_loaded`. Refused while everything that draws has a job."""
        self._call("POST", "models/load", json={"name": name})

    def unload_models(self) -> None:
        """Free the memory that models take which nobody draws with, and wait until it is free."""
        self._call("POST", "models/unload")

    def hash_model(self, name: str | None, kind: str = "checkpoint") -> None:
        """Have a model file's hashes computed, `model_hashed` tells it; or, without a name, those of all of a kind that
        have none."""
        self._call("POST", "models/hash", json={"name": name, "kind": kind})

    def hashing(self, what: Literal["pause", "resume", "stop"] | None = None) -> Hashing:
        """How far computing hashes is; `what`: after it was told to do that."""
        return self._post(Hashing, f"models/hashing/{what}") if what else self._get(Hashing, "models/hashing")

    def library(self) -> list[LibraryKind]:
        return self._get_list(LibraryKind, "library")

    def library_files(self, kind: str) -> list[LibraryFile]:
        """The model files of a kind, by its id."""
        return self._get_list(LibraryFile, f"library/{kind}")

    def library_preview(self, kind: str, name: str, size: int = 256) -> bytes:
        """The picture beside a model file, as a JPEG."""
        return self._call("GET", f"library/{kind}/preview", params={"name": name, "size": size})

    def look_at_download(self, request: DownloadRequest) -> DownloadOffer:
        """What a model to add is. Nothing of it is fetched."""
        return self._post(DownloadOffer, "downloads/look", self._telling(request))

    def add_model(self, request: DownloadRequest) -> Download:
        """Have a model fetched into its folder; events `download_changed` tell how it goes, of which the last has the
        state `done`, `failed` or `cancelled`."""
        return self._post(Download, "downloads", self._telling(request))

    def downloads(self) -> list[Download]:
        return self._get_list(Download, "downloads")

    def cancel_download(self, download: int) -> Download:
        return self._post(Download, f"downloads/{download}/cancel")

    def read_prompt(self, words: Words) -> PromptReading:
        """What in a prompt does not do what it looks like, and its tokens."""
        return self._post(PromptReading, "prompt", words)

    def styles(self) -> list[Style]:
        return self._get_list(Style, "styles")

    def networks(self) -> Networks:
        return self._get(Networks, "networks")

    def extensions(self) -> list[Extension]:
        """The plugins that are not sdterm's, and how each stands."""
        return self._get_list(Extension, "extensions")

    def catalogue(self) -> Catalogue:
        return self._get(Catalogue, "catalogue")

    def settings(self) -> list[SettingView]:
        return self._get_list(SettingView, "settings")

    def set_setting(self, key: str, value: Any) -> SettingView:
        """Change a setting for good: text as a person types it, or a value as TOML has it; None is the default."""
        return self._read(SettingView, self._call("PUT", f"settings/{key}", json={"value": value}))

    def pictures(
        self,
        query: str = "",
        limit: int = 50,
        cursor: str | None = None,
        job: int | None = None,
        order: str | None = None,
    ) -> PicturePage:
        return self._get(PicturePage, "pictures", q=query, limit=limit, cursor=cursor, job=job, order=order)

    def rescan_pictures(self) -> None:
        """Have the outputs folder searched for pictures that the gallery does not list. Events `pictures_found` tell
        how it goes; the last is `done`."""
        self._call("POST", "pictures/rescan")

    def picture(self, picture: int) -> Picture:
        return self._get(Picture, f"pictures/{picture}")

    def delete_picture(self, picture: int) -> None:
        """Take it out of the gallery, and its file into the trash."""
        self._call("DELETE", f"pictures/{picture}")

    def restore_picture(self, picture: int) -> Picture:
        """Bring a deleted one back."""
        return self._post(Picture, f"pictures/{picture}/restore")

    def trash(self) -> list[TrashedPicture]:
        """Deleted pictures that can be brought back."""
        return self._get_list(TrashedPicture, "trash")

    def empty_trash(self, days: float = 0) -> int:
        """Delete for good what has been in the trash for so many days: how many pictures."""
        return self._read(Emptied, self._call("DELETE", "trash", params={"days": days})).emptied

    def file(self, picture: int) -> bytes:
        """The image as it was saved."""
        return self._call("GET", f"pictures/{picture}/file")

    def thumbnail(self, picture: int, size: int = 128) -> bytes:
        """A JPEG."""
        return self._call("GET", f"pictures/{picture}/thumbnail", params={"size": size})

    def put_input(self, data: bytes) -> str:
        """Give the host a picture's file for jobs to start from, unless it has it; its digest. It stays for a day, and
        as long as a job or a picture refers to it."""
        digest = hashlib.sha256(data).hexdigest()
        with self._speaking():
            is_there = self._http.head(f"inputs/{digest}").is_success
        if not is_there:
            self._call("PUT", f"inputs/{digest}", content=data)
        return digest

    def input(self, digest: str) -> bytes:
        """A picture's file that the host was given."""
        return self._call("GET", f"inputs/{digest}")

    def stop(self) -> None:
        """End the host, and wait until it is gone. A host that is reached over TCP refuses."""
        pid = self.health().pid
        self._call("POST", "stop")
        if isinstance(self._address, RunFolder):
            _wait_until_gone(self._address, pid)

    def events(
        self,
        *,
        after: int | None = None,
        job: int | None = None,
        previews: bool = False,
        away: Callable[[HostError | None], None] = lambda error: None,
    ) -> Iterator[Entry]:
        """What happens after event number `after` (unset: from now on), of one job or all, for ever. Ends when the
        host does; raises HostError if the connection breaks. From another machine it goes on by itself after a break,
        without missing an event, unless the host cannot be reached for ten seconds: then it ends if the host said that
        it ends, and otherwise raises HostError.

        away: called with the reason when a try to come back fails, and with None once one succeeds."""
        if self.is_far:
            yield from self._unbroken(after, job, previews, away)
            return
        with contextlib.suppress(_EndedError), self._stream(after, job, previews) as response:
            yield from self._entries(response)

    def _unbroken(
        self, after: int | None, job: int | None, previews: bool, away: Callable[[HostError | None], None]
    ) -> Iterator[Entry]:
        seen = self.health().last_event if after is None else after
        back_by = None  # when the line must be back; the first connection has one try
        told, has_ended = "", False  # why it is away; whether the host said that it ends
        while True:
            lost, answer = HostError(_ENDED), None
            try:
                with self._stream(seen, job, previews) as answer:
                    back_by = back_by or time.monotonic() + _BACK_WITHIN
                    if told:
                        told = ""
                        away(None)
                    for entry in self._entries(answer):
                        has_ended = False
                        seen = max(seen, entry.number)
                        yield entry
            except HostError as error:
                lost, has_ended = error, has_ended or isinstance(error, _EndedError)
            except RefusedError as error:  # a proxy says that it does not reach the host
                if error.status not in (502, 503, 504) or back_by is None:
                    raise
            if answer and answer.num_bytes_downloaded:  # an event or a comment came
                back_by = time.monotonic() + _BACK_WITHIN
            elif back_by is not None and str(lost) != told:
                told = str(lost)
                away(lost)
            if back_by is None or time.monotonic() > back_by:
                if has_ended:
                    return
                raise lost
            time.sleep(_BETWEEN_TRIES)
            if isinstance(self._address, Tunnel):
                with contextlib.suppress(SshError):
                    self._address.mend()

    @contextlib.contextmanager
    def _stream(self, after: int | None, job: int | None, previews: bool) -> Iterator[httpx.Response]:
        """A stream of events, once the host has begun to answer."""
        params = _given({"after": after, "job": job, "previews": previews})
        silence = _FAR_SILENCE if self.is_far else _SILENCE
        limits = httpx.Timeout(_CALL_LIMIT, connect=CONNECT_LIMIT, read=silence)
        with self._speaking(), self._http.stream("GET", "events", params=params, timeout=limits) as response:
            self._refuse(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise self._odd()
            yield response

    def _entries(self, response: httpx.Response) -> Iterator[Entry]:
        """Raises _EndedError where the host says that it ends."""
        for said in httpx.EventSource(response):
            if said.event == LAST:
                raise _EndedError(_ENDED)
            with self._understanding():
                entry = _entry(said)
            yield entry

    def _telling(self, request: DownloadRequest) -> dict[str, Any]:
        """With the tokens of this environment, which the host's, of another shell, may lack; to another machine none
        go."""
        known = {} if self.is_far else {name: os.environ.get(name, "").strip() for name in TOKENS}
        tokens = {name: token for name, token in known.items() if token}
        return request.model_dump(exclude={"tokens"}, exclude_none=True) | {"tokens": tokens}

    def _get(self, kind: type[B], path: str, **params: Any) -> B:
        return self._read(kind, self._call("GET", path, params=_given(params)))

    def _get_list(self, kind: type[B], path: str) -> list[B]:
        answer = self._call("GET", path)
        with self._understanding():
            return TypeAdapter(list[kind]).validate_json(answer)  # type: ignore[valid-type]

    def _post(self, kind: type[B], path: str, body: BaseModel | Mapping[str, Any] | None = None) -> B:
        content = (
            body.model_dump_json(exclude_unset=True)
            if isinstance(body, BaseModel)
            else json.dumps(body)
            if body
            else None
        )
        headers = {"content-type": "application/json"} if content else {}
        return self._read(kind, self._call("POST", path, content=content, headers=headers))

    def _read(self, kind: type[B], answer: bytes) -> B:
        with self._understanding():
            return kind.model_validate_json(answer)

    def _call(self, method: str, path: str, **options: Any) -> bytes:
        with self._speaking(), self._http.stream(method, path, **options) as response:
            self._refuse(response)
            return self._content(response)

    def _content(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for piece in response.iter_raw():
            content += piece
            if len(content) > _MOST:
                raise AnswerError(
                    message("{place} answers with more than {size}.", place=self._place, size=file_size(_MOST))
                )
        return bytes(content)

    def _refuse(self, response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":  # which could unpack to anything
            raise self._odd()
        if response.is_success:
            return
        try:
            problem = Problem.model_validate_json(self._content(response))
        except ValueError:
            status = response.status_code
            said = (
                message("{place} answers {status}, not as sdterm does.", place=self._place, status=status)
                if self.is_far
                else message("The host answered {status}; see `sdterm host logs`.", status=status)
            )
            problem = Problem(code="internal", message=said)
        raise RefusedError(problem, response.status_code)

    @property
    def _place(self) -> str:
        return message("The host") if isinstance(self._address, RunFolder) else self._address.place

    @contextlib.contextmanager
    def _understanding(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._odd() from error

    def _odd(self) -> AnswerError:
        return AnswerError(
            message("What answers at {place} is not sdterm, or not this version of it.", place=self._place)
        )

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            if self.remote:
                raise HostError(reason_of(error, self.remote)) from error
            if isinstance(self._address, Tunnel):
                raise HostError(
                    message(
                        "The connection to {machine} was lost, or its SSH server may not forward sockets. "
                        "Jobs there continue.",
                        machine=self._address.place,
                    )
                ) from error
            if isinstance(error, httpx.TimeoutException):
                raise HostError(message("The host does not answer; `sdterm host logs` may say why.")) from error
            raise HostError(_ENDED) from error


def _entry(said: httpx.ServerSentEvent) -> Entry:
    fields = json.loads(said.data)
    return Entry.of(fields, base64.b64decode(fields.pop("data", "")))


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _reach(run_folder: RunFolder) -> Client | None:
    """A client of a running host; None if there is none. Raises HostError if others could have put their own there."""
    if not run_folder.socket.exists():
        return None
    _make_private(run_folder)
    client = Client(run_folder)
    try:
        client.health()
    except HostError:
        client.close()
        return None
    return client


def _reach_held(run_folder: RunFolder) -> Client | None:
    """The same; one that holds its place is given the time to begin, or to notice that its socket was deleted."""
    deadline = time.monotonic() + _LISTENS_WITHIN
    while not (client := _reach(run_folder)) and is_held(run_folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return client


def _absent(run_folder: RunFolder, root: Path) -> str:
    if not is_held(run_folder):
        return message("No host is running for {root}. `sdterm host start` starts one.", root=root)
    process = _process(holder(run_folder))
    return message(
        "The host ({process}) does not answer. `sdterm host stop` ends it; {log} may say why.",
        process=process,
        log=run_folder.log,
    )


def stop_host(settings: Settings) -> tuple[int, ...]:
    """End the host of a data root, one that does not answer too, and wait until it is gone. Returns the jobs that go on
    with the next one. Raises HostError if none runs, or it does not end."""
    run_folder = run_folder_of(settings.root)
    client = _reach_held(run_folder)
    if client:
        with client:
            running = tuple(worker.job for worker in client.health().workers if worker.job)
            client.stop()
        return running
    pid = holder(run_folder)
    if pid is None or not _is_host(pid):
        raise HostError(_absent(run_folder, settings.root))
    os.kill(pid, signal.SIGTERM)
    _wait_until_gone(run_folder, pid)
    return ()


def _is_host(pid: int) -> bool:
    """Whether that process is a host, and not one of another machine or container with the same number."""
    try:
        return not {"sdterm.host", "sdterm.cli.foreground"}.isdisjoint(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _wait_until_gone(run_folder: RunFolder, pid: int) -> None:
    """Raises HostError. Its lock tells, not its process: where nobody reaps, that stays for ever."""
    deadline = time.monotonic() + STOP_LIMIT
    while is_held(run_folder):
        if time.monotonic() > deadline:
            raise HostError(
                message("The host ({process}) does not end; `kill -9 {pid}` ends it.", process=_process(pid), pid=pid)
            )
        time.sleep(0.02)


def _process(pid: int | None) -> str:
    return message("process {pid}", pid=pid) if pid else message("of an unknown process")


def _start(settings: Settings, run_folder: RunFolder) -> Client:
    """Start a host that outlives this process and its terminal. Of two at once one wins, and both get that one."""
    prepare(settings.root)
    _make_private(run_folder)
    given = {"data_dir": str(settings.root)} | {
        setting.key: settings[setting.key]
        for setting in SETTINGS
        if setting.scope == "host" and setting.key != "data_dir" and settings.values[setting.key].source in _TYPED
    }
    # -P: a random.py in the folder where somebody stands is not ours
    command = [sys.executable, "-P", "-m", "sdterm.host", json.dumps(given)]
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        told = _spawn(command, run_folder, deadline - time.monotonic())
        if told is None:
            break
        if told.startswith("failed"):
            why = from_json(json.loads(told.removeprefix("failed")))
            raise HostError(message("The host could not start: {why}", why=why))
        if told not in ("ready", "taken"):
            raise HostError(message("The host ended while it started; {log} says why.", log=run_folder.log))
        for _ in range(40):  # one that won the race may be about to listen, or one that ends about to be gone
            if client := _reach(run_folder):
                return client
            time.sleep(0.05)
    raise HostError(_absent(run_folder, settings.root))


def _spawn(command: list[str], run_folder: RunFolder, limit: float) -> str | None:
    """Start a process that outlives this one and its terminal. Returns its first line; None if that does not come
    within so many seconds."""
    with run_folder.log.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    assert process.stdout
    threading.Thread(target=process.wait, name="host", daemon=True).start()  # Popen warns if nobody waits for its end
    with process.stdout as told:
        if not select.select([told], [], [], limit)[0]:
            return None
        return told.readline().decode(errors="replace").strip()


def _make_private(run_folder: RunFolder) -> None:
    try:
        make_private(run_folder)
    except RunFolderError as error:
        raise HostError(str(error)) from error


_TYPED = ("the command line", "COMMANDLINE_ARGS")


def _check(client: Client, settings: Settings) -> None:
    """Whether that host is this sdterm's, and the one these settings want. Raises HostError with what to do."""
    health = client.health()
    if health.version != __version__:
        raise HostError(
            message(
                "The running host is of sdterm {version} and this is {own}. `sdterm host stop` ends it; "
                "its jobs continue with the next one.",
                version=health.version,
                own=__version__,
            )
        )
    running = health.settings
    for setting in SETTINGS:
        if setting.scope != "host" or setting.key == "data_dir":
            continue
        value = settings.values[setting.key]
        if value.source in (*_TYPED, f"SDTERM_{setting.key.upper()}"):
            wanted, there = legible(json.loads(json.dumps(value.value))), running.get(setting.key)
            if wanted != there:
                raise HostError(
                    message(
                        "The running host has {key} {there}, but {source} says {wanted}. `sdterm host stop` ends "
                        "it (its jobs continue with the next one), or use --local.",
                        key=setting.key,
                        there=repr(there),
                        source=value.source,
                        wanted=repr(wanted),
                    )
                )
