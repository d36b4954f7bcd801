"""The SD 1.x family: architectures from keys and shapes, metadata and .yaml; what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.hooks import PluginError
from sdterm.plugins.sd1 import architecture, build, detect, keys
from sdterm.testing import assert_components_conform
from tools import full_size


@dataclass(frozen=True)
class Header:
    """A checkpoint of which there is only the header: weights of this size have no place in a test."""

    sizes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    preview: None = None
    content: None = None
    path: Path = Path("model.safetensors")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.sizes

    def read(self, keys: Any, device: Any, dtype: Any) -> Any:
        raise AssertionError("only the header may be read")


SD15 = Header(dict(full_size.shapes("sd15")))


def test_sd_15_is_recognised_by_its_keys_and_shapes_alone() -> None:
    match = detect(SD15)
    assert match and match.refusal is None and (match.native_size, match.downscale) == (512, 8)
    unet, vae, text = (
        part(SD15) for part in (architecture.unet_config, architecture.vae_config, architecture.text_config)
    )
    # runwayml/stable-diffusion-v1-5's own configuration files
    assert unet["block_out_channels"] == [320, 640, 1280, 1280] and unet["layers_per_block"] == 2
    assert unet["cross_attention_dim"] == 768 and unet["attention_head_dim"] == 8
    assert unet["down_block_types"] == ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    assert unet["up_block_types"] == ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    assert vae["block_out_channels"] == [128, 256, 512, 512] and vae["scaling_factor"] == 0.18215
    assert (text["hidden_size"], text["num_hidden_layers"], text["num_attention_heads"]) == (768, 12, 12)


def test_every_tensor_of_sd_15_has_its_place_in_the_stock_modules() -> None:
    with torch.device("meta"):
        modules: dict[Any, Any] = {  # diffusers types its modules loosely
            keys.unet_keys: UNet2DConditionModel(**architecture.unet_config(SD15)),
            keys.vae_keys: AutoencoderKL(**architecture.vae_config(SD15)),
            keys.text_keys: CLIPTextModel(CLIPTextConfig(**architecture.text_config(SD15))),
        }
    for names_of, module in modules.items():
        names, state = names_of(SD15.sizes), module.state_dict()
        assert set(names.values()) == set(state)
        for key, name in names.items():
            shape = SD15.sizes[key]
            assert tuple(state[name].shape) in (shape, shape[:2]), key


def test_the_noise_schedule_is_sd_15s() -> None:
    alphas = architecture.alphas_cumprod(SD15)
    sigmas = ((1 - alphas) / alphas) ** 0.5
    assert np.allclose(sigmas[[0, -1]], [0.0291675, 14.614642], rtol=1e-5)


def test_a_yaml_beside_the_file_tells_heads_scale_and_prediction() -> None:
    params = {"scale_factor": 0.5, "linear_end": 0.02, "unet_config": {"params": {"num_heads": 5}}}
    told = Header(SD15.sizes, config={"model": {"params": params}})
    assert architecture.unet_config(told)["attention_head_dim"] == 5
    assert architecture.vae_config(told)["scaling_factor"] == 0.5
    assert architecture.alphas_cumprod(told)[-1] < architecture.alphas_cumprod(SD15)[-1]
    v = Header(SD15.sizes, config={"model": {"params": params | {"parameterization": "v"}}})
    match = detect(v)
    assert match and match.refusal and "predicts v" in match.refusal


@pytest.mark.parametrize("config", [{}, {"model": []}, {"model": {"params": {"unet_config": 3}}}])
def test_a_yaml_that_makes_no_sense_is_one_sentence(config: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=r"model\.safetensors"):
        detect(Header(SD15.sizes, config=config))


def test_the_embedded_model_says_what_shapes_cannot_tell() -> None:
    demo = CheckpointFile(EMBEDDED_MODEL)
    match = detect(demo)
    assert match and match.native_size == 128
    assert architecture.unet_config(demo)["attention_head_dim"] == 4
    assert architecture.vae_config(demo)["norm_num_groups"] == 4


def test_the_embedded_model_keeps_the_rules_of_families() -> None:
    assert_components_conform(build(CheckpointFile(EMBEDDED_MODEL), torch.device("cpu"), torch.float32))


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("conditioner.embedders.0.transformer.text_model.x", (1,), "SDXL"),
        ("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias", (1,), "SD 2"),
        ("model.diffusion_model.joint_blocks.0.x", (1,), "SD 3"),
        ("lora_unet_down_blocks_0.lora_up.weight", (1, 1), "LoRA"),
        ("model.diffusion_model.input_blocks.0.0.weight", (320, 9, 3, 3), "inpainting"),
        ("model.diffusion_model.input_blocks.0.0.weight", (320, 8, 3, 3), "instruct-pix2pix"),
    ],
)
def test_relatives_are_recognised_and_refused_by_name(key: str, shape: tuple[int, ...], words: str) -> None:
    match = detect(Header({**SD15.sizes, key: shape}))
    assert match and match.refusal and words in match.refusal


@pytest.mark.parametrize(("prefix", "part"), [(keys.VAE, "VAE"), (keys.TEXT, "text encoder"), (keys.UNET, "UNet")])
def test_an_incomplete_checkpoint_is_refused_by_what_it_lacks(prefix: str, part: str) -> None:
    match = detect(Header({key: shape for key, shape in SD15.sizes.items() if not key.startswith(prefix)}))
    assert match and match.refusal and f"has no {part}" in match.refusal


def test_a_file_of_something_else_is_left_to_other_families() -> None:
    assert detect(Header({"encoder.weight": (3, 3)})) is None
