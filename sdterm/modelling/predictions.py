"""What networks predict → the clean latents, as k-diffusion's external.py does it.

Each function makes one call of a network that takes latents [B, C, h, w] in `dtype` and timesteps [B] on their device.
sigma [B] is on the CPU, all equal, so that reading it never waits for a GPU.
"""

from typing import Protocol

import torch

from sdterm.hooks import ModelSampling
from sdterm.modelling.transfer import sent


class Network(Protocol):
    def __call__(self, x: torch.Tensor, t: torch.Tensor, /) -> torch.Tensor: ...


class Prediction(Protocol):
    """How a network's answer is turned into clean latents."""

    def __call__(
        self, network: Network, x: torch.Tensor, sigma: torch.Tensor, sampling: ModelSampling, dtype: torch.dtype
    ) -> torch.Tensor: ...


def from_eps(
    network: Network, x: torch.Tensor, sigma: torch.Tensor, sampling: ModelSampling, dtype: torch.dtype
) -> torch.Tensor:
    """The network predicts the noise (CompVisDenoiser)."""
    s = sigma[0]
    c_out, c_in = -s, 1 / (s**2 + 1) ** 0.5
    return x + _called(network, x * c_in, sigma, sampling, dtype) * c_out


def from_v(
    network: Network, x: torch.Tensor, sigma: torch.Tensor, sampling: ModelSampling, dtype: torch.dtype
) -> torch.Tensor:
    """The network predicts the velocity sqrt(a) noise - sqrt(1 - a) latents (CompVisVDenoiser), unless the sampler's
    levels take whatever it says for noise."""
    if getattr(sampling, "predicts_noise", False):
        return from_eps(network, x, sigma, sampling, dtype)
    s = sigma[0]
    c_skip, c_out, c_in = 1 / (s**2 + 1), -s / (s**2 + 1) ** 0.5, 1 / (s**2 + 1) ** 0.5
    return _called(network, x * c_in, sigma, sampling, dtype) * c_out + x * c_skip


def from_flow(
    network: Network, x: torch.Tensor, sigma: torch.Tensor, sampling: ModelSampling, dtype: torch.dtype
) -> torch.Tensor:
    """The network predicts the way from latents to noise, noise - latents (rectified flow)."""
    return x - _called(network, x, sigma, sampling, dtype) * sigma[0]


def _called(
    network: Network, x: torch.Tensor, sigma: torch.Tensor, sampling: ModelSampling, dtype: torch.dtype
) -> torch.Tensor:
    t = sent(sampling.sigma_to_t(sigma[:1]), x.device).expand(len(x))
    return network(x.to(dtype), t).float()
