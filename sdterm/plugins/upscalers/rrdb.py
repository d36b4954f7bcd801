"""RRDBNet: dense blocks of convolutions with residuals, then upsampling by two. Source: Wang et al. 2018, ESRGAN; the
shortcuts of its "plus" variant: Rakotonirina and Rasoanaivo 2020; Real-ESRGAN's smaller input: Wang et al. 2021."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional as F

Shape = tuple[int, ...]

_RESIDUAL, _LEAK = 0.2, 0.2
_EVEN = 4
_COLOURS = 3
_UNSHUFFLES: Mapping[int, int] = {_COLOURS * factor**2: factor for factor in (1, 2, 4)}
"""Channels that the first convolution reads → by how much the picture is made smaller for them."""


@dataclass(frozen=True)
class Structure:
    """A network, as far as the shapes of its weights tell it."""

    features: int
    growth: int
    blocks: int
    ups: int
    unshuffle: int
    plus: bool

    @property
    def scale(self) -> int:
        """0 if it makes a picture smaller."""
        return (1 << self.ups) // self.unshuffle

    def shapes(self) -> dict[str, Shape]:
        """Of all its weights and biases."""
        channels: dict[str, tuple[int, int]] = {
            "first": (self.features, _COLOURS * self.unshuffle**2),
            "trunk": (self.features, self.features),
            **{f"up.{number}": (self.features, self.features) for number in range(1, self.ups + 1)},
            "fine": (self.features, self.features),
            "last": (_COLOURS, self.features),
        }
        for part in (f"block.{block}.{dense}" for block in range(self.blocks) for dense in (1, 2, 3)):
            for number in range(1, 6):
                gives = self.features if number == 5 else self.growth
                channels[f"{part}.{number}"] = gives, self.features + (number - 1) * self.growth
        shapes: dict[str, Shape] = {}
        for name, (gives, reads) in channels.items():
            shapes |= {f"{name}.weight": (gives, reads, 3, 3), f"{name}.bias": (gives,)}
        if self.plus:
            parts = (f"block.{block}.{dense}" for block in range(self.blocks) for dense in (1, 2, 3))
            shapes |= {f"{part}.1x1.weight": (self.growth, self.features, 1, 1) for part in parts}
        return shapes


def structure_of(shapes: Mapping[str, Shape]) -> Structure | None:
    """What network these weights are of; None if of none such, or of one that makes pictures smaller."""
    first, dense = shapes.get("first.weight", ()), shapes.get("block.0.1.1.weight", ())
    if len(first) != 4 or len(dense) != 4 or first[1] not in _UNSHUFFLES:
        return None
    structure = Structure(
        features=first[0],
        growth=dense[0],
        blocks=len({name.split(".")[1] for name in shapes if name.startswith("block.")}),
        ups=len([name for name in shapes if name.startswith("up.") and name.endswith(".weight")]),
        unshuffle=_UNSHUFFLES[first[1]],
        plus="block.0.1.1x1.weight" in shapes,
    )
    return structure if structure.shapes() == shapes and structure.scale else None


@dataclass(frozen=True)
class RRDBNet:
    """The network: `[1, 3, h, w]` → `[1, 3, h * scale, w * scale]`."""

    structure: Structure
    weights: Mapping[str, torch.Tensor]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = pixels.shape[-2:]
        x = first = self._conv("first", self._smaller(pixels))
        for block in range(self.structure.blocks):
            before = x
            for dense in (1, 2, 3):
                x = self._dense(f"block.{block}.{dense}", x)
            x = torch.add(before, x, alpha=_RESIDUAL)
        x = first + self._conv("trunk", x)
        for number in range(1, self.structure.ups + 1):
            x = self._active(f"up.{number}", F.interpolate(x, scale_factor=2, mode="nearest"))
        x = self._conv("last", self._active("fine", x))
        return x[..., : height * self.structure.scale, : width * self.structure.scale]

    def _smaller(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels as channels; sides that are no multiple of four are mirrored at the edge first. Source: spandrel."""
        factor = self.structure.unshuffle
        if factor == 1:
            return pixels
        below, right = (-side % _EVEN for side in pixels.shape[-2:])
        mirrored = min(below, pixels.shape[-2] - 1), min(right, pixels.shape[-1] - 1)
        pixels = F.pad(pixels, (0, mirrored[1], 0, mirrored[0]), "reflect")
        pixels = F.pad(pixels, (0, right - mirrored[1], 0, below - mirrored[0]), "replicate")
        return F.pixel_unshuffle(pixels, factor)

    def _dense(self, part: str, x: torch.Tensor) -> torch.Tensor:
        known = [x]
        for number in range(1, 5):
            known.append(self._active(f"{part}.{number}", torch.cat(known, 1)))
            if self.structure.plus and number == 2:
                known[2] = known[2] + F.conv2d(x, self.weights[f"{part}.1x1.weight"])
            if self.structure.plus and number == 4:
                known[4] = known[4] + known[2]
        return torch.add(x, self._conv(f"{part}.5", torch.cat(known, 1)), alpha=_RESIDUAL)

    def _active(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu_(self._conv(name, x), _LEAK)

    def _conv(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=1)
