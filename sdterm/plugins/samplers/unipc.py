"""UniPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, ModelSampling, Noise, Option, PluginError, Sampler, StepCallback, Tail, hookimpl
from sdterm.messages import message
from sdterm.plugins.samplers.ddim import ddim_sigmas

if TYPE_CHECKING:
    import torch

_SHORTEST = 3  # steps; with fewer, A1111 fails
_SKIP_TYPES = ("time_uniform", "time_quadratic", "logSNR")


def unipc_sigmas(steps: int, sampling: ModelSampling) -> torch.Tensor:
    """As many steps, even in time from the last timestep to the first, as DDIM has timesteps."""
    if steps < _SHORTEST:
        raise PluginError(
            message("UniPC needs at least {least} steps, not {steps}: increase the steps", least=_SHORTEST, steps=steps)
        )
    return _even(len(sampling.sigmas) - 1, len(ddim_sigmas(steps, sampling)), sampling)


def unipc_tail(steps: int, kept: int, sampling: ModelSampling, schedule: torch.Tensor) -> Tail:
    """`kept` steps, even in time from the timestep of DDIM's tail."""
    if kept < _SHORTEST:
        raise PluginError(
            message(
                "UniPC needs at least {least} steps, but the denoising strength leaves {kept} of {steps}: "
                "increase the steps or the denoising strength",
                least=_SHORTEST,
                kept=kept,
                steps=steps,
            )
        )
    sigmas = ddim_sigmas(steps, sampling)
    return Tail(sigmas[-1 - kept], _even(int((sampling.sigmas < sigmas[-kept]).sum()), kept, sampling))


def _even(timestep: int, steps: int, sampling: ModelSampling) -> torch.Tensor:
    """The sigmas of steps that are even in time from a timestep to the first."""
    import torch

    return _at(torch.linspace(timestep, 0, steps + 1), sampling)


def _at(t: torch.Tensor, sampling: ModelSampling) -> torch.Tensor:
    """The sigmas of timesteps between the trained ones, too. log(alpha) is interpolated (the authors' NoiseScheduleVP),
    not log(sigma)."""
    log_alphas = -0.5 * (1 + sampling.sigmas.double() ** 2).log()
    low, high, w = t.floor().long(), t.ceil().long(), t.frac()
    log_alpha = (1 - w) * log_alphas[low] + w * log_alphas[high]
    return (((-2 * log_alpha).exp() - 1) ** 0.5).float()


def _spaced(sigmas: torch.Tensor, skip_type: str, sampling: ModelSampling) -> torch.Tensor:
    """As many sigmas from the first to the last, spaced otherwise (the authors' get_time_steps): quadratic in time, or
    even in the logarithm of the signal-to-noise ratio."""
    import torch

    if skip_type == "logSNR":
        return torch.linspace(sigmas[0].log().item(), sigmas[-1].log().item(), len(sigmas)).exp()
    # their time is 1 at the last timestep, and never 0
    last = len(sampling.sigmas)
    first, end = ((sampling.sigma_to_t(sigma.view(1)).item() + 1) / last for sigma in (sigmas[0], sigmas[-1]))
    t = torch.linspace(first**0.5, end**0.5, len(sigmas), dtype=torch.float64) ** 2
    return _at((t * last - 1).clamp(0, last - 1), sampling)


def sample_unipc(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    sampling: ModelSampling,
    variant: str = "bh1",
    skip_type: str = "time_uniform",
    order: int = 3,
    lower_order_final: bool = True,
) -> torch.Tensor:
    """Algorithms 5 to 8 of Zhao et al. 2023, "UniPC: a unified predictor-corrector framework for fast sampling of
    diffusion models", predicting data, on variance-preserving latents. It ends at the last sigma without a call."""
    if variant not in ("bh1", "bh2"):
        raise PluginError(message("UniPC has the variants bh1 and bh2, but not '{variant}'", variant=variant))
    if skip_type != "time_uniform":
        sigmas = _spaced(sigmas, skip_type, sampling)
    steps = len(sigmas) - 1
    alphas = 1 / (1 + sigmas**2) ** 0.5

    def predicted(x: torch.Tensor, i: int) -> torch.Tensor:
        return denoise(x / alphas[i], sigmas[i].expand(len(x))).x0

    x0s = [predicted(x, 0)]  # predictions, latest first
    callback(0, x0s[0])
    for i in range(1, steps + 1):
        step_order = min(order, i, steps + 1 - i if lower_order_final else order)
        rks, rhos_p, rhos_c, h_phi_1, b_h = _coefficients(sigmas, i, step_order, variant)
        d1s = [(x0 - x0s[0]) / rk for x0, rk in zip(x0s[1:step_order], rks, strict=True)]
        base = (alphas[i] * sigmas[i]) / (alphas[i - 1] * sigmas[i - 1]) * x - alphas[i] * h_phi_1 * x0s[0]
        predictor = sum(rho * d1 for rho, d1 in zip(rhos_p, d1s, strict=True))
        x = base - alphas[i] * b_h * predictor
        if i == steps:
            break
        x0 = predicted(x, i)
        callback(i, x0)
        corrector = sum(rho * d1 for rho, d1 in zip(rhos_c[:-1], d1s, strict=True)) + rhos_c[-1] * (x0 - x0s[0])
        x = base - alphas[i] * b_h * corrector
        x0s = [x0, *x0s][:order]
    return x


def _coefficients(
    sigmas: torch.Tensor, i: int, order: int, variant: str
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the step to sigmas[i]: (distances of earlier predictions, predictor's weights, corrector's weights, h phi_1,
    B(h)), from the equations (R)(rho) = b of section 3.2. Times are lambda = -log(sigma)."""
    import torch

    lambdas = sigmas.log().neg()
    h = lambdas[i] - lambdas[i - 1]
    rks = [(lambdas[i - 1 - k] - lambdas[i - 1]) / h for k in range(1, order)]
    hh = -h
    h_phi_1 = torch.expm1(hh)
    b_h = hh if variant == "bh1" else h_phi_1
    h_phi_k = h_phi_1 / hh - 1
    factorial = 1
    rows, b = [], []
    points = torch.stack([*rks, torch.ones(())])
    for k in range(1, order + 1):
        rows.append(points ** (k - 1))
        b.append(h_phi_k * factorial / b_h)
        factorial *= k + 1
        h_phi_k = h_phi_k / hh - 1 / factorial
    matrix, right = torch.stack(rows), torch.stack(b)
    half = torch.tensor([0.5])
    if order == 1:
        return rks, right[:0], half, h_phi_1, b_h
    predictor = half if order == 2 else torch.linalg.solve(matrix[:-1, :-1], right[:-1])
    return rks, predictor, torch.linalg.solve(matrix, right), h_phi_1, b_h


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="unipc",
            label="UniPC",
            aliases=("unipc",),
            sample=sample_unipc,
            grid="own",
            own_sigmas=unipc_sigmas,
            own_tail=unipc_tail,
            start="unit",
            sampling=lambda sampling: sampling,
            options=(
                Option(
                    "variant",
                    "bh1",
                    message("How each step is weighted."),
                    infotext="UniPC variant",
                    a1111="uni_pc_variant",
                    choices=("bh1", "bh2"),
                ),
                Option(
                    "skip_type",
                    "time_uniform",
                    message(
                        "How steps are spaced: evenly in time, in time squared, or in the logarithm of signal to noise."
                    ),
                    infotext="UniPC skip type",
                    a1111="uni_pc_skip_type",
                    choices=_SKIP_TYPES,
                ),
                Option(
                    "order",
                    3,
                    message("How many predictions a step uses at most."),
                    1,
                    3,
                    "UniPC order",
                    "uni_pc_order",
                ),
                Option(
                    "lower_order_final",
                    True,
                    message("Use fewer predictions in the last steps."),
                    infotext="UniPC lower order final",
                    a1111="uni_pc_lower_order_final",
                ),
            ),
        )
    ]
