"""Fit the linear latent → RGB map that previews use: `python -m tools.demo_model.preview CHECKPOINT`.

Least squares over drawn pictures: SD-scaled latents against the pictures averaged over 8x8 pixels. The result lies
beside the checkpoint as `.preview.json`, where sdterm looks for it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.plugins.sd import sd1

from .pictures import draw_many, sample_scenes
from .vae import to_tensor

CPU = torch.device("cpu")
SEED = "preview"  # no picture of it was trained on
BATCH = 32
DIGITS = 5


@dataclass(frozen=True)
class PreviewMap:
    """RGB in 0..1 of a latent cell: latent [4] · factors [4, 3] + bias [3]; `r2` is the share of variance explained."""

    factors: Tensor
    bias: Tensor
    r2: float


def fit(latents: Tensor, colors: Tensor) -> PreviewMap:
    """Least squares in float64; latents [N, 4], colors [N, 3] in 0..1."""
    x = torch.cat([latents, torch.ones(len(latents), 1)], 1).double()
    y = colors.double()
    solution = torch.linalg.lstsq(x, y).solution  # [5, 3]
    unexplained = (y - x @ solution).square().sum() / (y - y.mean(0)).square().sum()
    return PreviewMap(solution[:-1], solution[-1], 1 - unexplained.item())


@torch.no_grad()
def latents_and_colors(vae: Any, pictures: int) -> tuple[Tensor, Tensor]:
    """SD-scaled latents [N, 4] of drawn 128x128 pictures, and the mean colours [N, 3] of their 8x8 pixels."""
    scenes = sample_scenes((128, 128), pictures, SEED)
    latents, colors = [], []
    for first in range(0, pictures, BATCH):
        x = to_tensor(draw_many((128, 128), scenes[first : first + BATCH], SEED, first), CPU)
        latents.append(_cells(vae.encode(x).latent_dist.mean * vae.config.scaling_factor))
        colors.append(_cells(F.avg_pool2d((x + 1) / 2, 8)))
    return torch.cat(latents), torch.cat(colors)


def _cells(grid: Tensor) -> Tensor:
    """[B, C, h, w] → [B·h·w, C]"""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)


def to_json(preview: PreviewMap) -> str:
    """One latent channel a line."""
    factors, bias = ([_rounded(row) for row in preview.factors], _rounded(preview.bias))
    rows = ",\n    ".join(json.dumps(row) for row in factors)
    return f'{{\n  "rgb_factors": [\n    {rows}\n  ],\n  "rgb_bias": {json.dumps(bias)}\n}}\n'


def _rounded(row: Tensor) -> list[float]:
    return [round(value, DIGITS) for value in row.tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pictures", type=int, default=512)
    given = parser.parse_args()
    vae = sd1.build(CheckpointFile(given.checkpoint), CPU, torch.float32).modules["vae"]
    preview = fit(*latents_and_colors(vae, given.pictures))
    path = given.checkpoint.with_suffix(".preview.json")
    path.write_text(to_json(preview), encoding="utf-8")
    print(f"{path}: R² {preview.r2:.4f}")


if __name__ == "__main__":
    main()
