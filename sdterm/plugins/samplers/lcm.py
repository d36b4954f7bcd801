"""LCM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, ModelSampling, Noise, Sampler, StepCallback, hookimpl

if TYPE_CHECKING:
    import torch

_ORIGINAL_STEPS = 50  # of the solver that a latent consistency model is distilled from
_SIGMA_DATA, _TIMESTEP_SCALE = 0.5, 10.0


@dataclass(frozen=True)
class LCMSampling:
    """The 50 noise levels that a latent consistency model knows; A1111's LCMCompVisDenoiser."""

    sigmas: torch.Tensor
    """float32 [50], ascending."""
    skip: int
    """Training timesteps from one to the next; the first is skip - 1."""
    predicts_noise: bool = True
    """Whatever the model was trained to predict, as in A1111."""

    @property
    def sigma_min(self) -> float:
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        return self.sigmas[-1].item()

    def sigma_to_t(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest known timesteps to sigmas [B]; there is none between them."""
        nearest = (sigma.log() - self.sigmas.log()[:, None]).abs().argmin(dim=0)
        return nearest.view(sigma.shape) * self.skip + (self.skip - 1)

    def t_to_sigma(self, t: torch.Tensor) -> torch.Tensor:
        position = ((t - (self.skip - 1)) / self.skip).float().clamp(0, len(self.sigmas) - 1)
        low, high, w = position.floor().long(), position.ceil().long(), position.frac()
        log_sigmas = self.sigmas.log()
        return ((1 - w) * log_sigmas[low] + w * log_sigmas[high]).exp()

    def noise_scaling(self, sigma: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        return latents + noise * sigma


def lcm_sampling(sampling: ModelSampling) -> LCMSampling:
    skip = len(sampling.sigmas) // _ORIGINAL_STEPS
    return LCMSampling(sampling.sigmas[skip - 1 :: skip], skip)


def sample_lcm(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    sampling: ModelSampling,
) -> torch.Tensor:
    """Multistep consistency sampling: Algorithm 3 of Luo et al. 2023, "Latent consistency models: synthesizing
    high-resolution images with few-step inference". c_skip and c_out are its boundary condition."""
    for i in range(len(sigmas) - 1):
        predicted = denoise(x, sigmas[i].expand(len(x))).x0
        t = sampling.sigma_to_t(sigmas[i : i + 1])[0] * _TIMESTEP_SCALE
        c_skip = _SIGMA_DATA**2 / (t**2 + _SIGMA_DATA**2)
        c_out = t / (t**2 + _SIGMA_DATA**2) ** 0.5
        denoised = c_out * predicted + c_skip * x
        callback(i, denoised)
        x = denoised
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * noise(sigmas[i], sigmas[i + 1])
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [Sampler(id="lcm", label="LCM", aliases=("k_lcm",), sample=sample_lcm, sampling=lcm_sampling)]
