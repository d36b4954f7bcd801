"""Memory plans of native models apply to diffusers' pipelines: the same pictures, or nearly, from less memory."""

import shutil
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import LORAS
from sdterm.events import Resumed, Warning
from tests.engine.stopping import stop_at_step
from tests.engine.tapped.test_memory import EVERYWHERE
from tests.engine.test_tape import only_image, pixels
from tests.pipelines.conftest import Folder
from tests.pipelines.test_matrix import PROMPT, SEED, SETUPS, Setup, loaded

STEP_CACHE = """
    from sdterm.hooks import MemoryOptimizer, hookimpl

    def keep_blocks(components):
        from diffusers import FirstBlockCacheConfig

        components.modules["transformer"].enable_cache(FirstBlockCacheConfig(threshold=10.0))

    @hookimpl
    def sdterm_memory_optimizers():
        everywhere = lambda device, model: (True, "")
        return [MemoryOptimizer("keep-blocks", "Keep blocks", "cache", everywhere, keep_blocks, effect="visible")]
"""
CHEAP = {"flux"}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, about diffusers
SOME = {"flux", "sd3", "z-image", "qwen-image", "sana", "sdxl", "tomorrow", "flux2-klein"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id=each.id, marks=() if each.name in CHEAP else pytest.mark.heavy)
        for each in SETUPS
        if each.name in SOME and not each.also
    ],
)
def setup(request: pytest.FixtureRequest, folder: Folder) -> Setup:
    found: Setup = request.param
    folder(found.name)
    return found


@pytest.fixture(scope="module")
def plans(root: Path, tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    extensions = tmp_path_factory.mktemp("plans")
    for name, text in {"everywhere": EVERYWHERE, "step_cache": STEP_CACHE}.items():
        (extensions / f"{name}.py").write_text(dedent(text))
    for found in (root / "extensions").iterdir():
        (shutil.copytree if found.is_dir() else shutil.copy)(found, extensions / found.name)
    return load_plugins(extensions)


@pytest.mark.parametrize("how", ["texts", "parts", "blocks"])
def test_weights_that_lie_elsewhere_draw_the_same(
    how: str, setup: Setup, engine: Engine, plans: PluginSet, tmp_path: Path
) -> None:
    """Up to rounding, since the CPU stands for the device: it sums up in another order where weights are aligned."""
    whole = pixels(only_image([*engine.run(setup.asked(), plans)]).data)
    stop_at_step(engine, plans, setup.asked(memory=(how,)), 3, tmp_path / "tape")
    events = [*engine.run(setup.asked(memory=(how,)), plans, tape=tmp_path / "tape")]
    assert [event for event in events if isinstance(event, Resumed)]
    assert not [event.message for event in events if isinstance(event, Warning)]
    assert np.abs(pixels(only_image(events).data) - whole).max() <= 2
    assert np.abs(pixels(only_image([*engine.run(setup.asked(), plans)]).data) - whole).max() <= 2


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["parts", "fp8"])
def test_a_lora_acts_under_them_and_is_gone_after(
    how: str, setup: Setup, root: Path, folder: Folder, engine: Engine, plans: PluginSet
) -> None:
    from tests.pipelines.building import lora

    pipeline, path = loaded(setup, folder(setup.name)), root / LORAS / f"light-{setup.name}.safetensors"
    if not hasattr(pipeline, "load_lora_weights"):
        pytest.skip("it takes none")
    path.parent.mkdir(parents=True, exist_ok=True)
    lora(pipeline, path)
    prompt = f"{PROMPT} <lora:{path.stem}:0.75>"
    without, plain, light, after = (
        pixels(only_image([*engine.run(setup.asked(**fields), plans)]).data)
        for fields in ({"memory": (how,)}, {"prompt": prompt}, {"prompt": prompt, "memory": (how,)}, {"memory": (how,)})
    )
    assert np.abs(light - without).max() > 2
    assert np.abs(light - plain).mean() < (1 if how == "parts" else 20)
    assert np.abs(after - without).max() <= 2


@pytest.mark.parametrize("how", ["fp8", "vae-tiling"])
def test_what_is_coarser_draws_nearly_the_same_and_is_gone_after(
    how: str, setup: Setup, engine: Engine, plans: PluginSet
) -> None:
    whole, coarse, after = (
        pixels(only_image([*engine.run(setup.asked(memory=memory), plans)]).data) for memory in ((), (how,), ())
    )
    assert np.abs(coarse - whole).mean() < 20
    assert np.abs(after - whole).max() <= 2


def test_a_step_cache_of_diffusers_is_drawn_without_a_record(
    root: Path, folder: Folder, plans: PluginSet, tmp_path: Path
) -> None:
    folder("flux")
    engine, setup = Engine(library=Library(root), device="cpu"), SETUPS[0]
    cached = setup.asked(memory=("keep-blocks",))
    events = [*engine.run(cached, plans)]
    (said,) = [event.message for event in events if isinstance(event, Warning)]
    assert "keeps state between calls" in said
    whole = only_image(events)
    assert whole.pixel_hash != only_image([*engine.run(setup.asked(), plans)]).pixel_hash
    stop_at_step(engine, plans, cached, 3, tmp_path / "tape")
    again = [*engine.run(cached, plans, tape=tmp_path / "tape")]
    assert not [event for event in again if isinstance(event, Resumed)]
    assert only_image(again).pixel_hash == whole.pixel_hash


def test_prompts_are_encoded_once(setup: Setup, engine: Engine, plans: PluginSet) -> None:
    only_image([*engine.run(setup.asked(), plans)])
    assert engine.model
    read: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: read.append(name))
        for name, module in engine.model.components.modules.items()
        if name.startswith("text_encoder")
    ]
    only_image([*engine.run(setup.asked(seed=SEED + 1), plans)])
    assert read == []
    only_image([*engine.run(setup.asked(prompt=f"{PROMPT}, at night"), plans)])
    assert {*read} == {name for name in engine.model.components.modules if name.startswith("text_encoder")}
    for handle in handles:
        handle.remove()
