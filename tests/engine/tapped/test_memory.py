"""Memory plans of native models apply to pipelines, and a job goes on under another one."""

import shutil
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.memory import Measurements
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.engine.run import PauseAt, Resume
from sdterm.events import Done, Paused, Resumed, Started, Step, SteppedDown
from tests.engine.tapped.test_pipelines import STEPS, asked, own, pipe_of, warnings
from tests.engine.tapped.tiny import KEY
from tests.engine.test_tape import only_image, pixels

EVERYWHERE = """
    from sdterm.hooks import MemoryOptimizer, hookimpl
    from sdterm.plugins.memory.offload import offload_parts, offload_texts, texts_home, undo
    from sdterm.plugins.memory.offload.blocks import Streamed
    from sdterm.plugins.memory.offload.parts import TakingTurns

    def everywhere(device, model):
        return True, ""

    def blocks(components):
        modules = components.modules.values()
        turns = TakingTurns(modules, lambda module: Streamed(module, components.device, 2**10, 2**12, 2**6))
        vars(next(iter(modules)))["offloading"] = turns

    @hookimpl
    def sdterm_memory_optimizers():
        return [
            MemoryOptimizer("texts", "Texts", "offload", everywhere, offload_texts, texts_home, offloads=True),
            MemoryOptimizer(
                "parts", "Parts", "offload", everywhere, offload_parts, undo, offloads=True, rung="component-offload"
            ),
            MemoryOptimizer("blocks", "Blocks", "offload", everywhere, blocks, undo, offloads=True),
        ]
"""
"""Offloading where the CPU stands for the device."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("memory")
    (data / "extensions").mkdir()
    shutil.copy(Path(__file__).with_name("tiny.py"), data / "extensions")
    (data / "extensions" / "everywhere.py").write_text(dedent(EVERYWHERE))
    (data / CHECKPOINTS).mkdir(parents=True)
    save_file({KEY: torch.tensor([0])}, data / CHECKPOINTS / "tiny.safetensors")
    return data


@pytest.fixture(scope="module")
def plugins(root: Path) -> PluginSet:
    return load_plugins(root / "extensions")


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")


@pytest.mark.parametrize("how", ["texts", "parts", "blocks"])
def test_an_offloaded_pipeline_draws_the_same_and_a_job_goes_on_under_it(
    how: str, engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    events = [*engine.run(asked(memory=(how,)), plugins)]
    assert not warnings(events) and np.array_equal(pixels(only_image(events).data), own())
    paused = [*engine.run(asked(), plugins, tape=tmp_path / "tape", pause_at=PauseAt(3))]
    assert isinstance(paused[-1], Paused)
    started = next(event for event in paused if isinstance(event, Started))
    resume = Resume(Plan.model_validate_json(started.data))
    lighter = [*engine.run(asked(memory=(how,)), plugins, tape=tmp_path / "tape", resume=resume)]
    assert not warnings(lighter) and [event.calls for event in lighter if isinstance(event, Resumed)] == [6]
    assert np.array_equal(pixels(only_image(lighter).data), own())


def test_one_that_runs_out_goes_down_the_ladder_and_loses_no_step(engine: Engine, plugins: PluginSet) -> None:
    events = [*engine.run(asked("hungry"), plugins)]
    assert isinstance(events[-1], Done), events[-1]
    assert [event.rung for event in events if isinstance(event, SteppedDown)] == ["component-offload"]
    assert [event.calls for event in events if isinstance(event, Resumed)] == [4]
    assert [event.step for event in events if isinstance(event, Step)] == [*range(1, STEPS + 1)]
    assert np.array_equal(pixels(only_image(events).data), own())


def test_weights_of_eight_bits_compute_in_the_pipelines_precision(engine: Engine, plugins: PluginSet) -> None:
    light = only_image([*engine.run(asked(memory=("fp8",)), plugins)])
    assert pipe_of(engine).denoiser.first.weight.dtype == torch.float8_e4m3fn
    assert 0 < np.abs(pixels(light.data) - own()).mean() < 8
    assert np.array_equal(pixels(only_image([*engine.run(asked(), plugins)]).data), own())


def test_what_it_needs_is_measured_as_it_samples_and_as_it_decodes(root: Path, plugins: PluginSet) -> None:
    engine = Engine(library=Library(root), device="cpu", limit_memory="100GB")
    only_image([*engine.run(asked(), plugins)])
    stages = {one.stage: one for one in Measurements(root) if one.device.endswith("(tensors)")}
    assert {*stages} == {"sample", "decode"} and {one.family for one in stages.values()} == {"tiny"}
    assert all(one.size == 80 * 64 and one.peak >= one.fixed > 0 for one in stages.values())
