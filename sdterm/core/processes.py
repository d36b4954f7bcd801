"""Commands that may hang, flood us or leave helpers behind: run within bounds."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from sdterm.messages import message

MOST_OUTPUT = 64 * 2**20
"""Bytes that a command may write."""


class BoundsError(Exception):
    """A command was stopped; words that follow its name say why: "took longer than 60 s"."""


@dataclass(frozen=True)
class Ended:
    """What a command that came to its end said."""

    code: int
    output: str
    errors: str


def run_bounded(
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    given: IO[bytes] | None = None,
) -> Ended:
    """Run a command in a session of its own, without input unless a file is `given`. Raises BoundsError once it takes
    longer or writes more than it may, OSError if it cannot be started; whatever it started ends with it then, as it
    does with Ctrl+C."""
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        command,
        env=environment,
        stdin=given or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, errors = _read(process, deadline)
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BoundsError(message("took longer than {seconds:g} s", seconds=seconds)) from None
            raise
    return Ended(code, output.decode(errors="replace"), errors.decode(errors="replace"))


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bytes, bytes]:
    """All that it writes, until it and all to whom it gave its ends of the pipes have closed them."""
    assert process.stdout and process.stderr
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, errors)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(process.args, deadline)
            for key, _ in ready:
                part = os.read(key.fd, 2**16)
                key.data.extend(part)
                if not part:
                    selector.unregister(key.fileobj)
            if len(output) + len(errors) > MOST_OUTPUT:
                raise BoundsError(message("wrote more than {limit} MiB", limit=MOST_OUTPUT // 2**20))
    return bytes(output), bytes(errors)
