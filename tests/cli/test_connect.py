"""`--connect`: the command line with a host on another machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.sshd import NAME, Machine, machine, needs_sshd


@pytest.fixture(scope="module")
def gpu_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("ssh") / "a box") as it:
        yield it


@needs_sshd
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
    refused = sdterm("--connect", NAME, "models", **far)
    assert refused.returncode == 2 and "works with this machine alone" in refused.stderr


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
