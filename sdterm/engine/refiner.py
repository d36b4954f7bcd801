"""When a pass goes over to its refiner. Source: A1111 sd_samplers_common.apply_refiner."""

from dataclasses import dataclass

import torch

from sdterm.core.planning.plan import RefinerPlan
from sdterm.hooks import ModelSampling

_LAST, _ALL = 999, 1000  # A1111's timesteps, whatever the model's
_NEAR = 0.01  # of a timestep, that numbers computed back from a sigma may be short of it


@dataclass(frozen=True)
class Handover:
    """calls: planned for the pass; counts_timesteps: as A1111 does for samplers on variance-preserving latents, where
    others look for the nearest of the model's sigmas."""

    plan: RefinerPlan
    levels: ModelSampling
    calls: int
    counts_timesteps: bool

    def is_due(self, call: int, sigma: float) -> bool:
        """Whether the refiner makes this call. Once it has begun it makes all others, too."""
        if self.plan.by_steps:
            return call / self.calls >= self.plan.switch_at
        level = torch.tensor(sigma)
        if self.counts_timesteps:
            timestep = int(self.levels.sigma_to_t(level[None])[0] + _NEAR)
        else:
            timestep = int((self.levels.sigmas - level).abs().argmin())
        return (_LAST - timestep) / _ALL >= self.plan.switch_at
