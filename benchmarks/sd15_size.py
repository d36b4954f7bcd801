"""A checkpoint of SD 1.5's exact size and layout with random weights: all that speed and memory depend on.

The enumeration follows LDM's own construction (ldm/modules/diffusionmodules/openaimodel.py and model.py) with the
numbers of v1-inference.yaml.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."

Shape = tuple[int, ...]


def write(folder: Path) -> Path:
    """The checkpoint in `folder`, 2.1 GB, made if it is not there. Returns its path."""
    path = folder / "sd15-size.safetensors"
    if not path.exists():
        generator = torch.Generator().manual_seed(15)
        tensors = {name: _random(name, shape, generator) for name, shape in shapes()}
        unfinished = path.with_suffix(f".{os.getpid()}")
        save_file(tensors, unfinished)
        unfinished.rename(path)
    return path


def _random(name: str, shape: Shape, generator: torch.Generator) -> torch.Tensor:
    """fp16. Norms pass their input on and the rest is small, so that nothing overflows or sinks into denormals."""
    if len(shape) == 1:
        return torch.full(shape, 1.0 if name.endswith("weight") else 0.0, dtype=torch.float16)
    return (torch.randn(shape, generator=generator) * 0.02).half()


def shapes() -> Iterator[tuple[str, Shape]]:
    """Every tensor by its LDM name."""
    for part, prefix in ((_unet(), UNET), (_vae(), VAE), (_text_encoder(), TEXT)):
        for name, shape in part:
            yield prefix + name, shape


def _unet(width: int = 320, context: int = 768) -> Iterator[tuple[str, Shape]]:
    time = width * 4
    yield from _layer("time_embed.0", time, width)
    yield from _layer("time_embed.2", time, time)
    yield from _layer("input_blocks.0.0", width, 4, 3, 3)
    skips, channels, number = [width], width, 1
    for level, multiple in enumerate((1, 2, 4, 4)):
        for _ in range(2):
            yield from _resnet(f"input_blocks.{number}.0", channels, width * multiple, time)
            channels = width * multiple
            if level < 3:
                yield from _transformer(f"input_blocks.{number}.1", channels, context)
            skips.append(channels)
            number += 1
        if level < 3:
            yield from _layer(f"input_blocks.{number}.0.op", channels, channels, 3, 3)
            skips.append(channels)
            number += 1
    yield from _resnet("middle_block.0", channels, channels, time)
    yield from _transformer("middle_block.1", channels, context)
    yield from _resnet("middle_block.2", channels, channels, time)
    number = 0
    for level, multiple in reversed(list(enumerate((1, 2, 4, 4)))):
        for layer in range(3):
            yield from _resnet(f"output_blocks.{number}.0", channels + skips.pop(), width * multiple, time)
            channels = width * multiple
            if level < 3:
                yield from _transformer(f"output_blocks.{number}.1", channels, context)
            if level and layer == 2:
                yield from _layer(f"output_blocks.{number}.{2 if level < 3 else 1}.conv", channels, channels, 3, 3)
            number += 1
    yield from _layer("out.0", channels)
    yield from _layer("out.2", 4, channels, 3, 3)


def _resnet(name: str, channels: int, out: int, time: int) -> Iterator[tuple[str, Shape]]:
    yield from _layer(f"{name}.in_layers.0", channels)
    yield from _layer(f"{name}.in_layers.2", out, channels, 3, 3)
    yield from _layer(f"{name}.emb_layers.1", out, time)
    yield from _layer(f"{name}.out_layers.0", out)
    yield from _layer(f"{name}.out_layers.3", out, out, 3, 3)
    if channels != out:
        yield from _layer(f"{name}.skip_connection", out, channels, 1, 1)


def _transformer(name: str, channels: int, context: int) -> Iterator[tuple[str, Shape]]:
    block = f"{name}.transformer_blocks.0"
    yield from _layer(f"{name}.norm", channels)
    yield from _layer(f"{name}.proj_in", channels, channels, 1, 1)
    for attention, source in (("attn1", channels), ("attn2", context)):
        yield f"{block}.{attention}.to_q.weight", (channels, channels)
        yield f"{block}.{attention}.to_k.weight", (channels, source)
        yield f"{block}.{attention}.to_v.weight", (channels, source)
        yield from _layer(f"{block}.{attention}.to_out.0", channels, channels)
    yield from _layer(f"{block}.ff.net.0.proj", channels * 8, channels)
    yield from _layer(f"{block}.ff.net.2", channels, channels * 4)
    for number in (1, 2, 3):
        yield from _layer(f"{block}.norm{number}", channels)
    yield from _layer(f"{name}.proj_out", channels, channels, 1, 1)


def _vae(width: int = 128) -> Iterator[tuple[str, Shape]]:
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


def _vae_middle(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield from _vae_resnet(f"{name}.block_1", channels, channels)
    yield from _layer(f"{name}.attn_1.norm", channels)
    for part in ("q", "k", "v", "proj_out"):
        yield from _layer(f"{name}.attn_1.{part}", channels, channels, 1, 1)
    yield from _vae_resnet(f"{name}.block_2", channels, channels)


def _vae_resnet(name: str, channels: int, out: int) -> Iterator[tuple[str, Shape]]:
    yield from _layer(f"{name}.norm1", channels)
    yield from _layer(f"{name}.conv1", out, channels, 3, 3)
    yield from _layer(f"{name}.norm2", out)
    yield from _layer(f"{name}.conv2", out, out, 3, 3)
    if channels != out:
        yield from _layer(f"{name}.nin_shortcut", out, channels, 1, 1)


def _text_encoder(width: int = 768) -> Iterator[tuple[str, Shape]]:
    yield "embeddings.token_embedding.weight", (49408, width)
    yield "embeddings.position_embedding.weight", (77, width)
    for number in range(12):
        layer = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{part}", width, width)
        yield from _layer(f"{layer}.layer_norm1", width)
        yield from _layer(f"{layer}.mlp.fc1", width * 4, width)
        yield from _layer(f"{layer}.mlp.fc2", width, width * 4)
        yield from _layer(f"{layer}.layer_norm2", width)
    yield from _layer("final_layer_norm", width)


def _layer(name: str, *shape: int) -> Iterator[tuple[str, Shape]]:
    """A layer's weight and its bias, which is as long as it has outputs."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
