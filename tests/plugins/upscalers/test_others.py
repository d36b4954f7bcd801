"""Upscalers that spandrel reads, where it is installed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, Library
from sdterm.core.library.upscalers import find_upscaler
from sdterm.engine.upscale import Upscaling, upscaled
from sdterm.hooks import Upscaler
from sdterm.plugins.upscalers import esrgan, others
from tests import network_files

needs_spandrel = pytest.mark.skipif(
    find_spec("spandrel") is None,
    reason="spandrel is not installed: pip install 'sdterm[upscalers]' in an environment whose torch fits torchvision",
)


def test_it_is_there_only_where_spandrel_is() -> None:
    ids = [upscaler.id for upscaler in load_plugins().all(Upscaler)]
    assert ("spandrel" in ids) == (find_spec("spandrel") is not None)
    assert ids.index("esrgan") < len(ids), "our own loader is asked first"


def test_a_network_is_taken_out_of_what_is_around_it() -> None:
    averaged = {"params.a": "params.a", "params_ema.a": "params_ema.a"}
    assert others.boxed(averaged) == {"a": "params_ema.a"}
    assert others.boxed(["a.weight", "b"]) == {"a.weight": "a.weight", "b": "b"}


@pytest.mark.heavy
@needs_spandrel
def test_a_compact_network_is_read_and_gives_what_spandrel_gives(tmp_path: Path) -> None:
    from spandrel import MAIN_REGISTRY
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(1)
    weights = Compact(num_feat=8, num_conv=2, upscale=4).state_dict()
    folder = tmp_path / "models" / "RealESRGAN"
    folder.mkdir(parents=True)
    save_file({f"params.{key}": tensor.contiguous() for key, tensor in weights.items()}, folder / "compact.safetensors")
    plugins = load_plugins()
    chosen = find_upscaler("compact", plugins, Library(tmp_path))
    assert chosen.of.id == "spandrel"
    image = np.random.default_rng(1).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    larger = upscaled(Upscaling(plugins, torch.device("cpu"), tile=0), chosen, image, 4)
    pixels = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        wanted = MAIN_REGISTRY.load(weights)(pixels)[0].permute(1, 2, 0).numpy()[..., ::-1]
    assert np.array_equal(larger, (wanted * 255).round().astype(np.uint8))


@pytest.mark.heavy
@needs_spandrel
@pytest.mark.parametrize("name", ["rrdb-x4", "rrdb-x2", "rrdb-old-x4"])
def test_our_own_loader_and_spandrel_agree(name: str, tmp_path: Path) -> None:
    network_files.write_upscalers(tmp_path)
    file = CheckpointFile(tmp_path / "models" / "ESRGAN" / f"{name}.pth")
    assert others.matches(file)
    device, dtype = torch.device("cpu"), torch.float32
    ours, theirs = esrgan.build(file, device, dtype), others.build(file, device, dtype)
    pixels = torch.rand(1, 3, 21, 18)
    with torch.inference_mode():
        assert ours.scale == theirs.scale
        assert torch.allclose(ours.apply(pixels).clamp(0, 1), theirs.apply(pixels), atol=1e-5)
