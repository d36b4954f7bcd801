"""Checkpoints of full size with random weights: all that reading, memory and speed depend on, but no pictures.

`python -m tools.full_size sdxl FOLDER` writes one, key by key, in the original layout, float16. The same model is the
same file on every machine. The enumeration of keys follows LDM's own construction (openaimodel.py and model.py of
ldm/modules/diffusionmodules, sgm's for SDXL) with the numbers of v1-inference.yaml, v2-inference-v.yaml and
sd_xl_base.yaml, and open_clip's names for the text encoders of SD 2 and SDXL.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import click
import numpy as np
from numpy.typing import NDArray

UNET, VAE = "model.diffusion_model.", "first_stage_model."

Shape = tuple[int, ...]
Keys = Iterator[tuple[str, Shape]]

_NUMBERS = 2**22 - 3
"""So many random numbers make all tensors, each from a place of its own. A prime, so that no two rows are equal."""


@dataclass(frozen=True)
class Size:
    """The numbers of a model."""

    multiples: tuple[int, ...]
    """Of `width` channels, level by level."""
    depths: tuple[int, ...]
    """Transformer blocks in each attention of a level; 0 is none."""
    middle: int
    """The same of the middle."""
    context: int
    linear: bool = False
    """Whether the transformers begin and end with a linear layer, in place of a convolution."""
    vector: int = 0
    """Width of what is told beside the text (size, pooled text)."""
    clip: str = ""
    """Where CLIP's keys begin."""
    clip_size: tuple[int, int] = (768, 12)
    """Its width and layers."""
    open_clip: str = ""
    """Where open_clip's keys begin."""
    open_clip_size: tuple[int, int] = (0, 0)
    """Its width and layers."""
    width: int = 320
    inputs: int = 4
    """Channels that the UNet sees."""
    vae_width: int = 128


SIZES: Mapping[str, Size] = {
    "sd15": Size((1, 2, 4, 4), (1, 1, 1, 0), 1, 768, clip="cond_stage_model.transformer.text_model."),
    "sd21": Size(
        (1, 2, 4, 4), (1, 1, 1, 0), 1, 1024, linear=True, open_clip="cond_stage_model.model.", open_clip_size=(1024, 24)
    ),
    "sdxl": Size(
        (1, 2, 4),
        (0, 2, 10),
        10,
        2048,
        linear=True,
        vector=2816,
        clip="conditioner.embedders.0.transformer.text_model.",
        open_clip="conditioner.embedders.1.model.",
        open_clip_size=(1280, 32),
    ),
    "sdxl_refiner": Size(
        (1, 2, 4, 4),
        (0, 4, 4, 0),
        4,
        1280,
        linear=True,
        vector=2560,
        open_clip="conditioner.embedders.0.model.",
        open_clip_size=(1280, 32),
        width=384,
    ),
}


def write(model: str, folder: Path, *, float32: bool = False) -> Path:
    """The checkpoint in `folder`, made if it is not there: 2 to 7 GB in float16. Returns its path."""
    path = folder / f"{model}-size{'-float32' if float32 else ''}.safetensors"
    if path.exists():
        return path
    header, place = {}, 0
    for key, shape in shapes(model):
        end = place + (4 if float32 else 2) * math.prod(shape)
        header[key] = {"dtype": "F32" if float32 else "F16", "shape": shape, "data_offsets": (place, end)}
        place = end
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with unfinished.open("wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for key, shape in shapes(model):
            for part in _random(key, shape):
                file.write((part.astype(np.float32) if float32 else part).data)
    unfinished.rename(path)
    return path


def shapes(model: str) -> Keys:
    """Every tensor by its key."""
    return shapes_of(SIZES[model])


def shapes_of(size: Size) -> Keys:
    """The same of a model of any size."""
    yield from _below(UNET, _unet(size))
    yield from _below(VAE, _vae(size.vae_width))
    if size.clip:
        yield from _below(size.clip, _text_encoder(*size.clip_size))
    if size.open_clip:
        yield from _below(size.open_clip, _open_clip(*size.open_clip_size))


def _random(key: str, shape: Shape) -> Iterator[NDArray[np.float16]]:
    """A tensor's numbers, part by part. Norms pass their input on, and the rest is as small as its sums are long, so
    that nothing overflows or sinks into denormals."""
    if len(shape) > 1:
        numbers = _numbers(0.0, 2.0 ** -round(math.log2(math.prod(shape[1:])) / 2))
    else:
        numbers = _numbers(1.0, 2.0**-5) if key.endswith("weight") else _numbers(0.0, 2.0**-6)
    place, left = crc32(key.encode()) % _NUMBERS, math.prod(shape)
    while left:
        part = numbers[place : place + left]
        yield part
        place, left = 0, left - len(part)


@cache
def _numbers(mean: float, deviation: float) -> NDArray[np.float16]:
    """A power of two as the deviation, so that there are few of these."""
    return (np.random.RandomState(15).standard_normal(_NUMBERS) * deviation + mean).astype(np.float16)


def _below(prefix: str, keys: Keys) -> Keys:
    return ((prefix + key, shape) for key, shape in keys)


def _unet(size: Size) -> Keys:
    width = size.width
    time, last = width * 4, len(size.multiples) - 1
    yield from _layer("time_embed.0", time, width)
    yield from _layer("time_embed.2", time, time)
    if size.vector:
        yield from _layer("label_emb.0.0", time, size.vector)
        yield from _layer("label_emb.0.2", time, time)
    yield from _layer("input_blocks.0.0", width, size.inputs, 3, 3)
    skips, channels, number = [width], width, 1
    levels = list(enumerate(zip(size.multiples, size.depths, strict=True)))
    for level, (multiple, depth) in levels:
        for _ in range(2):
            yield from _resnet(f"input_blocks.{number}.0", channels, width * multiple, time)
            channels = width * multiple
            if depth:
                yield from _transformer(f"input_blocks.{number}.1", channels, depth, size)
            skips.append(channels)
            number += 1
        if level < last:
            yield from _layer(f"input_blocks.{number}.0.op", channels, channels, 3, 3)
            skips.append(channels)
            number += 1
    yield from _resnet("middle_block.0", channels, channels, time)
    yield from _transformer("middle_block.1", channels, size.middle, size)
    yield from _resnet("middle_block.2", channels, channels, time)
    number = 0
    for level, (multiple, depth) in reversed(levels):
        for layer in range(3):
            yield from _resnet(f"output_blocks.{number}.0", channels + skips.pop(), width * multiple, time)
            channels = width * multiple
            if depth:
                yield from _transformer(f"output_blocks.{number}.1", channels, depth, size)
            if level and layer == 2:
                yield from _layer(f"output_blocks.{number}.{2 if depth else 1}.conv", channels, channels, 3, 3)
            number += 1
    yield from _layer("out.0", channels)
    yield from _layer("out.2", 4, channels, 3, 3)


def _resnet(name: str, channels: int, out: int, time: int) -> Keys:
    yield from _layer(f"{name}.in_layers.0", channels)
    yield from _layer(f"{name}.in_layers.2", out, channels, 3, 3)
    yield from _layer(f"{name}.emb_layers.1", out, time)
    yield from _layer(f"{name}.out_layers.0", out)
    yield from _layer(f"{name}.out_layers.3", out, out, 3, 3)
    if channels != out:
        yield from _layer(f"{name}.skip_connection", out, channels, 1, 1)


def _transformer(name: str, channels: int, depth: int, size: Size) -> Keys:
    inner = (channels, channels) if size.linear else (channels, channels, 1, 1)
    yield from _layer(f"{name}.norm", channels)
    yield from _layer(f"{name}.proj_in", *inner)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, source in (("attn1", channels), ("attn2", size.context)):
            yield f"{block}.{attention}.to_q.weight", (channels, channels)
            yield f"{block}.{attention}.to_k.weight", (channels, source)
            yield f"{block}.{attention}.to_v.weight", (channels, source)
            yield from _layer(f"{block}.{attention}.to_out.0", channels, channels)
        yield from _layer(f"{block}.ff.net.0.proj", channels * 8, channels)
        yield from _layer(f"{block}.ff.net.2", channels, channels * 4)
        for norm in (1, 2, 3):
            yield from _layer(f"{block}.norm{norm}", channels)
    yield from _layer(f"{name}.proj_out", *inner)


def _vae(width: int) -> Keys:
    widths = [width, width * 2, width * 4, width * 4]
    yield from _layer("quant_conv", 8, 8, 1, 1)
    yield from _layer("post_quant_conv", 4, 4, 1, 1)
    for half, ends, levels, layers, sampler in (
        ("encoder", (3, 8), list(enumerate(widths)), 2, "down.{}.downsample"),
        ("decoder", (4, 3), list(enumerate(widths))[::-1], 3, "up.{}.upsample"),
    ):
        channels = levels[0][1]
        yield from _layer(f"{half}.conv_in", channels, ends[0], 3, 3)
        if half == "decoder":
            yield from _vae_middle(f"{half}.mid", channels)
        for level, out in levels:
            for layer in range(layers):
                yield from _vae_resnet(f"{half}.{sampler[: sampler.index('.')]}.{level}.block.{layer}", channels, out)
                channels = out
            if level != levels[-1][0]:
                yield from _layer(f"{half}.{sampler.format(level)}.conv", channels, channels, 3, 3)
        if half == "encoder":
            yield from _vae_middle(f"{half}.mid", channels)
        yield from _layer(f"{half}.norm_out", channels)
        yield from _layer(f"{half}.conv_out", ends[1], channels, 3, 3)


def _vae_middle(name: str, channels: int) -> Keys:
    yield from _vae_resnet(f"{name}.block_1", channels, channels)
    yield from _layer(f"{name}.attn_1.norm", channels)
    for part in ("q", "k", "v", "proj_out"):
        yield from _layer(f"{name}.attn_1.{part}", channels, channels, 1, 1)
    yield from _vae_resnet(f"{name}.block_2", channels, channels)


def _vae_resnet(name: str, channels: int, out: int) -> Keys:
    yield from _layer(f"{name}.norm1", channels)
    yield from _layer(f"{name}.conv1", out, channels, 3, 3)
    yield from _layer(f"{name}.norm2", out)
    yield from _layer(f"{name}.conv2", out, out, 3, 3)
    if channels != out:
        yield from _layer(f"{name}.nin_shortcut", out, channels, 1, 1)


def _text_encoder(width: int, layers: int) -> Keys:
    yield "embeddings.token_embedding.weight", (49408, width)
    yield "embeddings.position_embedding.weight", (77, width)
    for number in range(layers):
        layer = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{part}", width, width)
        yield from _layer(f"{layer}.layer_norm1", width)
        yield from _layer(f"{layer}.mlp.fc1", width * 4, width)
        yield from _layer(f"{layer}.mlp.fc2", width, width * 4)
        yield from _layer(f"{layer}.layer_norm2", width)
    yield from _layer("final_layer_norm", width)


def _open_clip(width: int, layers: int) -> Keys:
    yield "positional_embedding", (77, width)
    yield "text_projection", (width, width)
    yield "logit_scale", ()
    yield "token_embedding.weight", (49408, width)
    for layer in range(layers):
        name = f"transformer.resblocks.{layer}"
        yield f"{name}.attn.in_proj_weight", (width * 3, width)
        yield f"{name}.attn.in_proj_bias", (width * 3,)
        yield from _layer(f"{name}.attn.out_proj", width, width)
        yield from _layer(f"{name}.ln_1", width)
        yield from _layer(f"{name}.ln_2", width)
        yield from _layer(f"{name}.mlp.c_fc", width * 4, width)
        yield from _layer(f"{name}.mlp.c_proj", width, width * 4)
    yield from _layer("ln_final", width)


def _layer(name: str, *shape: int) -> Keys:
    """A layer's weight and its bias, which is as long as it has outputs."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


@click.command()
@click.argument("model", type=click.Choice([*SIZES]))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(model: str, folder: Path) -> None:
    """Write a checkpoint of MODEL's size into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    click.echo(write(model, folder))


if __name__ == "__main__":
    main()
