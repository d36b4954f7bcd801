"""Noise: one generator per image, so that image k of a batch equals the single image with its seed."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from sdterm.engine import philox

Source = Literal["NV", "CPU"]


class ImageNoise:
    """The random numbers of one image: every draw is the next of the same generator, on the CPU, float32."""

    def __init__(self, seed: int, source: Source) -> None:
        self._draw: Callable[[tuple[int, ...]], torch.Tensor]
        if source == "NV":
            self._seed, self._offset = seed, 0
            self._draw = self._philox
        else:
            generator = torch.Generator("cpu").manual_seed(seed)
            self._draw = lambda shape: torch.randn(shape, generator=generator)

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        return self._draw(shape)

    def _philox(self, shape: tuple[int, ...]) -> torch.Tensor:
        values = torch.from_numpy(philox.normal(self._seed, self._offset, shape))
        self._offset += 1
        return values


class BatchNoise:
    """A sampler's `noise(sigma, sigma_next)`: the next draw of each image, stacked on the device."""

    def __init__(self, seeds: Sequence[int], source: Source, shape: tuple[int, ...], device: torch.device) -> None:
        self._images = [ImageNoise(seed, source) for seed in seeds]
        self._shape = shape
        self._device = device

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        return self.draw()

    def draw(self) -> torch.Tensor:
        """float32 [B, C, h, w]."""
        return torch.stack([image.draw(self._shape) for image in self._images]).to(self._device)
