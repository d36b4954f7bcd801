"""Models in single files, as Civitai and ComfyUI have them: a transformer alone, or with its text encoders and VAE.

Such a file has neither configurations nor vocabularies. They come from a diffusers folder of the same family, in which
weights may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "net.", "")
"""What may stand before the keys of a denoiser."""


@dataclass(frozen=True)
class Single:
    """A family of transformers that come in single files. mark: how a key of such a file begins, and of no family
    further down in the table; part: diffusers' class; home: where its folder is on Hugging Face."""

    label: str
    mark: str
    part: str
    home: str


SINGLES = (
    Single("Chroma", r"distilled_guidance_layer\.", "ChromaTransformer2DModel", "lodestones/Chroma1-HD"),
    Single(
        "FLUX.2",
        r"(double_stream_modulation_img|single_stream_modulation)\.",
        "Flux2Transformer2DModel",
        "black-forest-labs/FLUX.2-klein-4B",
    ),
    Single(
        "FLUX.1",
        r"(double_blocks\.\d+\.img_attn|single_transformer_blocks\.\d+\.proj_mlp)\.",
        "FluxTransformer2DModel",
        "black-forest-labs/FLUX.1-dev",
    ),
    Single("SD 3", r"joint_blocks\.", "SD3Transformer2DModel", "stabilityai/stable-diffusion-3.5-large"),
    Single("Qwen-Image 2.1", r"txt_in\.text_norm\.", "QwenImage21Transformer2DModel", "Qwen/Qwen-Image-2.1"),
    Single("Qwen-Image", r"transformer_blocks\.\d+\.img_mlp\.", "QwenImageTransformer2DModel", "Qwen/Qwen-Image"),
    Single("Krea 2", r"txtfusion\.", "Krea2Transformer2DModel", "krea/Krea-2-Raw"),
    Single("Z-Image", r"layers\.0\.adaLN_modulation\.0\.", "ZImageTransformer2DModel", "Tongyi-MAI/Z-Image-Turbo"),
    Single("Lumina 2", r"noise_refiner\.", "Lumina2Transformer2DModel", "Alpha-VLLM/Lumina-Image-2.0"),
    Single("AuraFlow", r"(cond_seq_linear|double_layers)\.", "AuraFlowTransformer2DModel", "fal/AuraFlow-v0.3"),
    Single(
        "Sana",
        r"(attention_y_norm|blocks\.0\.cross_attn\.q_linear)\.",
        "SanaTransformer2DModel",
        "Efficient-Large-Model/Sana_1600M_1024px_diffusers",
    ),
)
_INTO_DECODER = ("decoder.conv_in.weight", "decoder.conv1.weight")
"""A VAE's first layer after its latents."""
_USUAL: Mapping[tuple[str, Any], str] = {
    ("CLIPTextModel", 768): "clip_l.safetensors",
    ("CLIPTextModel", 1280): "clip_g.safetensors",
    ("T5EncoderModel", 4096): "t5xxl_fp16.safetensors",
    ("Qwen2_5_VLForConditionalGeneration", 3584): "qwen_2.5_vl_7b.safetensors",
    ("Qwen3Model", 2560): "qwen_3_4b.safetensors",
    ("Qwen3ForCausalLM", 2560): "qwen_3_4b.safetensors",
    ("Qwen3ForCausalLM", 4096): "qwen_3_8b.safetensors",
    ("Gemma2Model", 2304): "gemma_2_2b_fp16.safetensors",
}
"""Class and width of a text encoder → what ComfyUI's users call its file."""
_MARKS = tuple((each, re.compile(each.mark)) for each in SINGLES)


def known(shapes: Shapes) -> tuple[Single, str] | None:
    """The family of a single file, and the prefix of its denoiser's keys; None if it is none of these."""
    for prefix in PREFIXES:
        own = [key.removeprefix(prefix) for key in shapes if key.startswith(prefix)]
        for single, mark in _MARKS:
            if any(mark.match(key) for key in own):
                return single, prefix
    return None


# --- does a file have the weights of a part? -------------------------------------------------------------------------


_BLOCK = re.compile(r"([a-z][a-z_]*)\.(\d+)\.\w+\.")
_LAYER = re.compile(r"(?:^|\.)(?:layers?|block)\.(\d+)\.")
_WORDS = re.compile(r"(embed_tokens|token_embedding|shared|word_embeddings)\.weight$")
"""How the table of words of a text encoder is called."""


def is_denoiser(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether a denoiser of that configuration has so many blocks, and is as wide. shapes: without their prefix."""
    numbers = {key: value for key, value in config.items() if isinstance(value, int)}
    depths = {value for key, value in numbers.items() if "layer" in key or "block" in key or "depth" in key}
    last: dict[str, int] = {}
    for key in shapes:
        if found := _BLOCK.match(key):
            last[found[1]] = max(last.get(found[1], 0), int(found[2]))
    heads = [value for key, value in numbers.items() if key.endswith("num_attention_heads")]
    widths = {a * numbers.get("attention_head_dim", 0) for a in heads} | {*numbers.values()}
    sides = {side for shape in shapes.values() for side in shape}
    return all(number + 1 in depths for number in last.values()) and any(side in widths for side in sides if side > 8)


def is_text_encoder(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether a text encoder of that configuration has such a table of words, and so many layers."""
    said = _of_text(config)
    words = said.get("vocab_size"), said.get("hidden_size", said.get("d_model"))
    layers = said.get("num_hidden_layers", said.get("num_layers"))
    tables = [shape for key, shape in shapes.items() if _WORDS.search(key)]
    deep: dict[str, int] = {}
    for key in shapes:
        if found := _LAYER.search(key):
            deep[key[: found.start(1)]] = max(deep.get(key[: found.start(1)], 0), int(found[1]) + 1)
    return words in tables and layers in deep.values()


def usual_text_encoder(kind: str, config: Any) -> str:
    """What people call the file of such a text encoder; empty if there is no such name."""
    said = _of_text(config) if isinstance(config, Mapping) else {}
    width = said.get("hidden_size", said.get("d_model"))
    return _USUAL.get((kind.removesuffix("WithProjection"), width), "") if isinstance(width, int) else ""


def _of_text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a configuration says of texts, where it is of a model that knows pictures, too."""
    said = config.get("text_config")
    return said if isinstance(said, Mapping) else config


def is_vae(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether a VAE of that configuration decodes latents of so many channels, and is as wide at its deepest."""
    if "z_dim" in config:  # Wan's kin, whose widths are multiples of the first
        levels, channels, width = config.get("dim_mult"), config["z_dim"], config.get("base_dim")
    else:
        levels, channels, width = config.get("block_out_channels"), config.get("latent_channels"), 1
    deepest = levels[-1] if isinstance(levels, list) and levels else None
    if not isinstance(deepest, int) or not isinstance(width, int):
        return False
    wanted = (deepest * width, channels)
    return any(shapes[name][:2] == wanted for name in _INTO_DECODER if name in shapes)
