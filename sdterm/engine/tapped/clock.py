"""The step clock: which step of how many a pipeline is at, told by its schedulers."""

from dataclasses import dataclass
from typing import Any

import torch

from sdterm.modelling.pipelines.latents import own_prediction


@dataclass(frozen=True)
class Stepped:
    """A step of a scheduler, as a preview is made from it."""

    scheduler: Any
    output: torch.Tensor
    """The denoiser's guided prediction."""
    timestep: Any
    sample: torch.Tensor
    """What it was given: noisy latents."""
    previous: torch.Tensor
    """What it gave: latents with less noise."""
    index: int | None
    """Of the scheduler's noise levels, where it counts them."""
    clean: torch.Tensor | None = None
    """The latents without noise, where the scheduler says what it takes for them."""


class Clock:
    """Counts steps. A scheduler of second order is called twice a step, less one."""

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self._calls = 0
        self._before = 0  # steps of the schedulers before, of a pipeline that has several
        self._scheduler: Any = None
        self._all_calls = 0  # that this scheduler will get

    @property
    def step(self) -> int:
        """Steps that are done, or of second order under way."""
        return self._before - (-self._calls // self._order)

    @property
    def steps(self) -> int:
        """How many there will be, as far as it is known."""
        if self._scheduler is None:
            return self._planned
        return self._before - (-self._all_calls // self._order)

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, as far as it is known."""
        return self._scheduler is not None and self._calls >= self._all_calls

    def tick(self, scheduler: Any, timestep: Any) -> bool:
        """A step of a scheduler is done. Returns whether it was the first or only call of it."""
        if scheduler is not self._scheduler:
            self._before = self.step if self._scheduler is not None else 0
            self._scheduler, self._calls = scheduler, 0
            self._all_calls = _left(scheduler, timestep)
        before, self._calls = self.step, self._calls + 1
        return self.step > before

    @property
    def _order(self) -> int:
        return max(1, int(getattr(self._scheduler, "order", 1)))


def _left(scheduler: Any, timestep: Any) -> int:
    """How many timesteps there are from this one on: an image to begin with costs the first ones."""
    timesteps = torch.as_tensor(scheduler.timesteps).detach().cpu().flatten()
    here = torch.as_tensor(timestep).detach().cpu().flatten()[:1].to(timesteps.dtype)
    found = (timesteps == here).nonzero().flatten()
    return len(timesteps) - (int(found[0]) if len(found) else 0)


def stepped(scheduler: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, gave: Any) -> Stepped:
    """A step that is done."""
    previous = gave[0] if isinstance(gave, tuple) else gave.prev_sample
    index = getattr(scheduler, "step_index", None)
    at = None if index is None else int(index) - 1
    return Stepped(scheduler, output, timestep, sample, previous, at, own_prediction(gave))
