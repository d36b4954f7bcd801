"""Brownian noise: for SDE solvers, the increments of one Brownian motion per image.

Whatever steps a solver takes, it walks the same path, so that a picture keeps its content when its step count changes.
Follows k-diffusion's BrownianTreeNoiseSampler, on torchsde's Brownian tree with A1111's generators.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec, module_from_spec
from typing import Any

import torch

from sdterm.engine.noise import Shape, Source, generator, noise_device
from sdterm.hooks import Noise
from sdterm.modelling.transfer import sent

_DIGITS = 6  # of a sigma that the tree tells apart


def brownian_noise(
    seeds: Sequence[int], source: Source, shape: Shape, device: torch.device, sigmas: torch.Tensor
) -> Noise:
    """Unit noise of the motion between two sigmas: its increment over the root of their distance, [B, C, h, w].

    The motion of an image is a function of its seed, of `shape` [C, h, w], and of the smallest above 0 and the largest
    of `sigmas`; queries beyond them get what lies between.
    """
    sigma_min, sigma_max = (float(sigma) for sigma in torch.aminmax(sigmas[sigmas > 0]))
    trees = [
        _interval_type(source)(
            sigma_min,
            sigma_max,
            size=shape,
            dtype=torch.float32,
            device=noise_device(source, device),
            entropy=seed,
            # the values of torchsde.BrownianTree, which k-diffusion builds
            tol=10**-_DIGITS,
            pool_size=24,
            halfway_tree=True,
            # Twice torchsde's own: two queries' worth of nodes, so that a step computes a third fewer of them anew.
            cache_size=90,
        )
        for seed in seeds
    ]

    def inside(sigma: torch.Tensor) -> float:
        return min(max(float(sigma), round(sigma_min, _DIGITS)), round(sigma_max, _DIGITS))

    def noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        low, high = sorted((inside(sigma), inside(sigma_next)))
        sign = 1 if sigma < sigma_next else -1
        increments = torch.stack([tree(low, high) for tree in trees]) * sign
        return sent(increments / (sigma_next - sigma).abs().sqrt(), device)

    return noise


@cache
def _interval_type(source: Source) -> Any:
    """torchsde's BrownianInterval, its normal numbers drawn from A1111's generator for the source.

    A1111 replaces torchsde's `_randn` for the whole process. This replaces it in a copy of the module of our own, so
    that no thread and no plugin that uses torchsde notices.
    """
    spec = find_spec("torchsde._brownian.brownian_interval")
    assert spec and spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module._randn = lambda size, dtype, device, seed: generator(int(seed), source, torch.device(device))(size)
    return module.BrownianInterval
