"""Soft inpainting: a mask whose shades count, and an edge where the picture really changed. Follows the built-in
extension of A1111."""

from __future__ import annotations

from functools import partial
from math import exp
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Denoise, Denoised, DenoiseHook, NetworkCall, Option, hookimpl
from sdterm.messages import message
from sdterm.plugins.masked import denoise_masked

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_REACH, _SPREAD = 2, 1.5  # of the window, in cells


def denoise(
    network: Denoise,
    x: torch.Tensor,
    sigma: torch.Tensor,
    call: NetworkCall,
    *,
    schedule_bias: float,
    preservation_strength: float,
    transition_contrast_boost: float,
    **_: float,
) -> Denoised:
    """The less noise there is, the more of each cell is drawn."""
    power = call.level**schedule_bias * preservation_strength

    def blend(drawn: torch.Tensor, init: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return mixed(init, drawn, mask**power, transition_contrast_boost)

    return denoise_masked(network, x, sigma, call, blend)


def mixed(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor, contrast: float) -> torch.Tensor:
    """From latents a [B, C, h, w] to b by t [B, 1, h, w], each cell's vector as long as the mean of theirs, of which
    `contrast` prefers the longer one."""
    import torch

    straight = a * (1 - t) + b * t
    have = torch.norm(straight, dim=1, keepdim=True).double() + 1e-5
    lengths = [torch.norm(each, dim=1, keepdim=True).double() ** contrast for each in (a, b)]
    want = (lengths[0] * (1 - t) + lengths[1] * t) ** (1 / contrast)
    result: torch.Tensor = straight * (want / have).to(straight.dtype)
    return result


def overlay(
    latents: torch.Tensor,
    call: NetworkCall,
    *,
    preservation_strength: float,
    mask_influence: float,
    difference_threshold: float,
    difference_contrast: float,
    **_: float,
) -> torch.Tensor:
    """What was drawn shows where the latents moved far, of which the mask may say how far that is."""
    import numpy as np
    import torch

    assert call.init is not None and call.mask is not None  # declared: needs a mask
    hidden = 1 - call.mask[:, 0].clamp(0, 1) ** (preservation_strength / 2)
    hidden = 0.5 * (1 - mask_influence) + hidden * mask_influence
    half = (difference_threshold * hidden / (1.00001 - hidden)).cpu().numpy()
    shown = []
    for moved, at_half in zip(torch.norm(latents - call.init, dim=1).cpu().numpy(), half, strict=True):
        smooth = weighted_quantiles(weighted_quantiles(moved, 0.9, 1.0), 0.25, 0.75)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = 1 / (1 + (smooth / at_half) ** difference_contrast)
        kept = np.nan_to_num(kept)
        shown.append(1 - (kept * (kept * 6 - 15) + 10) * kept**3)
    return torch.from_numpy(np.stack(shown).astype(np.float32))


def weighted_quantiles(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Around each value of [h, w] the mean of those between two quantiles, weighed by how near they are; of at least a
    weight of 1."""
    import numpy as np

    zero = exp(-(((_REACH + 1) / _SPREAD) ** 2))
    offsets = [(y, x) for y in range(-_REACH, _REACH + 1) for x in range(-_REACH, _REACH + 1)]
    near = np.array([max(0.0, (exp(-(y * y + x * x) / _SPREAD**2) - zero) / (1 - zero)) for y, x in offsets])
    (height, width), reach = values.shape, _REACH
    padded = np.pad(values.astype(np.float64), reach)
    inside = np.pad(np.ones(values.shape), reach)

    def windows(of: NDArray[Any]) -> NDArray[Any]:
        each = [of[reach + y : reach + y + height, reach + x : reach + x + width] for y, x in offsets]
        return np.stack(each, axis=-1)

    around, weights = windows(padded), windows(inside) * near
    order = np.argsort(around, axis=-1, kind="stable")
    around, weights = np.take_along_axis(around, order, -1), np.take_along_axis(weights, order, -1)
    ends = np.cumsum(weights, axis=-1)
    total = ends[..., -1:]
    first, last = total * low, total * high
    narrow = last - first < 1
    middle = (first + last) / 2
    first, last = np.where(narrow, middle - 0.5, first), np.where(narrow, middle + 0.5, last)
    over = narrow & (last > total)
    first, last = np.where(over, total - 1, first), np.where(over, total, last)
    under = narrow & (first < 0)
    first, last = np.where(under, 0, first), np.where(under, 1, last)
    shares = (np.minimum(last, ends) - np.maximum(first, ends - weights)).clip(0)
    made: NDArray[Any] = (around * shares).sum(-1) / np.maximum(shares.sum(-1), 1e-12)
    return made


_number = partial(Option, minimum=0.0)


@hookimpl
def sdterm_denoise_hooks() -> list[DenoiseHook]:
    return [
        DenoiseHook(
            id="soft_inpainting",
            label="Soft inpainting",
            denoise=denoise,
            overlay=overlay,
            needs="mask",
            group="mask",
            soft_mask=True,
            options=(
                _number(
                    "schedule_bias",
                    1.0,
                    message("When the original is kept: early for low values, late for high values."),
                    maximum=8.0,
                ),
                _number("preservation_strength", 0.5, message("How strongly the original is kept."), maximum=8.0),
                Option(
                    "transition_contrast_boost", 4.0, message("The contrast where original and result meet."), 1.0, 32.0
                ),
                _number(
                    "mask_influence", 0.0, message("How much the mask decides where the result shows."), maximum=1.0
                ),
                _number(
                    "difference_threshold",
                    0.5,
                    message("How much an area must change for the result to show."),
                    maximum=8.0,
                ),
                _number("difference_contrast", 2.0, message("How sharp the edge of the result is."), maximum=8.0),
            ),
        )
    ]
