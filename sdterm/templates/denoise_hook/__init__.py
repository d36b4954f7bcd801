"""A denoise hook: what the network predicts is made a little weaker, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Denoised, DenoiseHook, NetworkCall, Option, hookimpl

if TYPE_CHECKING:
    import torch


def denoise(network: Denoise, x: torch.Tensor, sigma: torch.Tensor, call: NetworkCall, *, strength: float) -> Denoised:
    """x [B, C, h, w], sigma [B] → the clean latents, as they are to be from this call on."""
    x0, uncond = network(x, sigma)
    return Denoised(x0 * strength, uncond)


@hookimpl
def sdterm_denoise_hooks() -> list[DenoiseHook]:
    return [
        DenoiseHook(
            id="my_extension",
            label="My extension",
            denoise=denoise,
            options=(Option("strength", 0.9, "How much is left; 1 changes nothing.", 0.0, 1.0),),
        )
    ]
