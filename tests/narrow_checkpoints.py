"""Rebuild the narrow SDXL and SD 2 checkpoints that A1111's pictures of them were drawn with, from their rule.

Each tensor is numpy's RandomState(crc32(key)).standard_normal(shape), scaled as `_scaled` says, changed as `_tame` says
so that sampling converges and that prompts and sizes count, and rounded to fp16. Every head is 64 wide, as in the real
ones.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from safetensors.numpy import save_file

from tests.tiny_checkpoint import GOLDEN

Keys = Iterator[tuple[str, tuple[int, ...]]]
Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, np.ndarray]

L, G, H, CHANNELS = 64, 128, 128, 64  # widths: CLIP-L, OpenCLIP's bigG and ViT-H, UNet
UNET, VAE = "model.diffusion_model.", "first_stage_model."
ROOTS = {
    "te1": "conditioner.embedders.0.",
    "te2": "conditioner.embedders.1.",
    "te": "cond_stage_model.",
    "vae": VAE,
    "unet": UNET,
}


def write(name: str, folder: Path) -> Path:
    """A checkpoint and its .yaml in `folder`. Returns the checkpoint's path."""
    path = folder / f"{name}.safetensors"
    save_file(tensors(name), path)
    path.with_suffix(".yaml").write_text((GOLDEN / "narrow" / f"{name}.yaml").read_text())
    return path


def tensors(name: str) -> Weights:
    xl = "-xl" in name
    shapes = shapes_of(name)
    found = {key: _scaled(key, shape) for key, shape in shapes.items() if shape != ()}
    _tame(found, 8 if xl and "refiner" not in name else 11, v=name.endswith("-v"), xl=xl)
    return {key: tensor.astype(np.float16) for key, tensor in found.items()}


def shapes_of(name: str) -> Shapes:
    if name == "narrow-xl-refiner":
        unet = _unet((1, 2, 4, 4), (0, 2, 2, 0), G, last=2, vector=G + 5 * 256)
        return _keys(te1=_open_clip(G, 4), vae=_vae(), unet=unet)
    if name.startswith("narrow-xl"):
        unet = _unet(
            (1, 2, 4), (0, 1, 2), L + G, last=2, vector=G + 6 * 256, inputs=9 if name.endswith("inpaint") else 4
        )
        return _keys(te1=_clip(L, 12), te2=_open_clip(G, 4), vae=_vae(), unet=unet)
    return _keys(te=_open_clip(H, 4), vae=_vae(), unet=_unet((1, 2, 4, 4), (1, 1, 1, 0), H, last=1))


def full_size(name: str) -> Shapes:
    """Of the checkpoints that the narrow ones are like: `sdxl`, `sdxl_refiner`, `sd2`."""
    if name == "sdxl":
        unet = _unet((1, 2, 4), (0, 2, 10), 2048, last=10, vector=2816, first=320)
        return _keys(te1=_clip(768, 12), te2=_open_clip(1280, 32), vae=_vae(128), unet=unet)
    if name == "sdxl_refiner":
        unet = _unet((1, 2, 4, 4), (0, 4, 4, 0), 1280, last=4, vector=2560, first=384)
        return _keys(te1=_open_clip(1280, 32), vae=_vae(128), unet=unet)
    unet = _unet((1, 2, 4, 4), (1, 1, 1, 0), 1024, last=1, first=320)
    return _keys(te=_open_clip(1024, 24), vae=_vae(128), unet=unet)


def _keys(**parts: Keys) -> Shapes:
    return {ROOTS[root] + key: shape for root, keys in parts.items() for key, shape in keys}


# --- layouts ----------------------------------------------------------------------------------------------------------


def _part(name: str, *shape: int, bias: bool = True) -> Keys:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def _unet(
    mult: Sequence[int],
    depths: Sequence[int],
    context: int,
    *,
    last: int,
    vector: int = 0,
    inputs: int = 4,
    first: int = CHANNELS,
) -> Keys:
    """depths: transformer blocks at each level; the middle has `last`."""
    embedding = 4 * first

    def resnet(name: str, i: int, o: int) -> Keys:
        yield from _part(f"{name}.in_layers.0", i)
        yield from _part(f"{name}.in_layers.2", o, i, 3, 3)
        yield from _part(f"{name}.emb_layers.1", o, embedding)
        yield from _part(f"{name}.out_layers.0", o)
        yield from _part(f"{name}.out_layers.3", o, o, 3, 3)
        if i != o:
            yield from _part(f"{name}.skip_connection", o, i, 1, 1)

    def transformer(name: str, c: int, depth: int) -> Keys:
        yield from _part(f"{name}.norm", c)
        yield from _part(f"{name}.proj_in", c, c)
        for d in range(depth):
            block = f"{name}.transformer_blocks.{d}"
            for attention, width in (("attn1", c), ("attn2", context)):
                yield from _part(f"{block}.{attention}.to_q", c, c, bias=False)
                yield from _part(f"{block}.{attention}.to_k", c, width, bias=False)
                yield from _part(f"{block}.{attention}.to_v", c, width, bias=False)
                yield from _part(f"{block}.{attention}.to_out.0", c, c)
            yield from _part(f"{block}.ff.net.0.proj", 8 * c, c)
            yield from _part(f"{block}.ff.net.2", c, 4 * c)
            for k in "123":
                yield from _part(f"{block}.norm{k}", c)
        yield from _part(f"{name}.proj_out", c, c)

    yield from _part("time_embed.0", embedding, first)
    yield from _part("time_embed.2", embedding, embedding)
    if vector:
        yield from _part("label_emb.0.0", embedding, vector)
        yield from _part("label_emb.0.2", embedding, embedding)
    yield from _part("input_blocks.0.0", first, inputs, 3, 3)
    skips, c, n = [first], first, 1
    for level, m in enumerate(mult):
        for _ in range(2):
            yield from resnet(f"input_blocks.{n}.0", c, m * first)
            c = m * first
            if depths[level]:
                yield from transformer(f"input_blocks.{n}.1", c, depths[level])
            skips.append(c)
            n += 1
        if level < len(mult) - 1:
            yield from _part(f"input_blocks.{n}.0.op", c, c, 3, 3)
            skips.append(c)
            n += 1
    yield from resnet("middle_block.0", c, c)
    yield from transformer("middle_block.1", c, last)
    yield from resnet("middle_block.2", c, c)
    n = 0
    for level in reversed(range(len(mult))):
        for i in range(3):
            yield from resnet(f"output_blocks.{n}.0", c + skips.pop(), mult[level] * first)
            c = mult[level] * first
            if depths[level]:
                yield from transformer(f"output_blocks.{n}.1", c, depths[level])
            if level and i == 2:
                yield from _part(f"output_blocks.{n}.{2 if depths[level] else 1}.conv", c, c, 3, 3)
            n += 1
    yield from _part("out.0", first)
    yield from _part("out.2", 4, first, 3, 3)


def _vae(first: int = 32, mult: Sequence[int] = (1, 2, 4, 4), z: int = 4) -> Keys:
    def resnet(name: str, i: int, o: int) -> Keys:
        yield from _part(f"{name}.norm1", i)
        yield from _part(f"{name}.conv1", o, i, 3, 3)
        yield from _part(f"{name}.norm2", o)
        yield from _part(f"{name}.conv2", o, o, 3, 3)
        if i != o:
            yield from _part(f"{name}.nin_shortcut", o, i, 1, 1)

    def middle(name: str, c: int) -> Keys:
        yield from resnet(f"{name}.block_1", c, c)
        yield from _part(f"{name}.attn_1.norm", c)
        for k in ("q", "k", "v", "proj_out"):
            yield from _part(f"{name}.attn_1.{k}", c, c, 1, 1)
        yield from resnet(f"{name}.block_2", c, c)

    c = first
    yield from _part("encoder.conv_in", first, 3, 3, 3)
    for level, m in enumerate(mult):
        for block in range(2):
            yield from resnet(f"encoder.down.{level}.block.{block}", c, m * first)
            c = m * first
        if level < len(mult) - 1:
            yield from _part(f"encoder.down.{level}.downsample.conv", c, c, 3, 3)
    yield from middle("encoder.mid", c)
    yield from _part("encoder.norm_out", c)
    yield from _part("encoder.conv_out", 2 * z, c, 3, 3)
    yield from _part("quant_conv", 2 * z, 2 * z, 1, 1)
    yield from _part("post_quant_conv", z, z, 1, 1)
    yield from _part("decoder.conv_in", c, z, 3, 3)
    yield from middle("decoder.mid", c)
    for level in reversed(range(len(mult))):
        for block in range(3):
            yield from resnet(f"decoder.up.{level}.block.{block}", c, mult[level] * first)
            c = mult[level] * first
        if level:
            yield from _part(f"decoder.up.{level}.upsample.conv", c, c, 3, 3)
    yield from _part("decoder.norm_out", c)
    yield from _part("decoder.conv_out", 3, c, 3, 3)


def _clip(width: int, layers: int) -> Keys:
    text = "transformer.text_model."
    yield f"{text}embeddings.token_embedding.weight", (49408, width)
    yield f"{text}embeddings.position_embedding.weight", (77, width)
    for n in range(layers):
        layer = f"{text}encoder.layers.{n}."
        for k in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _part(f"{layer}self_attn.{k}", width, width)
        yield from _part(f"{layer}layer_norm1", width)
        yield from _part(f"{layer}layer_norm2", width)
        yield from _part(f"{layer}mlp.fc1", 4 * width, width)
        yield from _part(f"{layer}mlp.fc2", width, 4 * width)
    yield from _part(f"{text}final_layer_norm", width)


def _open_clip(width: int, layers: int) -> Keys:
    yield "model.positional_embedding", (77, width)
    yield "model.text_projection", (width, width)
    yield "model.token_embedding.weight", (49408, width)
    for n in range(layers):
        block = f"model.transformer.resblocks.{n}."
        yield f"{block}attn.in_proj_weight", (3 * width, width)
        yield f"{block}attn.in_proj_bias", (3 * width,)
        yield from _part(f"{block}attn.out_proj", width, width)
        yield from _part(f"{block}ln_1", width)
        yield from _part(f"{block}ln_2", width)
        yield from _part(f"{block}mlp.c_fc", 4 * width, width)
        yield from _part(f"{block}mlp.c_proj", width, 4 * width)
    yield from _part("model.ln_final", width)


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
