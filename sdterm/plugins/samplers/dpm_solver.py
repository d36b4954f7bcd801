"""DPM fast and DPM adaptive: DPM-Solver-3 on a fixed number of calls, and with a controlled step size.

Lu et al. 2022, "DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling in around 10 steps", with
ancestral noise; k-diffusion's DPMSolver. Times are t = -log(sigma). Both take the model's own range of sigmas, and end
at its smallest one, not at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Denoised, ModelSampling, Noise, Option, Sampler, StepCallback, Tail, hookimpl
from sdterm.messages import message
from sdterm.plugins.samplers.euler import ETA, S_NOISE, ancestral_step

if TYPE_CHECKING:
    import torch


def model_range(steps: int, sampling: ModelSampling) -> torch.Tensor:
    """`steps` equal steps in t over the model's sigmas: where progress is told; the solver chooses its own."""
    return _even(steps, sampling.sigma_max, sampling.sigma_min)


def schedule_range(steps: int, kept: int, sampling: ModelSampling, schedule: torch.Tensor) -> Tail:
    """The same from an image: over the scheduler's last steps but the one to 0."""
    left = schedule[-kept - 2 :]
    return Tail(left[0], _even(len(left) - 1, left[0].item(), left[-2].item()))


def _even(steps: int, first: float, last: float) -> torch.Tensor:
    import torch

    sigmas = torch.linspace(-math.log(first), -math.log(last), steps + 1).neg().exp()
    sigmas[0], sigmas[-1] = first, last
    return sigmas


@dataclass
class _Slopes:
    """The slopes (predicted noise) of one step. They are shared by its formulas of different order."""

    denoise: Denoise
    x: torch.Tensor
    t: torch.Tensor
    denoised: torch.Tensor = field(init=False)
    eps: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._known: dict[float, torch.Tensor] = {}
        self.denoised = self.denoise(self.x, _sigma(self.t).expand(len(self.x))).x0
        self.eps = (self.x - self.denoised) / _sigma(self.t)

    def step_1(self, t_next: torch.Tensor) -> torch.Tensor:
        h = t_next - self.t
        return self.x - _sigma(t_next) * h.expm1() * self.eps

    def step_2(self, t_next: torch.Tensor, r1: float = 1 / 2) -> torch.Tensor:
        h = t_next - self.t
        eps_r1 = self._eps_r1(h, r1)
        return (
            self.x - _sigma(t_next) * h.expm1() * self.eps - _sigma(t_next) / (2 * r1) * h.expm1() * (eps_r1 - self.eps)
        )

    def step_3(self, t_next: torch.Tensor, r1: float = 1 / 3, r2: float = 2 / 3) -> torch.Tensor:
        h = t_next - self.t
        eps_r1 = self._eps_r1(h, r1)
        s2 = self.t + r2 * h
        u2 = (
            self.x
            - _sigma(s2) * (r2 * h).expm1() * self.eps
            - _sigma(s2) * (r2 / r1) * ((r2 * h).expm1() / (r2 * h) - 1) * (eps_r1 - self.eps)
        )
        eps_r2 = self._slope(u2, s2)
        return (
            self.x
            - _sigma(t_next) * h.expm1() * self.eps
            - _sigma(t_next) / r2 * (h.expm1() / h - 1) * (eps_r2 - self.eps)
        )

    def _eps_r1(self, h: torch.Tensor, r1: float) -> torch.Tensor:
        if r1 not in self._known:
            s1 = self.t + r1 * h
            u1 = self.x - _sigma(s1) * (r1 * h).expm1() * self.eps
            self._known[r1] = self._slope(u1, s1)
        return self._known[r1]

    def _slope(self, u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return (u - self.denoise(u, _sigma(s).expand(len(u))).x0) / _sigma(s)


def _sigma(t: torch.Tensor) -> torch.Tensor:
    return t.neg().exp()


def _ancestral(
    t: torch.Tensor, t_next: torch.Tensor, t_end: torch.Tensor, eta: float
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """(the time to step to, how much noise to add there to be at t_next)."""
    if not eta:
        return t_next, 0.0
    sd, _ = ancestral_step(_sigma(t), _sigma(t_next), eta)
    t_next_ = sd.log().neg().minimum(t_end)
    return t_next_, (_sigma(t_next) ** 2 - _sigma(t_next_) ** 2) ** 0.5


def sample_dpm_fast(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """DPM-Solver-fast: as many calls as steps, in steps of order 3 and what remains; k-diffusion's sample_dpm_fast."""
    import torch

    nfe = len(sigmas) - 1
    t_end = sigmas[-1].log().neg()
    m = nfe // 3 + 1
    orders = [*[3] * (m - 2), 2, 1] if nfe % 3 == 0 else [*[3] * (m - 1), nfe % 3]
    ts = torch.linspace(sigmas[0].log().neg().item(), t_end.item(), m + 1)
    calls = 0

    def counted(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        nonlocal calls
        denoised = denoise(x, sigma)
        callback(calls, denoised.x0)
        calls += 1
        return denoised

    for i, order in enumerate(orders):
        t, t_next = ts[i], ts[i + 1]
        t_next_, su = _ancestral(t, t_next, t_end, eta)
        slopes = _Slopes(counted, x, t)
        x = (slopes.step_1, slopes.step_2, slopes.step_3)[order - 1](t_next_)
        if eta:
            x = x + su * s_noise * noise(_sigma(t), _sigma(t_next))
    return x


@dataclass
class StepSize:
    """A PID controller of the step size h, for a solver of that order; k-diffusion's PIDStepSizeController."""

    h: float
    order: float
    pcoeff: float = 0.0
    icoeff: float = 1.0
    dcoeff: float = 0.0
    accept_safety: float = 0.81
    inverse_errors: list[float] = field(default_factory=list)

    def accepts(self, error: float) -> bool:
        """Whether a step with that error (1 is just tolerable) stands; h changes either way."""
        inv_error = 1 / (error + 1e-8)
        e = self.inverse_errors = [inv_error, *(self.inverse_errors[1:] or [inv_error, inv_error])]
        p, i, d = self.pcoeff, self.icoeff, self.dcoeff
        factor = e[0] ** ((p + i + d) / self.order) * e[1] ** (-(p + 2 * d) / self.order) * e[2] ** (d / self.order)
        factor = 1 + math.atan(factor - 1)
        accept = factor >= self.accept_safety
        if accept:
            self.inverse_errors = [e[0], e[0], e[1]]
        self.h *= factor
        return accept


def sample_dpm_adaptive(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
    rtol: float = 0.05,
    atol: float = 0.0078,
) -> torch.Tensor:
    """DPM-Solver-12/23 with adaptive step size: each step by orders 2 and 3, and again if they disagree by more than
    the tolerance; k-diffusion's sample_dpm_adaptive. `sigmas` only mark where progress is told."""
    import torch

    s, t_end = sigmas[0].log().neg(), sigmas[-1].log().neg()
    marks = sigmas.log().neg().tolist()
    passed = 0
    size = StepSize(0.05, order=1.5 if eta else 3.0)
    x_prev = x
    while s < t_end - 1e-5:
        t = torch.minimum(t_end, s + size.h)
        t_, su = _ancestral(s, t, t_end, eta)
        slopes = _Slopes(denoise, x, s)
        x_low, x_high = slopes.step_2(t_, r1=1 / 3), slopes.step_3(t_)
        delta = torch.maximum(torch.tensor(atol), rtol * torch.maximum(x_low.abs(), x_prev.abs()))
        error = torch.linalg.norm((x_low - x_high) / delta) / x.numel() ** 0.5
        if size.accepts(float(error)):
            x_prev = x_low
            x = x_high
            if eta:
                x = x + su * s_noise * noise(_sigma(s), _sigma(t))
            s = t
        while passed < len(sigmas) - 1 and s >= marks[passed + 1] - 1e-5:
            callback(passed, slopes.denoised)
            passed += 1
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="dpm_fast",
            label="DPM fast",
            aliases=("k_dpm_fast",),
            sample=sample_dpm_fast,
            grid="own",
            own_sigmas=model_range,
            own_tail=schedule_range,
            options=(ETA, S_NOISE),
        ),
        Sampler(
            id="dpm_adaptive",
            label="DPM adaptive",
            aliases=("k_dpm_ad",),
            sample=sample_dpm_adaptive,
            grid="own",
            own_sigmas=model_range,
            own_tail=schedule_range,
            batch_coupled=True,  # one error for all of them
            options=(
                ETA,
                S_NOISE,
                Option("rtol", 0.05, message("The relative error allowed in a step."), 0.0001, 1.0),
                Option("atol", 0.0078, message("The absolute error allowed in a step."), 0.0001, 1.0),
            ),
        ),
    ]
