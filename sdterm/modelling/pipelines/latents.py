"""What lies in a pipeline's latents while it steps: as a picture's, and without its noise."""

from __future__ import annotations

import inspect
from typing import Any

import torch

_ROW = ("latents", "height", "width", "vae_scale_factor", "patch_size")


def unpacked(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor | None:
    """Latents as a pipeline steps them → `[B, C, h, w]`, as its VAE knows them up to a scale per channel; None where
    nobody knows how they lie. Patches that nobody takes apart stay whole, with all channels. width, height: of the
    picture, in pixels."""
    if latents.ndim == 5:
        return latents[:, :, 0]
    if latents.ndim == 4:
        return latents
    if latents.ndim != 3:
        return None
    if hasattr(pipeline, "_unpack_latents"):
        return unpacked(pipeline, _by_name(pipeline, pipeline._unpack_latents, latents, width, height), width, height)
    laid = _laid(latents, width, height, 2 * getattr(pipeline, "vae_scale_factor", 8))
    return laid if laid is None or not hasattr(pipeline, "_unpatchify_latents") else _unpatched(pipeline, laid)


def _by_name(pipeline: Any, unpack: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Pipelines differ in what they take: each is given what it names."""
    known = {"latents": latents, "width": width, "height": height}
    more = {name: getattr(pipeline, name) for name in _ROW if hasattr(pipeline, name)}
    taken = inspect.signature(unpack).parameters
    found: torch.Tensor = unpack(**{name: value for name, value in (more | known).items() if name in taken})
    return found


def _laid(latents: torch.Tensor, width: int, height: int, cell: int) -> torch.Tensor | None:
    """A sequence of patches in rows, as they lie in the picture; None where they are not one for each cell."""
    rows, columns = height // cell, width // cell
    batch, count, channels = latents.shape
    return latents.transpose(1, 2).reshape(batch, channels, rows, columns) if rows * columns == count else None


def _unpatched(pipeline: Any, laid: torch.Tensor) -> torch.Tensor:
    """Patches of 2x2 cells as the VAE has them."""
    if (norm := getattr(getattr(pipeline, "vae", None), "bn", None)) is not None:
        mean, variance = (each.view(1, -1, 1, 1).to(laid) for each in (norm.running_mean, norm.running_var))
        laid = laid * (variance + norm.eps).sqrt() + mean
    found: torch.Tensor = pipeline._unpatchify_latents(laid)
    return found


def cleaned(
    scheduler: Any, output: torch.Tensor, timestep: Any, sample: torch.Tensor, index: int | None
) -> torch.Tensor | None:
    """What a scheduler's step took the clean latents for; None where that is not known. output, timestep, sample: what
    `step` was given; index: of the noise level that it was made at, where the scheduler counts them."""
    if output.ndim == 4 and output.shape[1] == 2 * sample.shape[1]:
        output = output[:, : sample.shape[1]]  # the others are variances
    if output.shape != sample.shape:
        return None
    x, y, predicted, sigma = sample.float(), output.float(), _predicted(scheduler), _sigma(scheduler, index)
    if predicted == "sample":
        return y
    if predicted == "flow_prediction":
        return None if sigma is None else x - sigma * y
    if predicted not in ("epsilon", "v_prediction") or (levels := _levels(scheduler, sigma, timestep)) is None:
        return None
    signal, noise, scale = levels
    unit = x * scale
    return (unit - noise * y) / signal if predicted == "epsilon" else signal * unit - noise * y


def own_prediction(stepped: Any) -> torch.Tensor | None:
    """The clean latents of a step that says them itself, as some do also in the tuple that pipelines ask for."""
    found = stepped[1] if isinstance(stepped, tuple) and len(stepped) > 1 else None
    found = getattr(stepped, "pred_original_sample", found)
    return found if isinstance(found, torch.Tensor) else None


def _predicted(scheduler: Any) -> str:
    if (said := scheduler.config.get("prediction_type")) is not None:
        return str(said)
    return "flow_prediction" if "FlowMatch" in type(scheduler).__name__ else ""


def _sigma(scheduler: Any, index: int | None) -> torch.Tensor | None:
    """The noise level of a step; None for schedulers that have timesteps alone."""
    sigmas = getattr(scheduler, "sigmas", None)
    return (
        sigmas[index] if isinstance(sigmas, torch.Tensor) and index is not None and 0 <= index < len(sigmas) else None
    )


def _levels(
    scheduler: Any, sigma: torch.Tensor | None, timestep: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float] | None:
    """How much signal and noise is in latents of unit variance, and what makes the scheduler's such latents."""
    if sigma is not None and hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
        return (*scheduler._sigma_to_alpha_sigma_t(sigma), 1.0)
    if sigma is not None:
        signal = (1 + sigma**2).rsqrt()
        return signal, sigma * signal, signal
    if (kept := getattr(scheduler, "alphas_cumprod", None)) is None:
        return None
    share = kept[int(timestep)]
    return share.sqrt(), (1 - share).sqrt(), 1.0
