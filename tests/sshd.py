"""A machine that SSH leads to: a real sshd on this one, with keys and a program of its own."""

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host.running import wait_until

REPOSITORY = Path(__file__).parents[1]
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
SSH = shutil.which("ssh")
NAME = "gpu-box"

needs_sshd = pytest.mark.skipif(not (SSH and SSHD), reason="there is no sshd")


@dataclass(frozen=True)
class Machine:
    """data: of the sdterm there. path: with an `ssh` that knows the machine as `gpu-box`."""

    data: Path
    path: str
    sshd: "subprocess.Popen[bytes]"
    program: Path

    def run(self, *arguments: str) -> str:
        """What sdterm prints there."""
        command = [str(self.program), *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, check=False, text=True).stdout

    def connections(self) -> list[int]:
        """The processes of sshd that serve a connection."""
        import psutil

        return [child.pid for child in psutil.Process(self.sshd.pid).children()]


@contextmanager
def machine(folder: Path, *, forwards: str = "yes", **options: str) -> Iterator[Machine]:
    """forwards: what sshd allows, as its option AllowStreamLocalForwarding has it. options: more of the user's own ssh
    configuration."""
    assert SSHD
    folder.mkdir(parents=True)
    data, programs, ours = folder / "far", folder / "bin", folder / "here"
    programs.mkdir()
    ours.mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, capture_output=True)
    environment = f"export PYTHONPATH={shlex.quote(str(REPOSITORY))} SDTERM_DATA={shlex.quote(str(data))} PYTHONUTF8=1"
    _program(programs / "sdterm", f'{environment}\nexec {shlex.quote(sys.executable)} -m sdterm "$@"')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # where sshd begins its connections
    served = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PidFile": "none",
        "AllowStreamLocalForwarding": forwards,
        "SetEnv": f"PATH={programs}:/usr/bin:/bin",
    }
    called = {
        "Host": NAME,
        "HostName": "127.0.0.1",
        "Port": port,
        "User": getpass.getuser(),
        "IdentityFile": folder / "user",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": folder / "known",
        "LogLevel": "ERROR",
        **options,
    }
    for name, options in (("sshd_config", served), ("config", called)):
        (folder / name).write_text("".join(f'{option} "{value}"\n' for option, value in options.items()))
    _program(ours / "ssh", f'exec {SSH} -F {shlex.quote(str(folder / "config"))} "$@"')
    sshd = subprocess.Popen(
        [SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")], stdin=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _answers(port))
        yield Machine(data, f"{ours}:{os.environ['PATH']}", sshd, programs / "sdterm")
    finally:
        subprocess.run([str(programs / "sdterm"), "host", "stop"], capture_output=True, timeout=60, check=False)
        sshd.terminate()
        sshd.wait(30)


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
