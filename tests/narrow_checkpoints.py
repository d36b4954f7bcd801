"""Rebuild the narrow SDXL and SD 2 checkpoints that A1111's pictures of them were drawn with, from their rule.

Each tensor is numpy's RandomState(crc32(key)).standard_normal(shape), scaled as `_scaled` says, changed as `_tame` says
so that sampling converges and that prompts and sizes count, and rounded to fp16. Every head is 64 wide, as in the real
ones.
"""

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
from safetensors.numpy import save_file

from tests.tiny_checkpoint import GOLDEN
from tools import full_size
from tools.full_size import UNET, VAE, Size

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, np.ndarray]

L, G, H, CHANNELS = 64, 128, 128, 64  # widths: CLIP-L, OpenCLIP's bigG and ViT-H, UNet


def write(name: str, folder: Path) -> Path:
    """A checkpoint and its .yaml in `folder`. Returns the checkpoint's path."""
    path = folder / f"{name}.safetensors"
    save_file(tensors(name), path)
    path.with_suffix(".yaml").write_text((GOLDEN / "narrow" / f"{name}.yaml").read_text())
    return path


def tensors(name: str) -> Weights:
    xl = "-xl" in name
    shapes = shapes_of(name)
    found = {key: _scaled(key, shape) for key, shape in shapes.items()}
    _tame(found, 8 if xl and "refiner" not in name else 11, v=name.endswith("-v"), xl=xl)
    return {key: tensor.astype(np.float16) for key, tensor in found.items()}


def shapes_of(name: str) -> Shapes:
    return {key: shape for key, shape in full_size.shapes_of(_size(name)) if shape != ()}


def _size(name: str) -> Size:
    """As the model that it is like, but narrow and shallow."""
    depths: tuple[int, ...]
    if name == "narrow-xl-refiner":
        like, depths, context, vector = full_size.SIZES["sdxl_refiner"], (0, 2, 2, 0), G, G + 5 * 256
    elif name.startswith("narrow-xl"):
        like, depths, context, vector = full_size.SIZES["sdxl"], (0, 1, 2), L + G, G + 6 * 256
    else:
        like, depths, context, vector = full_size.SIZES["sd21"], (1, 1, 1, 0), H, 0
    return replace(
        like,
        depths=depths,
        middle=max(depths),
        context=context,
        vector=vector,
        clip_size=(L, 12),
        open_clip_size=(G, 4),
        width=CHANNELS,
        inputs=9 if name.endswith("inpaint") else 4,
        vae_width=32,
    )


# --- weights ----------------------------------------------------------------------------------------------------------


def _scaled(key: str, shape: tuple[int, ...]) -> np.ndarray:
    z = np.random.RandomState(crc32(key.encode())).standard_normal(shape)
    if "token_embedding" in key:
        return z
    if "position" in key:
        return 0.4 * z - 0.6  # the offset: emphasis needs a mean away from 0
    if len(shape) == 1:
        return 1 + 0.05 * z if key.endswith("weight") else 0.02 * z
    return np.asarray(0.9 * z / np.prod(shape[1:]) ** 0.5)


def _tame(w: Weights, last: int, *, v: bool, xl: bool) -> None:
    """last: the UNet's last output block. v: the UNet predicts v, else the noise."""
    for kind in ("weight", "bias"):
        w[f"{VAE}decoder.conv_out.{kind}"] *= 0.8
        w[f"{VAE}encoder.conv_out.{kind}"] *= 11 if xl else 8
    w[f"{VAE}quant_conv.weight"][4:], w[f"{VAE}quant_conv.bias"][4:] = 0, -25  # no posterior noise
    for key in w:
        if key.endswith("ln_final.bias"):
            w[key] -= 0.2
        if key.endswith("label_emb.0.2.weight"):
            w[key] *= 2.5
        if "attn2.to_k.weight" in key or "attn2.to_out.0.weight" in key:
            w[key] *= 2
    out = f"{UNET}out.2.weight"
    if v:
        w[out] *= 0.9
        return
    first, block = f"{UNET}input_blocks.0.0.", f"{UNET}output_blocks.{last}."
    for c in range(4):  # channels 2c, 2c+1 carry +x, -x of latent channel c
        w[f"{first}weight"][2 * c : 2 * c + 2] = 0
        w[f"{first}weight"][2 * c, c, 1, 1], w[f"{first}weight"][2 * c + 1, c, 1, 1] = 1, -1
    w[f"{first}bias"][:8] = 0
    w[f"{block}0.skip_connection.weight"][:8], w[f"{block}0.skip_connection.bias"][:8] = 0, 0
    for j in range(8):
        w[f"{block}0.skip_connection.weight"][j, CHANNELS + j] = 1
    for name in ("0.out_layers.3", "1.proj_out"):
        for kind in ("weight", "bias"):
            if f"{block}{name}.{kind}" in w:
                w[f"{block}{name}.{kind}"][:8] *= 0.1
    w[f"{UNET}out.0.weight"][:8], w[f"{UNET}out.0.bias"][:8] = 1, 0
    w[out] *= 0.2
    w[out][:, :8] = 0
    for c in range(4):
        w[out][c, 2 * c, 1, 1], w[out][c, 2 * c + 1, 1, 1] = 1, -1
