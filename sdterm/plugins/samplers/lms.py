"""LMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.polynomial import Polynomial

from sdterm.hooks import Denoise, Noise, Option, Sampler, StepCallback, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch


def linear_multistep_coeff(order: int, t: list[float], i: int, j: int) -> float:
    """The integral, from t[i] to t[i+1], of the Lagrange polynomial that is 1 at t[i-j] and 0 at the other `order`
    latest points. k-diffusion integrates by quadrature; a polynomial has an exact integral."""
    basis = Polynomial([1.0])
    for k in range(order):
        if k != j:
            basis = basis * Polynomial([-t[i - k], 1.0]) / (t[i - j] - t[i - k])
    integral = basis.integ()
    return float(integral(t[i + 1]) - integral(t[i]))


def sample_lms(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    order: int = 4,
) -> torch.Tensor:
    """Linear multistep (Adams-Bashforth with uneven steps) in sigma, of up to `order` earlier slopes; k-diffusion's
    sample_lms."""
    t = sigmas.tolist()
    ds: list[torch.Tensor] = []
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        d = (x - denoised) / sigmas[i]
        ds = [d, *ds][:order]
        callback(i, denoised)
        coeffs = [linear_multistep_coeff(len(ds), t, i, j) for j in range(len(ds))]
        x = x + sum(coeff * d for coeff, d in zip(coeffs, ds, strict=True))
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    order = Option("order", 4, message("How many previous steps are used at most."), 1, 4)
    return [
        Sampler(id="lms", label="LMS", aliases=("k_lms",), sample=sample_lms, models=("vp", "flow"), options=(order,))
    ]
