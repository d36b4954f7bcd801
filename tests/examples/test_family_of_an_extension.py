"""A model family that an extension brings is used everywhere as ours are, with no change elsewhere."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from textual.pilot import Pilot

from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.tui.app import Workstation
from tests.cli.conftest import environment
from tests.host.running import images, running
from tests.tui.conftest import drive, screen_text, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "pixel_flow"


def its_tests() -> ModuleType:
    """The example's own tests, which make a checkpoint."""
    spec = importlib.util.spec_from_file_location("pixel_flow_tests", EXAMPLE / "tests" / "test_pixel_flow.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.heavy
def test_a_family_of_an_extension_is_listed_and_drawn_with_by_host_workstation_and_commands(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "extensions" / "pixel_flow")
    name = its_tests().checkpoint(tmp_path / CHECKPOINTS).stem

    def sdterm(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command, env = [sys.executable, "-m", "sdterm", *arguments], environment(SDTERM_DATA=str(tmp_path))
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

    def listed() -> dict[str, object]:
        done = sdterm("models", "--json")
        return next(row for row in json.loads(done.stdout) if row["name"] == name)

    row = listed()
    assert (row["usable"], row["note"]) == (True, "Pixel Flow, 64x64"), "without a host"

    async def shown(app: Workstation, pilot: Pilot[None]) -> None:
        app.action_go_models()
        await until(pilot, lambda: "Pixel Flow" in screen_text(app), "the family on the Models screen")

    with running(tmp_path, SDTERM_DEVICE="cpu") as host:
        assert listed() == row, "with a host"
        (model,) = (model for model in host.client.models() if model.name == name)
        assert (model.usable, model.family, model.native_size) == (True, "Pixel Flow", 64)
        (image,) = images(host.events(host.submit(steps=1, model=name, sampler="Euler", prompt="red")))
        assert (image.width, image.height) == (64, 64)
        drawn = sdterm("generate", "red", "--model", name, "--steps", "1", "--out", str(tmp_path / "out"))
        assert drawn.returncode == 0 and len([*(tmp_path / "out").glob("*.png")]) == 1, drawn.stderr
        refused = sdterm("generate", "red", "--model", name, "--sampler", "Euler a")
        assert refused.returncode != 0
        assert "The sampler Euler a cannot be used with rectified flow models like a flow: choose" in refused.stderr
        lines = sdterm("samplers", "--model", name).stdout.splitlines()
        (unfit,) = (number for number, line in enumerate(lines) if line.startswith("  Euler a "))
        assert "not for rectified-flow models" in lines[unfit]
        assert lines.index(next(line for line in lines if line.startswith("  Euler  "))) < unfit
        assert "not for" not in sdterm("samplers", "--model", "sdterm-demo").stdout
        drive(host, shown, (120, 30))
