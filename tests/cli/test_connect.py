"""`--connect`: the command line with a host on another machine."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.pseudo_terminal import PseudoTerminal
from tests.sshd import NAME, Machine, machine, needs_sshd


@pytest.fixture(scope="module")
def gpu_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("ssh") / "a box") as it:
        yield it


@needs_sshd
@pytest.mark.heavy
def test_a_picture_drawn_on_the_other_machine_comes_home(gpu_box: Machine, sdterm: Run, tmp_path: Path) -> None:
    far = {"SDTERM_DATA": str(tmp_path), "PATH": gpu_box.path}
    asked = ["generate", "lake", "--steps", "2", "--size", "64x64", "--out", "home"]
    drawn = sdterm("--connect", NAME, *asked, **far, cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    path = Path(drawn.stdout.strip())
    assert path.parent == tmp_path / "home"
    assert "demo model" in drawn.stderr and "on the host's machine" in drawn.stderr and "models/" not in drawn.stderr
    (there,) = (gpu_box.data / "outputs").rglob("*.png")
    assert path.read_bytes() == there.read_bytes()
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.sock")), "no host was started here"
    listed = sdterm("gallery", "--json", **far, SDTERM_CONNECT=NAME)
    assert json.loads(listed.stdout)["path"] == str(there)
    refused = sdterm("--connect", NAME, "plugins", **far)
    assert refused.returncode == 2 and "works with this machine alone" in refused.stderr


@needs_sshd
@pytest.mark.heavy
def test_models_and_samplers_are_those_of_the_other_machine(gpu_box: Machine, sdterm: Run, tmp_path: Path) -> None:
    far = {"SDTERM_DATA": str(tmp_path), "PATH": gpu_box.path}
    folder = gpu_box.data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"?" * 100)
    listed = sdterm("--connect", NAME, "models", **far)
    assert listed.returncode == 0 and "sdterm-demo" in listed.stdout and "broken" in listed.stdout, listed.stderr
    rows = json.loads(sdterm("--connect", NAME, "models", "--kind", "all", "--json", **far).stdout)
    assert {row["name"]: row["usable"] for row in rows if row["kind"] == "checkpoint"}["broken"] is False
    places = json.loads(sdterm("--connect", NAME, "models", "--folders", "--json", **far).stdout)
    assert str(folder) in next(place["folders"] for place in places if place["kind"] == "checkpoint")
    assert "DPM++ 2M" in sdterm("--connect", NAME, "samplers", "--model", "sdterm-demo", **far).stdout
    refused = sdterm("--connect", NAME, "samplers", "--model", "broken", **far)
    assert refused.returncode == 1 and "broken" in refused.stderr and "Traceback" not in refused.stderr


def test_an_address_wants_a_token_and_a_command_of_this_machine_says_so(sdterm: Run, tmp_path: Path) -> None:
    for arguments, words in (
        (["--connect", "https://127.0.0.1:1", "queue"], "wants a token: --token-file"),
        (["--connect", "https://127.0.0.1:1", "--token-file", "none", "queue"], "none"),
        (["--connect", "ftp://127.0.0.1", "queue"], "ftp://127.0.0.1 is not the address of a host"),
        (["--connect", "", "queue"], "--connect is empty"),
        (["--connect", "https://127.0.0.1:1", "plan"], "works with this machine alone"),
    ):
        refused = sdterm(*arguments, SDTERM_DATA=str(tmp_path))
        assert refused.returncode in (1, 2) and words in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr


FORM = "Negative prompt"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("sdterm_" + "a" * 43)
    return file


def test_the_form_is_there_while_the_host_of_an_address_has_not_answered(tmp_path: Path, token: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        words = ["--connect", f"http://{address}", "--token-file", str(token)]
        with closing(PseudoTerminal(tmp_path / "here", *words)) as terminal:
            terminal.until_sent(FORM)
            terminal.until_sent(f"connecting to {address}")
            silent.close()
            terminal.until_sent("! host lost")
            assert "cannot be reached" in terminal.sent or "broke" in terminal.sent


def test_an_address_without_a_token_is_refused_before_anything_is_painted(tmp_path: Path) -> None:
    with closing(PseudoTerminal(tmp_path / "here", "--connect", "https://127.0.0.1:1")) as terminal:
        terminal.until_it_ends()
        assert "wants a token: --token-file" in terminal.sent and FORM not in terminal.sent
        assert terminal.process.returncode == 2


ASKS = r"""#!/bin/sh
case "$*" in *-M*) ;; *"host start"*) sleep 600 ;; *) exit 1 ;; esac
printf "gpu-box's password: " > /proc/$PPID/fd/1
read -r typed < /proc/$PPID/fd/0
[ "$typed" = lake ] || { echo 'Permission denied (password).' >&2; exit 255; }
while [ "$1" != -S ]; do shift; done
touch "$2"
exec cat
"""
"""ssh to a machine where sdterm takes long to start."""


@pytest.mark.few(1)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it finds its terminal by /proc")
@pytest.mark.parametrize("typed", ["lake", "lane"])
def test_ssh_asks_before_the_screen_is_painted_which_then_waits_for_nothing(tmp_path: Path, typed: str) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(ASKS)
    ssh.chmod(0o755)
    path = f"{ssh.parent}:{os.environ['PATH']}"
    with closing(PseudoTerminal(tmp_path / "here", "--connect", NAME, PATH=path)) as terminal:
        terminal.until_sent("Connecting to gpu-box …")
        terminal.until_sent("password: ")
        assert FORM not in terminal.sent and terminal.process.poll() is None
        terminal.type(f"{typed}\n")
        if typed == "lake":
            terminal.until_sent(FORM)
            terminal.until_sent("connecting to gpu-box")
        else:
            terminal.until_it_ends()
            assert "SSH to gpu-box failed: Permission denied (password)." in terminal.sent
            assert FORM not in terminal.sent and terminal.process.returncode == 1


@needs_sshd
def test_the_workstation_works_with_the_other_machine(gpu_box: Machine, tmp_path: Path) -> None:
    with closing(PseudoTerminal(tmp_path / "here", "--connect", NAME, PATH=gpu_box.path)) as terminal:
        terminal.until_sent(FORM)
        terminal.until_sent(f"on {NAME}")
        assert "Traceback" not in terminal.sent and "! host lost" not in terminal.sent
