"""ER-SDE solvers: Cui et al. 2023, "Elucidating the solution space of extended reverse-time SDE for diffusion models"
(arXiv 2309.06169), with the data prediction and the paper's noise scale ER-SDE 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Option, Sampler, StepCallback, hookimpl

if TYPE_CHECKING:
    import torch

_NODES = 32  # of the quadrature; the paper's code sums 200 rectangles


def phi(sigma: torch.Tensor, ode: bool) -> torch.Tensor:
    """The noise scale: ER-SDE 5 (equation 20 of the paper), or the probability-flow ODE's, which adds no noise."""
    return sigma if ode else sigma * ((sigma**0.3).exp() + 10)


def sample_er_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    order: int = 3,
    s_noise: float = 1.0,
    ode: bool = False,
) -> torch.Tensor:
    """Algorithm 2 (VE ER-SDE-Solver-3) of the paper, of lower order in the first steps. With x0' and x0'' as divided
    differences of the last predictions and s → t one step down:

    x_t = r x_s + (1 - r) x0 + (t - s + phi(t) I0) x0' + ((t - s)^2 / 2 + phi(t) I1) x0'' + sqrt(t^2 - r^2 s^2) z,
    r = phi(t) / phi(s), I0 = integral of 1 / phi, I1 = integral of (v - s) / phi(v), both over v from t to s.
    """
    levels = sigmas.double()  # of coefficients, that is: as Python's numbers they leave the latents float32
    d1 = d1_before = x0_before = None
    for i in range(len(sigmas) - 1):
        s, t = levels[i], levels[i + 1]
        x0 = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, x0)
        if t == 0:
            return x0
        if x0_before is not None:
            d1 = (x0 - x0_before) / float(s - levels[i - 1])
        r = phi(t, ode) / phi(s, ode)
        x = float(r) * x + float(1 - r) * x0
        i0, i1 = _integrals(s, t, ode)
        if d1 is not None and order >= 2:
            x = x + float(t - s + phi(t, ode) * i0) * d1
        if d1 is not None and d1_before is not None and order >= 3:
            d2 = (d1 - d1_before) / float((s - levels[i - 2]) / 2)
            x = x + float((t - s) ** 2 / 2 + phi(t, ode) * i1) * d2
        if not ode and s_noise > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * float((t**2 - (r * s) ** 2).clamp(min=0).sqrt() * s_noise)
        x0_before, d1_before = x0, d1
    return x


def _integrals(s: torch.Tensor, t: torch.Tensor, ode: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """I0 and I1 by Gauss and Legendre's quadrature over ln v, where 1 / phi is smooth."""
    import numpy as np
    import torch

    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(_NODES))
    low, high = t.log(), s.log()
    v = ((high - low) / 2 * nodes + (high + low) / 2).exp()
    weights = weights * v * (high - low) / 2 / phi(v, ode)
    return weights.sum(), (weights * (v - s)).sum()


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="er_sde",
            label="ER SDE",
            sample=sample_er_sde,
            default_scheduler="Exponential",
            options=(
                Option("order", 3, "Of the solver.", 1, 3),
                Option("s_noise", 1.0, "How strong the fresh noise is.", 0, 2, "Sigma noise"),
                Option("ode", False, "Add no noise: follow the ODE."),
            ),
        )
    ]
