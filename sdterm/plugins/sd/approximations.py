"""A1111's approximate VAEs (sd_vae_approx, sd_vae_taesd): which there are for which latents, and what their files are
called. SD 2 has SD 1's latents, and the refiner SDXL's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sdterm.hooks import Approximation, LatentMap, WeightsReader

if TYPE_CHECKING:
    import torch

    from sdterm.plugins.sd.tiny import Transform


def _of(cheap: LatentMap, small: str, tiny: str) -> tuple[Approximation, ...]:
    """small, tiny: the names of the files."""
    return (
        Approximation("Approx NN", LatentMap(_small, (small,))),
        Approximation("Approx cheap", cheap),
        Approximation(
            "TAESD",
            LatentMap(_taesd("decoder"), (f"{tiny}_decoder", tiny)),
            LatentMap(_taesd("encoder"), (f"{tiny}_encoder", tiny)),
        ),
    )


def _cheap_sd(reader: WeightsReader | None, device: torch.device) -> Transform:
    from sdterm.plugins.sd.components import SD1_LATENT_RGB
    from sdterm.plugins.sd.tiny import linear

    return linear(SD1_LATENT_RGB, device)


def _cheap_xl(reader: WeightsReader | None, device: torch.device) -> Transform:
    from sdterm.plugins.sd.components import SDXL_LATENT_RGB
    from sdterm.plugins.sd.tiny import linear

    return linear(SDXL_LATENT_RGB, device)


def _small(reader: WeightsReader | None, device: torch.device) -> Transform:
    from sdterm.plugins.sd.tiny import approx_nn

    assert reader  # it has a file
    return approx_nn(reader, device)


def _taesd(half: str) -> Callable[[WeightsReader | None, torch.device], Transform]:
    def load(reader: WeightsReader | None, device: torch.device) -> Transform:
        from sdterm.plugins.sd.tiny import taesd

        assert reader  # it has a file
        return taesd(reader, device, half)

    return load


SD_APPROXIMATIONS = _of(LatentMap(_cheap_sd), "model", "taesd")
SDXL_APPROXIMATIONS = _of(LatentMap(_cheap_xl), "vaeapprox-sdxl", "taesdxl")
