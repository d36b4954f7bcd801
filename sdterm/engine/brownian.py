"""Brownian motion for SDE solvers: a torchsde tree per image, as in k-diffusion's BrownianTreeNoiseSampler.

A tree's increments do not depend on which are asked for, or in which order, so a solver that looks at a midpoint first
gets the same path. A1111 draws the tree's normals by its own source of noise, and so does this.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torchsde import BrownianTree
from torchsde._brownian import brownian_interval

from sdterm.engine.noise import Generator, Source

# It rounds the ends of a tree's time, then warns of being asked for the exact ones; a terminal is no place for that.
warnings.filterwarnings("ignore", message="Should have t", module="torchsde")

_source: ContextVar[Source | None] = ContextVar("source of a tree's normals", default=None)
_torchsde_randn: Callable[..., torch.Tensor] = brownian_interval._randn


def _randn(size: torch.Size, dtype: torch.dtype, device: torch.device, seed: int) -> torch.Tensor:
    """torchsde's, unless one of our trees is being asked: it offers no other way in."""
    source = _source.get()
    if source is None:
        return _torchsde_randn(size, dtype, device, seed)
    return Generator(int(seed), source, device).draw(tuple(size)).to(device=device, dtype=dtype)


brownian_interval._randn = _randn


class BrownianNoise:
    """A sampler's `noise(sigma, sigma_next)`: for each image the increment of its motion from sigma to sigma_next,
    scaled to unit variance. The motion lives between the smallest non-zero and the largest of `sigmas`."""

    def __init__(
        self, seeds: Sequence[int], source: Source, shape: tuple[int, ...], sigmas: torch.Tensor, device: torch.device
    ) -> None:
        self._source: Source = source
        self._device = device
        place = device if source == "GPU" else torch.device("cpu")
        low, high = sigmas[sigmas > 0].min(), sigmas.max()
        with _drawing(source):
            self._trees = [BrownianTree(low, torch.zeros(shape, device=place), high, entropy=seed) for seed in seeds]

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        earlier, later = torch.minimum(sigma, sigma_next), torch.maximum(sigma, sigma_next)
        with _drawing(self._source):
            increments = torch.stack([tree(earlier, later) for tree in self._trees])
        if sigma > sigma_next:
            increments = -increments
        return increments.to(self._device) / (sigma_next - sigma).abs().sqrt()


@contextmanager
def _drawing(source: Source) -> Iterator[None]:
    """Meanwhile, trees asked by this thread draw from `source`."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)
