"""Where a pass starts that begins with latents rather than with pure noise: how much of the way down it goes, and what
it hands the sampler. Follows A1111's setup_img2img_steps and its samplers' sample_img2img."""

from typing import NamedTuple

import torch

from sdterm.hooks import ModelSampling, Sampler, Tail

_MOST = 0.999  # a strength of 1 would leave no step out, and A1111 counts from the last one left out


class Cut(NamedTuple):
    """How much of a way down the noise levels is left."""

    steps: int
    """Of the whole way; 0: none of it is gone, and the latents stay as they are."""
    kept: int
    """Of its levels at the end, so many are below the one at which noise is mixed in, the clean end aside."""


def cut(steps: int, strength: float, *, exactly: bool = False) -> Cut:
    """`steps` steps at a denoising strength: of a way of that many the last ones, or, exactly, as many of a longer
    way."""
    if not exactly:
        return Cut(steps, int(min(strength, _MOST) * steps))
    return Cut(int(steps / min(strength, _MOST)) if strength > 0 else 0, steps - 1)


def tail(sigmas: torch.Tensor, kept: int) -> Tail:
    """The end of a whole way [steps + 1]: kept + 1 steps."""
    left = sigmas[max(len(sigmas) - kept - 2, 0) :]
    return Tail(left[0], left)


def begun(
    latents: torch.Tensor,
    noise: torch.Tensor,
    level: torch.Tensor,
    sampler: Sampler,
    sampling: ModelSampling,
    *,
    extra_noise: float = 0.0,
) -> torch.Tensor:
    """What a pass that begins with latents [B, C, h, w] hands the sampler: unit noise mixed in at the sigma `level`,
    and of the same noise so much more."""
    if sampler.start == "unit":
        signal = (1 / (1 + level**2)) ** 0.5
        x = latents * signal + noise * (1 - signal**2) ** 0.5
        return x + noise * extra_noise * signal if extra_noise else x
    x = sampling.noise_scaling(level, noise, latents)
    return x + noise * extra_noise if extra_noise else x
