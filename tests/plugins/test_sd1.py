"""The SD 1.x family: architectures from keys and shapes, metadata and .yaml; what it refuses."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.hooks import PluginError
from sdterm.plugins.sd import architecture, keys
from sdterm.plugins.sd.clip_text import ClipTextModel, TextConfig
from sdterm.plugins.sd.sd1 import TEXT, USUAL, build, detect
from sdterm.plugins.sd.statement import stated
from sdterm.testing import assert_components_conform
from tools import full_size

FIRST = "model.diffusion_model.input_blocks.0.0.weight"


@dataclass(frozen=True)
class Header:
    """A checkpoint of which there is only the header: weights of this size have no place in a test."""

    sizes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    preview: None = None
    content: None = None
    vae: None = None
    path: Path = Path("model.safetensors")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.sizes

    def read(self, keys: Any, device: Any, dtype: Any) -> Any:
        raise AssertionError("only the header may be read")


SD15 = Header(dict(full_size.shapes("sd15")))


def test_sd_15_is_recognised_by_its_keys_and_shapes_alone() -> None:
    match = detect(SD15)
    assert match and match.refusal is None and (match.native_size, match.downscale) == (512, 8)
    unet, vae = architecture.unet_config(SD15, USUAL), architecture.vae_config(SD15, USUAL, SD15.sizes)
    text = architecture.clip_config(SD15, TEXT)
    # runwayml/stable-diffusion-v1-5's own configuration files
    assert unet["block_out_channels"] == [320, 640, 1280, 1280] and unet["layers_per_block"] == 2
    assert unet["cross_attention_dim"] == 768 and unet["attention_head_dim"] == 8
    assert unet["down_block_types"] == ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    assert unet["up_block_types"] == ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    assert vae["block_out_channels"] == [128, 256, 512, 512] and vae["scaling_factor"] == 0.18215
    assert (text["hidden_size"], text["num_hidden_layers"], text["num_attention_heads"]) == (768, 12, 12)


def test_every_tensor_of_sd_15_has_its_place_in_the_stock_modules() -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        modules: list[tuple[keys.Names, Any]] = [  # diffusers types its modules loosely
            (keys.unet_keys(SD15.sizes), UNet2DConditionModel(**architecture.unet_config(SD15, USUAL))),
            (keys.vae_keys(SD15.sizes), AutoencoderKL(**architecture.vae_config(SD15, USUAL, SD15.sizes))),
            (keys.clip_keys(SD15.sizes, TEXT), ClipTextModel(TextConfig(**architecture.clip_config(SD15, TEXT)))),
        ]
    for names, module in modules:
        state = module.state_dict()
        assert {name for (name,) in names.values()} == set(state)
        for key, (name,) in names.items():
            shape = SD15.sizes[key]
            assert tuple(state[name].shape) in (shape, shape[:2]), key


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_the_text_model_computes_to_the_bit_what_transformers_does(act: str) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = TextConfig(100, 64, 128, 3, 4, 77, act)
    torch.manual_seed(1)
    theirs = CLIPTextModel(CLIPTextConfig(**config._asdict())).eval()
    ours = ClipTextModel(config)
    ours.load_state_dict({key: tensor for key, tensor in theirs.state_dict().items() if "position_ids" not in key})
    tokens = torch.randint(100, (2, 77))
    for dtype in (torch.float32, torch.bfloat16):
        with torch.no_grad():
            told, found = theirs.to(dtype)(tokens, output_hidden_states=True), ours.to(dtype)(tokens)
        assert len(found.hidden) == len(told.hidden_states) == 4
        assert all(torch.equal(mine, other) for mine, other in zip(found.hidden, told.hidden_states, strict=True))
        assert torch.equal(found.last, told.last_hidden_state)


@pytest.mark.heavy
def test_diffusers_is_whole_for_whoever_imports_it_later() -> None:
    """In a process of its own: in this one somebody may have imported it already."""
    program = """
import sys
from sdterm.plugins.sd.diffusers_models import models
ours = models()
assert not {"peft", "transformers.modeling_utils", "torch._dynamo", "diffusers.loaders"} & {*sys.modules}
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
assert UNet2DConditionModel.load_lora_adapter and AutoencoderKL.from_single_file
assert not issubclass(ours.unet, UNet2DConditionModel) and not hasattr(ours.unet, "load_lora_adapter")
import torch._dynamo, diffusers.models.unets
assert models() is ours
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_noise_schedule_is_sd_15s() -> None:
    alphas = architecture.alphas_cumprod(SD15)
    sigmas = ((1 - alphas) / alphas) ** 0.5
    assert np.allclose(sigmas[[0, -1]], [0.0291675, 14.614642], rtol=1e-5)


def test_a_yaml_beside_the_file_tells_heads_scale_and_prediction() -> None:
    params = {"scale_factor": 0.5, "linear_end": 0.02, "unet_config": {"params": {"num_heads": 5}}}
    told = Header(SD15.sizes, config={"model": {"params": params}})
    assert architecture.unet_config(told, USUAL)["attention_head_dim"] == 5
    assert architecture.vae_config(told, USUAL, SD15.sizes)["scaling_factor"] == 0.5
    assert architecture.alphas_cumprod(told)[-1] < architecture.alphas_cumprod(SD15)[-1]
    for prediction, refused in (("v", False), ("eps", False), ("x0", True)):
        match = detect(Header(SD15.sizes, config={"model": {"params": params | {"parameterization": prediction}}}))
        assert match and bool(match.refusal and "predicts x0" in match.refusal) is refused


@pytest.mark.parametrize("config", [{}, {"model": []}, {"model": {"params": {"unet_config": 3}}}])
def test_a_yaml_that_makes_no_sense_is_one_sentence(config: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=r"model\.safetensors"):
        detect(Header(SD15.sizes, config=config))


def test_the_embedded_model_says_what_shapes_cannot_tell() -> None:
    demo = CheckpointFile(EMBEDDED_MODEL)
    match = detect(demo)
    assert match and match.native_size == 128
    assert architecture.unet_config(demo, USUAL)["attention_head_dim"] == 4
    assert architecture.vae_config(demo, USUAL, demo.shapes())["norm_num_groups"] == 4


def test_the_embedded_model_keeps_the_rules_of_families() -> None:
    assert_components_conform(build(CheckpointFile(EMBEDDED_MODEL), torch.device("cpu"), torch.float32))


@pytest.mark.parametrize(("channels", "words"), [(8, "an instruct-pix2pix"), (5, "a depth"), (7, "an unusual")])
def test_checkpoints_that_want_another_picture_too_are_refused_by_name(channels: int, words: str) -> None:
    match = detect(Header({**SD15.sizes, "model.diffusion_model.input_blocks.0.0.weight": (320, channels, 3, 3)}))
    assert match and match.refusal and words in match.refusal


@pytest.mark.parametrize(("prefix", "part"), [(keys.VAE, "VAE"), (TEXT, "text encoder"), (keys.UNET, "UNet")])
def test_an_incomplete_checkpoint_is_refused_by_what_it_lacks(prefix: str, part: str) -> None:
    match = detect(Header({key: shape for key, shape in SD15.sizes.items() if not key.startswith(prefix)}))
    assert match and match.refusal and f"has no {part}" in match.refusal


def test_a_file_of_something_else_is_left_to_other_families() -> None:
    assert detect(Header({"encoder.weight": (3, 3)})) is None


def test_a_copy_of_the_demo_model_whose_header_lost_its_words_is_built_like_it(tmp_path: Path) -> None:
    """Tools that change or merge checkpoints keep tensors alone."""
    with safe_open(EMBEDDED_MODEL, "np") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    save_file(tensors, tmp_path / "copy.safetensors", {"format": "pt"})
    copy, demo = stated(CheckpointFile(tmp_path / "copy.safetensors")), stated(CheckpointFile(EMBEDDED_MODEL))
    assert copy == demo and copy.vae.norm_num_groups == 4
    tensors[FIRST] = np.repeat(tensors[FIRST], 3, axis=1)[:, :9]
    save_file(tensors, tmp_path / "inpaint.safetensors")
    assert stated(CheckpointFile(tmp_path / "inpaint.safetensors")) == demo
    tensors["one.more"] = tensors[FIRST]
    save_file(tensors, tmp_path / "another.safetensors")
    assert stated(CheckpointFile(tmp_path / "another.safetensors")).vae.norm_num_groups == 32
