"""Noise levels of models."""

import torch

from sdterm.hooks import SamplingOptions


class DiscreteSampling:
    """Of a diffusion model: sigmas of the training timesteps, and the log-linear interpolation between them
    (k-diffusion external.py, DiscreteSchedule).

    alphas_cumprod: [T], float32 or, for A1111's old rounding, float16; sigma = sqrt((1 - a) / a). Everything stays on
    the CPU, so that reading a sigma never waits for a GPU. quantize: there are no timesteps between the trained ones.
    """

    def __init__(self, alphas_cumprod: torch.Tensor, quantize: bool = False) -> None:
        self._quantize = quantize
        sigmas = ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5
        self.sigmas, self.log_sigmas = sigmas.float(), sigmas.log().float()

    @property
    def sigma_min(self) -> float:
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        return self.sigmas[-1].item()

    def sigma_to_t(self, sigma: torch.Tensor) -> torch.Tensor:
        """Timesteps of sigmas [B], fractional unless quantized."""
        log_sigma = sigma.log()
        dists = log_sigma - self.log_sigmas[:, None]
        if self._quantize:
            return dists.abs().argmin(dim=0).view(sigma.shape)
        low_idx = dists.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=self.log_sigmas.shape[0] - 2)
        high_idx = low_idx + 1
        low, high = self.log_sigmas[low_idx], self.log_sigmas[high_idx]
        w = ((low - log_sigma) / (low - high)).clamp(0, 1)
        return ((1 - w) * low_idx + w * high_idx).view(sigma.shape)

    def t_to_sigma(self, t: torch.Tensor) -> torch.Tensor:
        """Sigmas of fractional timesteps."""
        t = t.float()
        low_idx, high_idx, w = t.floor().long(), t.ceil().long(), t.frac()
        return ((1 - w) * self.log_sigmas[low_idx] + w * self.log_sigmas[high_idx]).exp()

    def noise_scaling(self, sigma: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        return latents + noise * sigma


def discrete_sampling(alphas_cumprod: torch.Tensor, options: SamplingOptions) -> DiscreteSampling:
    """The levels of a diffusion model as a request wants them. alphas_cumprod: float32 [T], on the CPU."""
    if options.zero_terminal_snr:  # half precision has no number for its last level
        alphas_cumprod = zero_terminal_snr(alphas_cumprod)
    elif options.downcast_alphas:
        alphas_cumprod = alphas_cumprod.half()
    return DiscreteSampling(alphas_cumprod, options.quantize)


def zero_terminal_snr(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Shifted and scaled so that (next to) no signal is left at the last level and the first stays: Lin et al. 2023,
    "Common diffusion noise schedules and sample steps are flawed", Algorithm 1, with A1111's last value."""
    roots = alphas_cumprod.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    roots = (roots - last) * (first / (first - last))
    rescaled = roots**2
    rescaled[-1] = 4.8973451890853435e-08
    return rescaled


class FlowSampling:
    """Of a rectified-flow model: sigma is how much of the mixture is noise, from 0 to 1, and the network's timestep is
    1000 times as much.

    shift: above 1, levels are denser where there is much noise (Esser et al. 2024, "Scaling rectified flow
    transformers", section 5.3.2).
    """

    def __init__(self, shift: float = 1.0, timesteps: int = 1000) -> None:
        self._timesteps = timesteps
        t = torch.arange(1, timesteps + 1, dtype=torch.float32) / timesteps
        self.sigmas = shift * t / (1 + (shift - 1) * t)

    @property
    def sigma_min(self) -> float:
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        return self.sigmas[-1].item()

    def sigma_to_t(self, sigma: torch.Tensor) -> torch.Tensor:
        return sigma * self._timesteps

    def t_to_sigma(self, t: torch.Tensor) -> torch.Tensor:
        return t / self._timesteps

    def noise_scaling(self, sigma: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        return (1 - sigma) * latents + sigma * noise
