"""From latents to colours, a pixel for each cell, fitted to a VAE of which nothing is known but how it encodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

LatentRGB = tuple[Sequence[Sequence[float]], Sequence[float]]
_PICTURES, _CELLS = 4, 16
_SMOOTHED = (2, 4, 8, 16)
"""Cells from edge to edge: what the pictures have that a VAE is asked about is from broad to fine."""


def fitted(vae: Any) -> LatentRGB:
    """Factors [C, 3] and bias [3] for latents as pipelines step them with this VAE → RGB in 0..1: least squares over
    pictures that it encodes."""
    cell = _cell(vae)
    pictures = _patches(cell)
    with torch.inference_mode():
        latents = stepped(vae, encoded(vae, pictures * 2 - 1))
    return least_squares(latents, torch.nn.functional.interpolate(pictures, latents.shape[-2:], mode="area"))


def least_squares(latents: torch.Tensor, pictures: torch.Tensor) -> LatentRGB:
    """The linear map that comes nearest: `[B, C, h, w]` → `[B, 3, h, w]`."""
    cells = latents.movedim(1, -1).flatten(0, -2).double().cpu()
    wanted = pictures.movedim(1, -1).flatten(0, -2).double().cpu()
    with_one = torch.cat([cells, torch.ones(len(cells), 1, dtype=cells.dtype)], dim=1)
    pull = 1e-6 * len(cells) * torch.eye(with_one.shape[1], dtype=cells.dtype)  # where channels say the same
    found = torch.linalg.solve(with_one.T @ with_one + pull, with_one.T @ wanted)
    return found[:-1].tolist(), found[-1].tolist()


def encoded(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Pixels `[B, 3, H, W]` of -1..1 → the VAE's latents `[B, C, h, w]`, without chance; of a video VAE, one frame."""
    weights = next(vae.parameters())
    given = pixels.to(weights.device, weights.dtype)
    frames = any(isinstance(module, torch.nn.Conv3d) for module in vae.modules())
    said = vae.encode(given.unsqueeze(2) if frames else given)
    found = said.latent_dist.mode() if hasattr(said, "latent_dist") else said.latent
    latents: torch.Tensor = (found[:, :, 0] if found.ndim == 5 else found).float()
    return latents


def stepped(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """The VAE's latents as a pipeline steps them: scaled by what its configuration says, one way or the other."""
    config = vae.config
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean and deviation:
        mean, deviation = (torch.tensor(each, device=latents.device).view(1, -1, 1, 1) for each in (mean, deviation))
        return (latents - mean) / deviation
    if getattr(vae, "bn", None) is not None:
        return latents  # it is normalised in patches, which `unpacked` takes back
    return (latents - (config.get("shift_factor") or 0)) * (config.get("scaling_factor") or 1)


def _cell(vae: Any) -> int:
    """Pixels of a latent cell's side."""
    for name in ("spatial_compression_ratio", "scale_factor_spatial"):
        if isinstance(said := vae.config.get(name, getattr(vae, name, None)), int):
            return said
    blocks = vae.config.get("block_out_channels") or vae.config.get("encoder_block_out_channels") or (0,) * 4
    return int(2 ** (len(blocks) - 1))


def _patches(cell: int) -> torch.Tensor:
    """Pictures `[B, 3, H, W]` in 0..1 of all colours, in areas of many sizes."""
    dice = torch.Generator().manual_seed(0)
    side = _CELLS * cell
    found = torch.zeros(_PICTURES, 3, side, side)
    for number in range(_PICTURES):
        few = _SMOOTHED[number % len(_SMOOTHED)]
        noise = torch.rand(1, 3, few, few, generator=dice)
        mode = "bicubic" if number % 2 else "nearest"
        found[number] = torch.nn.functional.interpolate(noise, (side, side), mode=mode)[0].clamp(0, 1)
    return found
