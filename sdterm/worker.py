"""The process that owns one device: it reads a job, runs the engine and sends frames, until its input ends.

`python -m sdterm.worker SETTINGS` (JSON), spawned by the host. Frames come on standard input and go to standard
output; what plugins and libraries print goes to standard error. docs/protocol.md lists the messages.
"""

import gc

gc.set_threshold(50_000, 20, 50)  # before torch, for the reason that sdterm.__main__ has

import ctypes
import json
import os
import signal
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from sdterm.core.extensions.loading import forget
from sdterm.core.extensions.registry import PluginSet, plugin_set
from sdterm.core.extensions.source import Source
from sdterm.core.files import legible
from sdterm.core.frames import FrameError, pack, read_frame
from sdterm.core.library.checkpoints import library_of
from sdterm.core.planning.plan import Plan
from sdterm.core.prompt.styles import StylesError, styles_of
from sdterm.core.settings.settings import Settings, Value
from sdterm.engine import Engine
from sdterm.engine.cut import Cut
from sdterm.engine.device import card_id, hardware
from sdterm.engine.failures import failure
from sdterm.engine.run import FirstPass, PauseAt, Resume
from sdterm.engine.share import Share
from sdterm.events import LOST, AnyPicture, Event, Failed, Started, Warning
from sdterm.messages import as_json, message, sentences
from sdterm.request import GenerationRequest, RequestError

HEARTBEAT = 1.0  # seconds
EXIT_DEVICE = 70
_PR_SET_PDEATHSIG = 1
_NEEDED = {
    "draw": {"job", "request", "bound_plugins", "sources", "saved", "skipped_images", "pause_at", "tape", "first_pass"}
    | {"other_tapes", "share", "drawn"},
    "release": {"job"},
    "cut": {"job", "rest"},
    "saved": {"path"},
    "load": {"model", "sources"},
    "plugins": {"sources"},
}


class Wire:
    """The stream to the host. Frames are written whole, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        frame = pack({"type": kind, **fields}, payload)
        try:
            with self._lock:
                self._stream.write(frame)
                self._stream.flush()
        except BrokenPipeError:  # the host is gone: nobody is there to draw for
            os._exit(0)

    def event(self, job: int | None, event: Event, **fields: Any) -> None:
        self.send("event", getattr(event, "data", b""), job=job, event=legible(event.model_dump(mode="json")), **fields)


class Worker:
    """Draws the jobs that the host sends, one at a time."""

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self._settings = settings
        self._wire = wire
        kept = max(1, settings["checkpoints_limit"])
        self._engine = Engine(
            library=library_of(settings),
            device=settings["device"],
            models=kept,
            others_in_ram=settings["checkpoints_keep_in_cpu"],
            limit_memory=settings["limit_memory"],
        )
        self._plugins = Plugins()
        self._jobs: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
        self._saved: SimpleQueue[Path | None] = SimpleQueue()  # where the host saved images; None: it could not
        self._cancel, self._cut = threading.Event(), Cut()
        self._job: int | None = None
        self._share = Share()  # of that job
        self._is_busy = False

    def run(self, stream: BinaryIO) -> None:
        """Draw until the process ends, which it does with the stream."""
        threading.Thread(target=self._listen, args=(stream,), name="host", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        device = self._engine.device
        self._wire.send("ready", pid=os.getpid(), device=str(device), hardware=hardware(device), card=card_id(device))
        while True:
            message, plan = self._jobs.get()
            self._is_busy = True
            try:
                if message["type"] == "load":
                    self._load(message)
                else:
                    self._draw(message, plan)
            except Exception as error:
                traceback.print_exc()
                said = f"{type(error).__name__}: {error}"
                self._wire.event(message.get("job"), Failed(code="internal", message=said, advice=_DEFECT))
            self._job, self._share, self._is_busy = None, Share(), False
            self._wire.send("finished", job=message.get("job"))

    def _load(self, message: dict[str, Any]) -> None:
        """Read a model as a job with these settings would."""
        model, plugins = message["model"], self._plugins.of(message["sources"])
        memory, precision = self._settings["memory"], self._settings["precision"]
        request = GenerationRequest(prompt="-", model=model, memory=memory, precision=precision)
        try:
            self._engine.preload(request, plugins, lambda event: self._wire.event(None, event))
        except Exception as error:
            if not (known := failure(error)):
                raise
            self._end_if_lost(None, known)
            self._wire.event(None, Warning(code="model_not_loaded", message=sentences(known.message, known.advice)))

    def _draw(self, message: dict[str, Any], plan: bytes) -> None:
        job = self._job = message["job"]
        plugins = self._plugins.of(message["sources"])
        resume, styles = None, None
        if plan:
            saved = {int(number): Path(path) for number, path in message["saved"].items()}
            resume = Resume(Plan.model_validate_json(plan), saved, frozenset(message["skipped_images"]))
            if changed := _changed(message["bound_plugins"], plugins):
                self._wire.event(job, Warning(code="plugins_changed", message=changed))
        else:
            try:
                styles = styles_of(self._settings)
            except StylesError as error:
                self._wire.event(job, Failed(code=error.code, message=str(error)))
                return
        saved_images: SimpleQueue[Path | None] = SimpleQueue()
        drawn = {int(number): Path(path) for number, path in message["drawn"].items()}
        self._share = Share(message["share"], drawn)
        events = self._engine.run(
            GenerationRequest.model_validate(message["request"]),
            plugins,
            styles=styles,
            tape=Path(message["tape"]),
            previews=True,
            cancel=self._cancel,
            cut=self._cut,
            resume=resume,
            pause_at=PauseAt(**message["pause_at"]) if message["pause_at"] else None,
            saved=saved_images,
            first_pass=_first_pass(message["first_pass"]),
            share=self._share,
            other_tapes=[Path(tape) for tape in message["other_tapes"]],
        )
        for event in events:
            self._end_if_lost(job, event)
            bound = {"bound_plugins": plugins.identity} if isinstance(event, Started) else {}
            self._wire.event(job, event, **bound)
            if not isinstance(event, AnyPicture):
                continue
            if (path := self._saved.get()) is not None:
                saved_images.put(path)
            else:
                events.close()  # there is nowhere to put it; the tape keeps what it takes to draw it again

    def _end_if_lost(self, job: int | None, event: Event) -> None:
        if isinstance(event, Failed) and event.code in LOST:
            self._wire.send("lost", job=job, code=event.code, message=as_json(sentences(event.message, event.advice)))
            os._exit(EXIT_DEVICE)

    def _listen(self, stream: BinaryIO) -> None:
        while True:
            try:
                frame = read_frame(stream)
            except (FrameError, OSError) as error:
                print(f"worker: {error}", file=sys.stderr)
                os._exit(1)
            if not frame:
                os._exit(0)
            message, payload = frame
            if missing := _NEEDED.get(message["type"], set()) - message.keys():
                print(f"worker: a message {message['type']!r} lacks {', '.join(sorted(missing))}", file=sys.stderr)
                os._exit(1)
            match message["type"]:
                case "draw":
                    self._cancel.clear()
                    self._cut.clear()
                    self._jobs.put((message, payload))
                case "load":
                    self._jobs.put((message, payload))
                case "stop":
                    self._cancel.set()
                case "cut":
                    self._cut.make(rest=message["rest"])
                case "release":
                    self._release(message["job"])
                case "plugins":  # beside what is being drawn
                    threading.Thread(target=self._try, args=(message["sources"],), name="plugins", daemon=True).start()
                case "saved":
                    self._saved.put(Path(message["path"]) if message["path"] else None)

    def _release(self, job: int) -> None:
        """Give up batches that have not begun. The host is told before the run can end without them."""
        share = self._share if job == self._job else Share()
        share.release(lambda images: self._wire.send("released", job=job, images=images))

    def _beat(self) -> None:
        """Tell the host what the engine is at, so that it can tell a long call from a stuck one."""
        recent: deque[float] = deque(maxlen=50)  # seconds a call
        last, at = 0, time.monotonic()
        while True:
            time.sleep(HEARTBEAT)
            pulse, now = self._engine.pulse, time.monotonic()
            if pulse.call < last:
                recent.clear()  # another run, whose calls may take longer
            elif pulse.call > last:
                recent.append((now - at) / (pulse.call - last))
            if pulse.call != last or pulse.phase != "sample":  # waiting and loading are no part of a call
                last, at = pulse.call, now
            if not self._is_busy:  # nobody listens
                continue
            median = statistics.median(recent) if recent else 0.0
            plugin = pulse.plugin if self._plugins.is_foreign(pulse.plugin) else None
            self._wire.send(
                "heartbeat", job=self._job, phase=pulse.phase, call=pulse.call, median=median, plugin=plugin
            )

    def _try(self, sources: list[dict[str, Any]]) -> None:
        """Load a set that may be drawn with soon, and say what cannot be loaded."""
        try:
            found = self._plugins.of(sources, used=False).problems
            refused = {given["slug"] for given in sources if given["refusal"]}
            wrong = {p.source.slug: p.error or "" for p in found if p.source.slug not in refused}
        except BaseException as error:  # code of a stranger may raise anything
            traceback.print_exc()
            wrong = {"": f"{type(error).__name__}: {error}"}
        self._wire.send("plugins", errors={slug: as_json(why) for slug, why in wrong.items()})


class Plugins:
    """The sets of plugins that this process has loaded: the one in use and the newest one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sets: dict[str, tuple[PluginSet, tuple[Source, ...]]] = {}
        self._in_use = ""

    def of(self, sources: list[dict[str, Any]], used: bool = True) -> PluginSet:
        """The set of these, loaded if need be. Versions that neither it nor the one in use has are let go of."""
        key = json.dumps(sources)
        with self._lock:
            if key not in self._sets:
                given = tuple(Source(**fields) for fields in sources)
                first, self._sets[key] = not self._sets, (plugin_set(given), given)
                if first:
                    gc.freeze()  # what is there now stays: collections need not look at it
            self._in_use = key if used else self._in_use
            kept = {name: self._sets[name] for name in {key, self._in_use} & self._sets.keys()}
            needed = {(source.slug, source.digest) for _, given in kept.values() for source in given}
            gone = [s for _, given in self._sets.values() for s in given if (s.slug, s.digest) not in needed]
            self._sets = kept
            for source in gone:
                forget(source)
            if gone:
                gc.collect()  # modules are full of cycles
            return self._sets[key][0]

    def is_foreign(self, slug: str | None) -> bool:
        """Whether a plugin of the set in use does not come with sdterm."""
        _, sources = self._sets.get(self._in_use, (None, ()))
        return any(source.slug == slug and source.origin != "built-in" for source in sources)


_DEFECT = message("This is a bug in sdterm or in a plugin: `sdterm host logs` shows where.")


def _first_pass(given: dict[str, Any] | None) -> FirstPass | None:
    return FirstPass(given["image"], tuple(map(Path, given["tapes"]))) if given else None


def _changed(bound_plugins: list[list[str]], plugins: PluginSet) -> str:
    """Which plugins are not what they were when a job began, as a sentence; empty if none."""
    names = sorted({slug for slug, _ in {(slug, digest) for slug, digest in bound_plugins} ^ set(plugins.identity)})
    return message("These plugins changed since the job started: {names}.", names=", ".join(names)) if names else ""


def _die_with_parent() -> None:
    """Even while stopped or stuck in native code, where the end of the input is not noticed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Run until the host closes standard input."""
    _die_with_parent()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get between the frames
    given = json.loads(sys.argv[1])
    wire = Wire(out)
    settings = Settings(Path(given["data"]), {key: Value(value, "the host") for key, value in given["values"].items()})
    try:
        worker = Worker(settings, wire)
    except RequestError as error:  # the device is not there
        wire.send("unusable", message=as_json(str(error)))
        return
    worker.run(sys.stdin.buffer)


if __name__ == "__main__":
    main()
