"""Trying out plugins where they can harm nobody: in a child of a helper process that has imported what nearly every
plugin imports, so that a try costs milliseconds.

`python -m sdterm.core.extensions.probe`, spawned by the host. Each line on standard input has a list of sources and one
of checkpoints, and is answered by one line: the catalogue of the set that the sources make, or, where there are
checkpoints, what that set knows each of them as; or how trying ended the child, and which of the sources it was loading
then. A line without sources is not answered: it says that tries are to come soon, and the helper imports what takes
long.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from sdterm.core.extensions.catalogue import Catalogue, catalogue_of
from sdterm.core.extensions.discovery import built_ins
from sdterm.core.extensions.registry import plugin_set
from sdterm.core.extensions.source import Source
from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.library.recognition import Recognition, recognition
from sdterm.messages import message

TIME_LIMIT = 15.0
"""Seconds that loading one plugin may take."""
MEMORY_LIMIT = 8 * 2**30
"""Bytes of address space that it may take more than the helper has."""

MOST_BYTES = 32 * 2**20
"""Of a catalogue."""
_PR_SET_PDEATHSIG = 1


class ProbeError(Exception):
    """Trying a set ended the child; a sentence without its end says how. `slug`: the plugin that was being loaded, if
    it is known; `passing`: it may go well another time."""

    def __init__(self, message: str, slug: str | None = None, *, passing: bool = False) -> None:
        super().__init__(message)
        self.slug, self.passing = slug, passing


def question(sources: Sequence[Source], checkpoints: Sequence[Path] = ()) -> bytes:
    """What the helper is asked."""
    asked = {"sources": [source.fields for source in sources], "checkpoints": [str(path) for path in checkpoints]}
    return json.dumps(asked).encode() + b"\n"


def offered(line: bytes) -> Catalogue:
    """What a set offers, by the helper's answer. Raises ProbeError."""
    return Catalogue.model_validate(_said(line))


def recognised(line: bytes) -> list[Recognition]:
    """What a set knows the checkpoints as, in the order asked for. Raises ProbeError."""
    return [Recognition.model_validate(each) for each in _said(line)]


def _said(line: bytes) -> Any:
    answer = json.loads(line)
    if "ended" in answer:
        raise ProbeError(answer["ended"], answer["loading"], passing=answer["passing"])
    return answer["said"]


def serve() -> None:
    """Answer until the input ends."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a card that this process has touched could not be used in its children
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get between the answers
    plugin_set(built_ins())
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        if sources := [Source(**fields) for fields in asked["sources"]]:
            replies.write(json.dumps(_try(sources, asked["checkpoints"])).encode() + b"\n")
            replies.flush()
        else:
            _warm_up()


def _warm_up() -> None:
    for name in ("numpy", "PIL.Image", "torch"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page it looks at


def _try(sources: Sequence[Source], checkpoints: Sequence[str]) -> dict[str, Any]:
    reading, writing = os.pipe()
    helper = os.getpid()
    child = os.fork()
    if not child:
        _be_tried(sources, checkpoints, writing, helper)
    os.close(writing)
    loading: str | None = None
    said, size = b"", 0

    def ended(how: str, passing: bool = False) -> dict[str, Any]:
        return {"ended": how, "loading": loading, "passing": passing}

    try:
        deadline = time.monotonic() + TIME_LIMIT
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reading], [], [], left)[0]:
                return ended(message("it took longer than {seconds:.0f} s to load", seconds=TIME_LIMIT), passing=True)
            part = os.read(reading, 2**20)
            if not part:
                _, status = os.waitpid(child, 0)
                return ended(_ending(os.waitstatus_to_exitcode(status)))
            size += len(part)
            if size > MOST_BYTES:
                return ended(message("it offers too much"))
            *lines, said = (said + part).split(b"\n")
            for line in map(json.loads, lines):
                if "said" in line:
                    return {"said": line["said"]}
                loading, deadline = line["loading"], time.monotonic() + TIME_LIMIT
    finally:
        os.close(reading)
        for kill in (os.killpg, os.kill):  # with whatever it started; and itself, if it left its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def _be_tried(sources: Sequence[Source], checkpoints: Sequence[str], writing: int, helper: int) -> None:
    """In the child: load the set, say what it offers or knows, and end at once."""

    def say(**message: Any) -> None:
        said = json.dumps(message).encode() + b"\n"
        while said:
            said = said[os.write(writing, said) :]

    def announced() -> Iterator[Source]:
        for source in sources:
            if source.origin != "built-in":
                say(loading=source.slug)
            yield source
        say(loading=None)

    try:
        os.setpgid(0, 0)
        _die_with(helper)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        most = psutil.Process().memory_info().vms + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        plugins = plugin_set(announced())
        if checkpoints:
            say(said=[recognition(CheckpointFile(Path(path)), plugins).model_dump() for path in checkpoints])
        else:
            say(said=catalogue_of(plugins).model_dump(mode="json"))
        os._exit(0)
    except BaseException as error:
        print(f"probe: {type(error).__name__}: {error}", file=sys.stderr)
    os._exit(1)


def _die_with(parent: int) -> None:
    """Whatever the plugin is doing when the host lets go of the helper (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was faster
            os._exit(1)


def _ending(code: int) -> str:
    if code < 0:
        return message("loading it crashed the process ({signal})", signal=signal.Signals(-code).name)
    return message("loading it ended the process (exit code {code})", code=code)


if __name__ == "__main__":
    serve()
