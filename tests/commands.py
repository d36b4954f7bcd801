"""`sdterm` in a process of its own that need not import it: a process which has imported it once forks for each call.

As the program, it reads from a socket, the file descriptor in its first argument; the others are modules to import. A
call is one byte with four open files: JSON of what the process gets (arguments, environment, folder), and its standard
input, output and error. It answers with the process's id, and with its exit code once it has ended.
"""

import gc
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

REPOSITORY = Path(__file__).parents[1]
TIMEOUT = 120.0  # seconds

_NUMBER = struct.Struct("i")


class Commands:
    """Runs `sdterm …` as `subprocess.run` does."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def run(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        stdin: str | TextIO | None = None,
        cwd: Path = REPOSITORY,
    ) -> "subprocess.CompletedProcess[str]":
        """stdin: a text, or an open file."""
        with ExitStack() as opened:

            def file(text: str = "") -> TextIO:
                made = opened.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
                made.write(text)
                made.seek(0)
                return made

            given = file(json.dumps([["sdterm", *arguments], dict(env), str(cwd)]))
            source = file(stdin or "") if isinstance(stdin, str | None) else stdin
            output, error = file(), file()
            socket.send_fds(self._connection, [b"!"], [each.fileno() for each in (given, source, output, error)])
            pid = self._number()
            try:
                code = self._number()
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._number()
                raise
            for written in (output, error):
                written.seek(0)
            return subprocess.CompletedProcess(arguments, code, output.read(), error.read())

    def _number(self) -> int:
        return int(_NUMBER.unpack(self._connection.recv(_NUMBER.size, socket.MSG_WAITALL))[0])


@contextmanager
def commands(modules: Sequence[str], env: Mapping[str, str]) -> Iterator[Commands]:
    """A process that has imported those modules."""
    ours, theirs = socket.socketpair()
    ours.settimeout(TIMEOUT)
    program = [sys.executable, "-P", "-m", "tests.commands", str(theirs.fileno()), *modules]
    with ours, subprocess.Popen(program, pass_fds=[theirs.fileno()], env=env, start_new_session=True) as process:
        theirs.close()
        yield Commands(ours)
        ours.close()
        process.wait(TIMEOUT)


def _serve(connection: socket.socket) -> None:
    """Returns in each process that was asked for, as that process."""
    while (asked := socket.recv_fds(connection, 1, 4))[0]:
        files = asked[1]
        if not (pid := os.fork()):
            connection.close()
            with open(files[0], encoding="utf-8") as given:
                sys.argv, environ, folder = json.load(given)
            for number, file in enumerate(files[1:]):
                os.dup2(file, number)
                os.close(file)
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(folder)
            return
        for file in files:
            os.close(file)
        connection.sendall(_NUMBER.pack(pid))
        connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    os._exit(0)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from sdterm.__main__ import main

    main()
