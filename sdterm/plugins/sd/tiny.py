"""Small networks and a matrix that stand in for a VAE. They are built from the shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch.nn import functional

from sdterm.hooks import PluginError, WeightsReader
from sdterm.messages import message

Transform = Callable[[torch.Tensor], torch.Tensor]

LATENT_CHANNELS = 4
HALVINGS = 3
"""A latent cell is 2 ** 3 pixels wide."""
_NN_LAYERS = 8
_NN_PADDING = 11


def linear(latent_rgb: tuple[Sequence[Sequence[float]], Sequence[float]], device: torch.device) -> Transform:
    """A pixel for each latent cell. latent_rgb: factors and bias for pixels of 0..1."""
    factors, bias = (torch.tensor(part, dtype=torch.float32, device=device) for part in latent_rgb)

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return (torch.einsum("bchw,cr->brhw", latents, factors) + bias[:, None, None]) * 2 - 1

    return decode


def approx_nn(reader: WeightsReader, device: torch.device) -> Transform:
    """A1111's VAEApprox: eight convolutions over latents that are twice as large. Raises PluginError."""
    shapes = reader.shapes()
    layers = [f"conv{number}" for number in range(1, _NN_LAYERS + 1)]
    if {*shapes} != {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}:
        raise PluginError(message("{file} is not an approximate VAE as in A1111.", file=reader.path.name))
    channels, margin = LATENT_CHANNELS, 0
    for layer in layers:
        channels, margin = _convolved(reader, layer, channels, None), margin + shapes[f"{layer}.weight"][2] // 2
    _ends_with(reader, channels, 3)
    if margin != _NN_PADDING:
        raise PluginError(
            message("{file} has convolutions of other sizes than A1111's approximate VAE.", file=reader.path.name)
        )
    weights = reader.read([*shapes], device, torch.float32)

    def decode(latents: torch.Tensor) -> torch.Tensor:
        x = functional.pad(functional.interpolate(latents, scale_factor=2.0), [_NN_PADDING] * 4)
        for layer in layers:
            x = functional.leaky_relu(functional.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]), 0.1)
        return x

    return decode


# --- TAESD ------------------------------------------------------------------------------------------------------------


class _Layer(NamedTuple):
    """A convolution, or a block of three with a way round them."""

    name: str
    is_block: bool


def taesd(reader: WeightsReader, device: torch.device, half: str) -> Transform:
    """The decoder or the encoder, as `half` says, in TAESD's own layout, in diffusers', or in a file of both. Raises
    PluginError."""
    prefix, layers = _layers(reader, half)
    decodes = half == "decoder"
    channels, scalings = LATENT_CHANNELS if decodes else 3, 0
    for layer in layers:
        channels = _fitting(reader, layer, channels)
        scalings += not layer.is_block and f"{layer.name}.bias" not in reader.shapes()
    _ends_with(reader, channels, 3 if decodes else LATENT_CHANNELS)
    if scalings != HALVINGS:
        said = message(
            "{file} makes {pixels} pixels of a latent cell, but TAESD makes {wanted}.",
            file=reader.path.name,
            pixels=2**scalings,
            wanted=2**HALVINGS,
        )
        raise PluginError(said)
    weights = reader.read([key for key in reader.shapes() if key.startswith(prefix)], device, torch.float32)
    steps = [_step(layer, weights, decodes=decodes, first=layer is layers[0]) for layer in layers]

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return _through(steps, torch.tanh(latents / 3) * 3) * 2 - 1

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return _through(steps, (pixels + 1) / 2)

    return decode if decodes else encode


def _layers(reader: WeightsReader, half: str) -> tuple[str, list[_Layer]]:
    """(how their keys begin, the layers that have weights, in their order)."""
    shapes, name = reader.shapes(), reader.path.name
    for prefix in (f"{half}.layers.", f"{half}.", ""):
        own = [key.removeprefix(prefix) for key in shapes if key.startswith(prefix)]
        if not any(re.fullmatch(r"\d+\.weight", key) for key in own):
            continue
        if odd := [key for key in own if not re.fullmatch(r"\d+\.(conv\.[024]\.|skip\.)?(weight|bias)", key)]:
            raise PluginError(
                message(
                    "{file} has {tensor}, which the {half} of TAESD does not have.", file=name, tensor=odd[0], half=half
                )
            )
        numbers = sorted({int(key.partition(".")[0]) for key in own})
        found = [_Layer(f"{prefix}{number}", f"{prefix}{number}.conv.0.weight" in shapes) for number in numbers]
        # Without a prefix only the layout tells a decoder from an encoder: it begins behind its clamp.
        if prefix or (numbers[0] == 1) == (half == "decoder"):
            return prefix, found
    raise PluginError(message("{file} is not the {half} of TAESD.", file=name, half=half))


def _fitting(reader: WeightsReader, layer: _Layer, channels: int) -> int:
    """How many channels come out of a layer into which so many go. Raises PluginError."""
    if not layer.is_block:
        return _convolved(reader, layer.name, channels, 3)
    out = channels
    for number in (0, 2, 4):
        out = _convolved(reader, f"{layer.name}.conv.{number}", out, 3)
    if f"{layer.name}.skip.weight" in reader.shapes():
        _expect(reader, f"{layer.name}.skip.weight", (out, channels, 1, 1))
    elif out != channels:
        raise PluginError(message("{file} lacks {layer}.skip.weight.", file=reader.path.name, layer=layer.name))
    return out


def _convolved(reader: WeightsReader, layer: str, channels: int, side: int | None) -> int:
    """How many channels come out of a convolution into which so many go. Raises PluginError."""
    shape = reader.shapes().get(f"{layer}.weight", ())
    if len(shape) != 4:
        raise PluginError(message("{file} has no convolution {layer}.weight.", file=reader.path.name, layer=layer))
    if shape[1] != channels and channels in (3, LATENT_CHANNELS):
        raise PluginError(
            message(
                "{file} is made for {channels} channels, but this model has {wanted}.",
                file=reader.path.name,
                channels=shape[1],
                wanted=channels,
            )
        )
    _expect(reader, f"{layer}.weight", (shape[0], channels, side or shape[2], side or shape[2]))
    if f"{layer}.bias" in reader.shapes():
        _expect(reader, f"{layer}.bias", (shape[0],))
    return shape[0]


def _ends_with(reader: WeightsReader, channels: int, wanted: int) -> None:
    if channels != wanted:
        raise PluginError(
            message(
                "{file} returns {channels} channels, but this model has {wanted}.",
                file=reader.path.name,
                channels=channels,
                wanted=wanted,
            )
        )


def _expect(reader: WeightsReader, key: str, shape: tuple[int, ...]) -> None:
    if (found := reader.shapes()[key]) != shape:
        raise PluginError(
            message(
                "{file} has {tensor} with shape {found}, not {wanted}.",
                file=reader.path.name,
                tensor=key,
                found=found,
                wanted=shape,
            )
        )


def _step(layer: _Layer, weights: Mapping[str, torch.Tensor], *, decodes: bool, first: bool) -> Transform:
    def convolved(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding=1)

    def block(x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(convolved(x, f"{layer.name}.conv.0"))
        inner = convolved(functional.relu(convolved(inner, f"{layer.name}.conv.2")), f"{layer.name}.conv.4")
        skip = weights.get(f"{layer.name}.skip.weight")
        return functional.relu(inner + (x if skip is None else functional.conv2d(x, skip)))

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return convolved(functional.interpolate(x, scale_factor=2.0), layer.name)

    if layer.is_block:
        return block
    if f"{layer.name}.bias" not in weights:
        return doubled if decodes else lambda x: convolved(x, layer.name, stride=2)
    if first and decodes:
        return lambda x: functional.relu(convolved(x, layer.name))
    return lambda x: convolved(x, layer.name)


def _through(steps: Sequence[Transform], x: torch.Tensor) -> torch.Tensor:
    return reduce(lambda x, step: step(x), steps, x)
