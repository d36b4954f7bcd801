"""Trying out plugins where they can harm nobody: in a child of a helper process that has imported what nearly every
plugin imports, so that a try costs milliseconds.

`python -m sdterm.core.extensions.probe`, spawned by the host. Each line on standard input has a list of sources and one
of checkpoints, and is answered by one line: the catalogue of the set that the sources make, or, where there are
checkpoints, what that set knows each of them as; or how trying ended the child. A line without sources is not answered:
it says that tries are to come soon, and the helper imports what takes long.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from sdterm.core.catalogue import Catalogue, catalogue_of
from sdterm.core.extensions.discovery import built_ins
from sdterm.core.extensions.source import Source
from sdterm.core.library import CheckpointFile
from sdterm.core.recognition import Recognition, recognition
from sdterm.core.registry import plugin_set

TIME_LIMIT = 15.0
"""Seconds that trying a set may take."""
MEMORY_LIMIT = 8 * 2**30
"""Bytes of address space that it may take more than the helper has."""

MOST_BYTES = 32 * 2**20
"""Of a catalogue."""


class ProbeError(Exception):
    """Trying a set ended the child; a sentence without its end says how."""


def question(sources: Sequence[Source], checkpoints: Sequence[Path] = ()) -> bytes:
    """What the helper is asked."""
    asked = {"sources": [asdict(source) for source in sources], "checkpoints": [str(path) for path in checkpoints]}
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
        raise ProbeError(answer["ended"])
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
    child = os.fork()
    if not child:
        _be_tried(sources, checkpoints, writing)
    os.close(writing)
    deadline = time.monotonic() + TIME_LIMIT
    said = b""
    try:
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reading], [], [], left)[0]:
                return {"ended": f"it took longer than {TIME_LIMIT:.0f} s to load"}
            part = os.read(reading, 2**20)
            if not part:
                _, status = os.waitpid(child, 0)
                return {"ended": _ending(os.waitstatus_to_exitcode(status))}
            said += part
            if len(said) > MOST_BYTES:
                return {"ended": "it offers more than fits"}
        return {"said": json.loads(said)}
    finally:
        os.close(reading)
        for kill in (os.killpg, os.kill):  # with whatever it started; and itself, if it left its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def _be_tried(sources: Sequence[Source], checkpoints: Sequence[str], writing: int) -> None:
    """In the child: load the set, say what it offers or knows, and end at once."""
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        most = psutil.Process().memory_info().vms + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        plugins = plugin_set(sources)
        if checkpoints:
            known = [recognition(CheckpointFile(Path(path)), plugins).model_dump() for path in checkpoints]
            said = json.dumps(known).encode() + b"\n"
        else:
            said = catalogue_of(plugins).model_dump_json().encode() + b"\n"
        while said:
            said = said[os.write(writing, said) :]
        os._exit(0)
    except BaseException as error:
        print(f"probe: {type(error).__name__}: {error}", file=sys.stderr)
    os._exit(1)


def _ending(code: int) -> str:
    if code < 0:
        return f"loading it crashed the process ({signal.Signals(-code).name})"
    return f"loading it ended the process (exit code {code})"


if __name__ == "__main__":
    serve()
