"""The sizes of pictures that a pipeline is for, from its parts' configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

_VAES = ("vae", "vqvae", "movq")
_LEVELS = {"block_out_channels": -1, "encoder_block_out_channels": -1, "temperal_downsample": 0}
"""A list in a VAE's configuration → by how much it is longer than the VAE halves the sides."""
_USUAL = 128
"""Cells to a side where a denoiser does not say, as diffusers has it."""
_MOST_CELLS = 4096


def downscale(configs: Mapping[str, Any]) -> int:
    """Pixels per latent cell; 1 of a pipeline without a VAE."""
    vae: Mapping[str, Any] = next((configs[name] for name in _VAES if isinstance(configs.get(name), Mapping)), {})
    for name, more in _LEVELS.items():
        levels = vae.get(name)
        if isinstance(levels, Sized) and 0 < len(levels) <= 8:
            return 1 << (len(levels) + more)
    return 8 if vae else 1


def native_size(config: Mapping[str, Any], scale: int) -> int:
    """Pixels. config: the denoiser's."""
    said = config.get("sample_size")
    cells = max((each for each in said if isinstance(each, int)), default=0) if isinstance(said, list) else said
    fits = isinstance(cells, int) and 0 < cells <= _MOST_CELLS
    return int(cells) * scale if fits and cells else _USUAL * scale


def size_step(denoiser: str, scale: int) -> int:
    """What sides are multiples of, in pixels: transformers see cells in pairs, unless a cell is large already."""
    if denoiser != "transformer":
        return max(8, scale)
    return scale if scale > 16 else max(16, 2 * scale)
