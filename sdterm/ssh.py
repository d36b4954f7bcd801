"""A host on another machine that is reached through SSH: its socket, as if it were here."""

import atexit
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

from sdterm.core.text import printable
from sdterm.errors import HostError
from sdterm.messages import message

_TARGET = re.compile(r"(?P<machine>[^-:\s][^:\s]*)(?::(?P<folder>.+))?")
_LOGIN_LIMIT = 120.0  # seconds: somebody may have to type a password
_AGAIN_LIMIT = 10.0  # seconds, where nobody can
_START_LIMIT = 180.0  # seconds that the far host may take to start
_END_LIMIT = 5.0  # seconds that ssh may take to end
_OPTIONS = tuple(
    part
    for option in (
        "ServerAliveInterval=2",
        "ServerAliveCountMax=3",
        "ConnectTimeout=10",
        "ControlPersist=no",  # with it ssh goes into the background, where nobody ends it
        "RemoteCommand=none",
    )
    for part in ("-o", option)
)
_BESIDE_CTRL_C = ("sh", "-c", 'trap "" INT; exec "$@"', "ssh")  # Ctrl+C is for a job, which is cancelled over the line
_UNTIL_EOF = "cat >/dev/null"  # so ssh ends with this process, however that ends: then its standard input is closed


class SshError(HostError):
    """The other machine, or its host, cannot be reached through SSH; the message says why."""


class Tunnel:
    """One SSH connection, as the user's own configuration makes it. It ends with this process."""

    def __init__(self, target: str) -> None:
        """target: `[USER@]MACHINE[:FOLDER]`; the folder is where sdterm's launch.py lies there, if there is no command
        `sdterm`. Raises SshError."""
        if not (found := _TARGET.fullmatch(target)):
            raise SshError(
                message("{target} is not a machine: write user@gpu-box, or https://…", target=printable(target))
            )
        self.machine = found["machine"]
        self._program = _program(found["folder"])
        self._folder = Path(tempfile.mkdtemp(prefix="sdterm-"))  # 0700, and its name is short enough for sockets
        self._connection: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def place(self) -> str:
        """What to call it."""
        return printable(self.machine)

    @property
    def socket(self) -> Path:
        """The host's socket, once it is open."""
        return self._folder / "host"

    def dial(self) -> None:
        """Begin to connect, and do not wait: from now on SSH may ask for a password here. Raises SshError."""
        with self._lock:
            self._dial(may_ask=True)

    def log_in(self) -> None:
        """Wait until what was dialled is connected: SSH asks for nothing any more. Raises SshError."""
        with self._lock:
            self._wait_for_login(_LOGIN_LIMIT)

    def open(self, *, start: bool = True) -> None:
        """Connect unless it is connected, and with `start` start the far host unless it runs. Raises SshError."""
        with self._lock:
            is_new = self._connection is None
            if self._connection is None or self._connection.poll() is not None:
                self._dial(may_ask=is_new)
                self._wait_for_login(_LOGIN_LIMIT if is_new else _AGAIN_LIMIT)
            elif self.socket.exists() and not start:
                return  # whoever asks there hears whether the host runs
            far = self._start_host() if start else self._host()
            self._ssh("-O", "cancel", "-L", f"{self.socket}:{far}")  # of the connection before
            self.socket.unlink(missing_ok=True)
            done = self._ssh("-O", "forward", "-L", f"{self.socket}:{far}")
            if done.returncode:
                raise SshError(
                    message(
                        "SSH cannot forward the socket of the host on {machine}: {why}",
                        machine=self.place,
                        why=_last(done),
                    )
                )

    def mend(self) -> None:
        """Connect again if the connection is gone. Raises SshError."""
        if self._connection is None or self._connection.poll() is not None:
            self.open(start=False)

    def close(self) -> None:
        """Idempotent."""
        self._hang_up()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hang_up(self) -> None:
        if not self._connection:
            return
        if self._connection.stdin:
            self._connection.stdin.close()
        if self._connection.poll() is None:
            self._connection.terminate()
        try:
            self._connection.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            self._connection.kill()
            self._connection.wait()

    def _dial(self, *, may_ask: bool) -> None:
        self._hang_up()
        self._control.unlink(missing_ok=True)
        batch = () if may_ask else ("-o", "BatchMode=yes")
        ssh = ["ssh", "-T", "-M", "-S", str(self._control), *_OPTIONS, *batch, "--", self.machine, _UNTIL_EOF]
        try:
            with self._log.open("wb") as log:
                self._connection = subprocess.Popen(
                    [*_BESIDE_CTRL_C, *ssh], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
                )
        except OSError as error:
            raise SshError(message("SSH cannot be run: {why}.", why=error.strerror or str(error))) from error

    def _wait_for_login(self, limit: float) -> None:
        end = time.monotonic() + limit
        while not self._control.exists():
            if self._connection is None or self._connection.poll() is not None or time.monotonic() > end:
                self._hang_up()
                said = self._log.read_text("utf-8", "replace").strip().splitlines()
                why = printable(said[-1], 200) if said else "no answer"
                raise SshError(message("SSH to {machine} failed: {why}", machine=self.machine, why=why))
            time.sleep(0.05)

    def _start_host(self) -> str:
        """The path of the far host's socket, on its machine."""
        done = self._ssh(shell=f"{self._program} host start --json", limit=_START_LIMIT)
        if path := _socket(done.stdout):
            return path
        raise SshError(
            message(
                "sdterm does not start on {machine}: {why} If there is no command sdterm there, name the folder of its "
                "launch.py: --connect {machine}:FOLDER",
                machine=self.machine,
                why=_last(done),
            )
        )

    def _host(self) -> str:
        """The same, if the host runs."""
        done = self._ssh(shell=f"{self._program} host status --json", limit=_START_LIMIT)
        if path := _socket(done.stdout):
            return path
        raise SshError(message("No host is running on {machine}.", machine=self.place))

    def _ssh(
        self, *options: str, shell: str | None = None, limit: float = _AGAIN_LIMIT
    ) -> subprocess.CompletedProcess[str]:
        """Over the connection there is. shell: what to run there."""
        command = ["ssh", "-T", "-S", str(self._control), *_OPTIONS, "-o", "BatchMode=yes", *options, "--"]
        command.append(self.machine)
        command += [shell] if shell else []
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False,
                encoding="utf-8", errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SshError(message("{machine} does not answer.", machine=self.machine)) from error

    @property
    def _control(self) -> Path:
        return self._folder / "control"

    @property
    def _log(self) -> Path:
        """What ssh said."""
        return self._folder / "log"


@cache
def tunnel(target: str) -> Tunnel:
    """The one of this process to that machine. Raises SshError."""
    return Tunnel(target)


def _program(folder: str | None) -> str:
    """How sdterm is called there, for its shell."""
    if folder is None:
        return "sdterm"
    rest = folder.removeprefix("~/")
    there = f'"$HOME"/{shlex.quote(rest)}' if rest != folder else shlex.quote(folder)
    return f"cd {there} && python3 launch.py"


def _socket(told: str) -> str | None:
    """The path in the JSON that a command printed, perhaps behind other lines."""
    for found in re.finditer(r"^\{", told, re.MULTILINE):
        try:
            return str(json.JSONDecoder().raw_decode(told, found.start())[0]["socket"])
        except (ValueError, KeyError, RecursionError):
            continue
    return None


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    said = printable(lines[-1], 200) if lines else os.strerror(0)
    return said if said.endswith((".", "!", "?")) else f"{said}."
