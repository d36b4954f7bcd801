"""Every scheduler of diffusers that can denoise a model predicting noise, as a sampler. What diffusers calls a
scheduler is both: the grid of noise levels, and the step from one to the next."""

from __future__ import annotations

import hashlib
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Denoise, ModelSampling, Noise, Sampler, StepCallback, hookimpl

from .offered import OFFERED, Offered

if TYPE_CHECKING:
    import torch


def make(offered: Offered, steps: int, sampling: ModelSampling) -> Any:
    """The scheduler, on the model's own noise levels: those of diffusers' options that it knows are set as its
    pipelines for Stable Diffusion set them."""
    import inspect

    from diffusers import schedulers

    kind = getattr(schedulers, offered.scheduler)
    kept = 1 / (1 + sampling.sigmas.double() ** 2)  # "alphas_cumprod", from the definition of sigma
    betas = 1 - kept / kept.roll(1).index_fill_(0, kept.new_zeros(1).long(), 1)
    wanted = {
        "num_train_timesteps": len(betas),
        "trained_betas": betas.tolist(),
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "thresholding": False,
        "skip_prk_steps": True,
    }
    known = inspect.signature(kind.__init__).parameters
    scheduler = kind(**{name: value for name, value in wanted.items() if name in known} | dict(offered.config))
    more = {"original_inference_steps": max(50, steps)} if offered.distilled else {}
    scheduler.set_timesteps(steps, **more)
    return scheduler


def sigma_of(scheduler: Any, t: torch.Tensor, sampling: ModelSampling) -> torch.Tensor:
    """float32 [1]: the noise level of the scheduler's next call. What it works on tells: it scales the network's input
    by 1 / sqrt(1 + sigma^2) if that is the signal with noise added, and leaves it alone if the variance is one."""
    import torch

    scale = scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), t)
    if scale.item() == 1:
        return sampling.t_to_sigma(t.reshape(1).float().cpu())
    sigma: torch.Tensor = (1 / scale.cpu() ** 2 - 1).sqrt().float()
    return sigma


def own_sigmas(steps: int, sampling: ModelSampling, *, offered: Offered) -> torch.Tensor:
    """The noise levels of each step's first call, then 0."""
    import torch

    scheduler = make(offered, steps, sampling)
    levels = []
    for call, t in enumerate(scheduler.timesteps):
        scheduler._step_index = call  # as if it had stepped
        if call % offered.calls == 0:
            levels.append(sigma_of(scheduler, t, sampling))
    return torch.cat([*levels, torch.zeros(1)])


def sample(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    sampling: ModelSampling,
    offered: Offered,
) -> torch.Tensor:
    """Step through the scheduler's own timesteps. x is pure noise, which each scheduler scales as it wants."""
    scheduler = make(offered, len(sigmas) - 1 - offered.extra_steps, sampling)
    x = x * float(scheduler.init_noise_sigma)
    more = {}
    if offered.draws == "generator":
        more["generator"] = generators(noise(sigmas[0], sigmas[-1]))
    elif offered.draws == "seed":
        (generator,) = generators(noise(sigmas[0], sigmas[-1]))
        scheduler.noise_sampler_seed = generator.initial_seed()
    for call, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t)
        sigma = sigma_of(scheduler, t, sampling)
        noisy = scaled * (1 + float(sigma) ** 2) ** 0.5
        x0 = denoise(noisy, sigma.expand(len(x))).x0
        if call % offered.calls == 0:
            callback(call // offered.calls, x0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchsde tells every rounding of a noise level
            x = scheduler.step((noisy - x0) / float(sigma), t, x, **more).prev_sample
    return x.to(noisy.dtype)


def generators(noise: torch.Tensor) -> list[torch.Generator]:
    """A generator for each image, seeded by noise of its own: schedulers draw their noise themselves."""
    import torch

    made = []
    for image in noise:
        content = image.float().cpu().numpy().tobytes()
        seed = int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big")
        made.append(torch.Generator().manual_seed(seed))
    return made


def as_it_is(sampling: ModelSampling) -> ModelSampling:
    """The model's noise levels. Declared, so that `sample` is given them."""
    return sampling


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id=f"diffusers_{name}",
            label=f"Diffusers {offered.label}",
            sample=partial(sample, offered=offered),
            calls_per_step=offered.calls,
            grid="own",
            own_sigmas=partial(own_sigmas, offered=offered),
            start="unit",
            sampling=as_it_is,
            batch_coupled=offered.draws == "seed",
        )
        for name, offered in OFFERED.items()
    ]
