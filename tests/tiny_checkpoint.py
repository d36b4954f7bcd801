"""Rebuild the tiny SD 1.5-shaped checkpoint that the golden runs were made with, from its rule.

Each tensor is numpy's RandomState(crc32(key)).standard_normal(shape), called z, rounded to fp16: 1-D weights
1 + 0.05 z; other 1-D 0.02 z; names with "embedding" 0.5 z; the rest 0.9 z / sqrt(fan-in). The exceptions below make
sampling converge.
"""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parent / "golden"
UNET, VAE = "model.diffusion_model.", "first_stage_model."


def tensors() -> dict[str, np.ndarray]:
    keys = json.loads((GOLDEN / "tiny-ldm.keys.json").read_text())
    found = {key: _plain(key, tuple(shape)) for key, (shape, dtype) in keys.items() if dtype == "torch.float16"}
    _exceptions(found)
    return {key: tensor.astype(np.float16) for key, tensor in found.items()}


def _plain(key: str, shape: tuple[int, ...]) -> np.ndarray:
    z = np.random.RandomState(crc32(key.encode())).standard_normal(shape)
    if len(shape) == 1:
        return 1 + 0.05 * z if key.endswith("weight") else 0.02 * z
    return 0.5 * z if "embedding" in key else 0.9 * z / np.sqrt(np.prod(shape[1:]))


def _exceptions(t: dict[str, np.ndarray]) -> None:
    for part in ("weight", "bias"):
        t[f"{VAE}decoder.conv_out.{part}"] *= 0.8
        t[f"{VAE}encoder.conv_out.{part}"] *= 8
        t[f"{UNET}output_blocks.11.0.out_layers.3.{part}"][:8] *= 0.1
        t[f"{UNET}output_blocks.11.1.proj_out.{part}"][:8] *= 0.1
    t[f"{VAE}quant_conv.weight"][4:] = 0
    t[f"{VAE}quant_conv.bias"][4:] = -25
    t["cond_stage_model.transformer.text_model.final_layer_norm.bias"] -= 0.2
    conv_in, skip = t[f"{UNET}input_blocks.0.0.weight"], t[f"{UNET}output_blocks.11.0.skip_connection.weight"]
    norm, conv_out = t[f"{UNET}out.0.weight"], t[f"{UNET}out.2.weight"]
    conv_in[:8], skip[:8], norm[:8] = 0, 0, 1
    t[f"{UNET}input_blocks.0.0.bias"][:8] = 0
    t[f"{UNET}output_blocks.11.0.skip_connection.bias"][:8] = 0
    t[f"{UNET}out.0.bias"][:8] = 0
    conv_out *= 0.2
    conv_out[:, :8] = 0
    for row in range(8):
        skip[row, 32 + row] = 1
    for channel in range(4):
        conv_in[2 * channel, channel, 1, 1], conv_in[2 * channel + 1, channel, 1, 1] = 1, -1
        conv_out[channel, 2 * channel, 1, 1], conv_out[channel, 2 * channel + 1, 1, 1] = 1, -1


def write(folder: Path) -> Path:
    """The checkpoint and its .yaml in `folder`. Returns the checkpoint's path."""
    path = folder / "tiny-ldm.safetensors"
    save_file(tensors(), path)
    # The .yaml names LDM's parts; the text encoder's head count is CLIP's own matter, so it is added for the reader.
    yaml = (GOLDEN / "tiny-ldm.yaml").read_text().replace("version: clip-tiny", "num_attention_heads: 4")
    path.with_suffix(".yaml").write_text(yaml)
    return path
