"""Brownian motion for SDE solvers: a torchsde tree per image, as in k-diffusion's BrownianTreeNoiseSampler.

A tree's increments do not depend on which are asked for, or in which order, so a solver that looks at a midpoint first
gets the same path. A1111 draws the tree's normals by its own source of noise, and so does this. Where that source is
torch's generator, torchsde draws the same numbers by itself; NV has trees of its own kind here, so that torchsde stays
as it is for everybody else.
"""

from collections.abc import Sequence

import torch
from torchsde._brownian.brownian_interval import BrownianInterval, _Interval

from sdterm.engine import philox
from sdterm.engine.noise import Shape, Source

_DIGITS = 6  # of a sigma, that a tree tells apart


class BrownianNoise:
    """A sampler's `noise(sigma, sigma_next)`: for each image the increment of its motion from sigma to sigma_next,
    scaled to unit variance, float32 [B, C, h, w] on `device`. The motion lives between the smallest non-zero and the
    largest of `sigmas`."""

    def __init__(
        self, seeds: Sequence[int], source: Source, shape: Shape, sigmas: torch.Tensor, device: torch.device
    ) -> None:
        tree = _PhiloxTree if source == "NV" else BrownianInterval
        low, high = sigmas[sigmas > 0].min().item(), sigmas.max().item()
        self._device = device
        self._low, self._high = round(low, _DIGITS), round(high, _DIGITS)
        self._trees = [
            tree(
                low,
                high,
                size=shape,
                dtype=torch.float32,
                device=device if source == "GPU" else torch.device("cpu"),
                entropy=seed,
                # As in torchsde.BrownianTree, which k-diffusion builds:
                tol=10**-_DIGITS,
                pool_size=24,
                halfway_tree=True,
                # Twice torchsde's own: with fewer nodes kept, a step draws half as many again anew.
                cache_size=90,
            )
            for seed in seeds
        ]

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        earlier, later = sorted((self._inside(sigma), self._inside(sigma_next)))
        increments = torch.stack([tree(earlier, later) for tree in self._trees])
        if sigma > sigma_next:
            increments = -increments
        return increments.to(self._device) / (sigma_next - sigma).abs().sqrt()

    def _inside(self, sigma: torch.Tensor) -> float:
        """A tree rounds its ends, and would warn of being asked for the exact ones."""
        return min(max(sigma.item(), self._low), self._high)


class _PhiloxInterval(_Interval):  # type: ignore[misc]  # torchsde has no types
    """A node of a tree whose normals are the first draw of a Philox generator with the node's own seed."""

    _left_child: _Interval
    _right_child: _Interval

    def _randn(self, seed: int) -> torch.Tensor:
        return torch.from_numpy(philox.normal(int(seed), 0, self._top._size))

    def _split_exact(self, midway: float) -> None:
        super()._split_exact(midway)  # makes children that would draw as torchsde does
        self._left_child, self._right_child = (
            _PhiloxInterval(child._start, child._end, self, child._is_left, self._top)
            for child in (self._left_child, self._right_child)
        )


class _PhiloxTree(_PhiloxInterval, BrownianInterval):  # type: ignore[misc]
    """The topmost node, which one asks."""
