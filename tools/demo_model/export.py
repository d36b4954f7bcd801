"""The trained weights as one file under SD 1's own (LDM) tensor names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .networks import ARCHITECTURE, VOCABULARY_SIZE, TextEncoder, UNet, Vae, new_text_encoder, new_unet
from .training import Settings, load
from .vae import load_vae

TITLE = "sdterm demo model: procedurally drawn scenes"

RESNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_PARTS = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def export(settings: Settings, out: Path) -> None:
    """Write the checkpoint that the stages in `settings.work` have led to."""
    trained = load(settings.work / "unet.pt")
    unet = new_unet()
    unet.load_state_dict(_part(trained["average"], "unet."))
    text = full_text_encoder(_part(trained["average"], "text."), trained["used"])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(out, unet, load_vae(settings, final=True).cpu(), text)


def write_checkpoint(path: Path, unet: UNet, vae: Vae, text: TextEncoder) -> None:
    """As float16; the header's metadata holds what weights alone do not tell."""
    tensors = {
        **{f"model.diffusion_model.{key}": value for key, value in _unet_tensors(unet).items()},
        **{f"first_stage_model.{key}": value for key, value in _vae_tensors(vae).items()},
        **{f"cond_stage_model.transformer.text_model.{key}": value for key, value in text.state_dict().items()},
    }
    metadata = {"format": "pt", "sdterm.architecture": json.dumps(ARCHITECTURE), "title": TITLE}
    save_file({key: value.half().contiguous() for key, value in tensors.items()}, path, metadata)


def full_text_encoder(compact: Mapping[str, Tensor], used: list[int]) -> TextEncoder:
    """The text encoder with CLIP's whole vocabulary: every word that captions never use gets the 'unknown' row."""
    embedding = "embeddings.token_embedding.weight"
    rows = compact[embedding]  # [used + 1, HIDDEN]
    full = rows[-1][None].repeat(VOCABULARY_SIZE, 1)
    full[torch.tensor(used)] = rows[:-1]
    text = new_text_encoder()
    text.load_state_dict({**compact, embedding: full})
    return text


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _unet_tensors(unet: UNet) -> dict[str, Tensor]:
    """LDM numbers its blocks in one row through all levels; up- and downsamplers ride along."""
    blocks = UNET_ENDS | _input_blocks(unet) | _output_blocks(unet)
    tensors = {}
    for key, value in unet.state_dict().items():
        block = max((name for name in blocks if key.startswith(name + ".")), key=len)
        inner = key.removeprefix(block + ".")
        if ".resnets." in block:
            part, _, leaf = inner.rpartition(".")
            inner = f"{RESNET_PARTS[part]}.{leaf}"
        tensors[f"{blocks[block]}.{inner}"] = value
    return tensors


def _input_blocks(unet: UNet) -> dict[str, str]:
    names, number = {}, 1
    for level, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            names[f"down_blocks.{level}.resnets.{layer}"] = f"input_blocks.{number}.0"
            names[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers:
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
            number += 1
    return names


def _output_blocks(unet: UNet) -> dict[str, str]:
    names, number = {}, 0
    for level, block in enumerate(unet.up_blocks):
        for layer in range(len(block.resnets)):
            names[f"up_blocks.{level}.resnets.{layer}"] = f"output_blocks.{number}.0"
            names[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers:
            position = 2 if _has_attention(block) else 1
            names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{number - 1}.{position}.conv"
    return names


def _has_attention(block: nn.Module) -> bool:
    return hasattr(block, "attentions")


def _vae_tensors(vae: Vae) -> dict[str, Tensor]:
    top = len(vae.config["block_out_channels"]) - 1
    tensors = {}
    for key, value in vae.state_dict().items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", key)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        # LDM counts the decoder's levels from the image, not from the latents.
        name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{top - int(m[1])}.block", name)
        name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{top - int(m[1])}.upsample", name)
        for part, ldm in VAE_PARTS.items():
            name = name.replace(f".{part}.", f".{ldm}.")
        linear = "mid.attn_1" in name and value.ndim == 2
        tensors[name] = value[:, :, None, None] if linear else value  # LDM has 1x1 convolutions there
    return tensors
