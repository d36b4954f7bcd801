"""From one pass to the next: its picture made larger. Source: A1111 processing.sample_hr_pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.core.library.checkpoints import ModelFileError
from sdterm.core.planning.plan import PassPlan, UpscalePlan
from sdterm.engine.enlarge import upscaling_of
from sdterm.engine.finish import decoded
from sdterm.engine.loading import Model
from sdterm.engine.run import Run
from sdterm.engine.sources import Init, encoded_pixels, seen_init
from sdterm.engine.upscale import enlarged
from sdterm.hooks import SeesInit


def larger(
    run: Run, pass_no: int, latents: torch.Tensor, before: Callable[[], Model], load: Callable[[], Model]
) -> Init:
    """Latents [B, C, h, w] of the pass before → what a pass begins with. before: the model that drew them; load: the
    one that goes on. Raises CancelledError, ModelFileError, PluginError."""
    planned = run.plan.passes[pass_no]
    upscale = planned.upscale
    assert upscale  # of every pass that begins with another
    if not run.choices.passes[pass_no].upscaler:
        model = load()
        components = model.components
        if components.latent_channels != latents.shape[1]:
            raise ModelFileError(
                f"{run.plan.model_of(pass_no).model} cannot go on with latents of another kind of model: choose an "
                "upscaler that is no latent one."
            )
        size = upscale.height // components.downscale, upscale.width // components.downscale
        mode, smooth = LATENT_UPSCALERS[upscale.upscaler.name]
        grown = torch.nn.functional.interpolate(latents, size=size, mode=mode, antialias=smooth)
        cropped = _cropped(grown, planned, components.downscale)
        return Init(cropped, None, [_seen_latents(run, model, each) for each in cropped])
    run.pulse.phase = "decode"
    pictures = _upscaled(run, pass_no, upscale, [decoded(run, before(), each)[0] for each in latents])
    model = load()
    pixels = [_pixels(picture, model) for picture in pictures]
    cell = model.components.downscale
    encoded = torch.cat([encoded_pixels(run, model, each * 2 - 1) for each in pixels])
    shown = [_cropped(each, planned, cell, pixels=cell) for each in pixels]
    told = [seen_init(run, model, each, None) for each in shown]  # 0..1 where an init image is -1..1, as in A1111
    return Init(_cropped(encoded, planned, cell), None, told)


def _seen_latents(run: Run, model: Model, latents: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """What an inpainting model is told that sees through a mask; others are told what they are without an image."""
    if not isinstance(model.components, SeesInit) or run.request.conditional_mask_weight >= 1:
        return {}
    picture, _ = decoded(run, model, latents)
    return seen_init(run, model, _pixels(picture, model) * 2 - 1, None)


def _cropped(pictures: torch.Tensor, planned: PassPlan, cell: int, pixels: int = 1) -> torch.Tensor:
    """The middle of [B, C, h, w], in whole cells; of an odd rest the smaller half goes first. pixels: of a side of a
    cell there."""
    down, across = planned.height // cell, planned.width // cell
    top = (pictures.shape[2] // pixels - down) // 2 * pixels
    left = (pictures.shape[3] // pixels - across) // 2 * pixels
    return pictures[:, :, top : top + down * pixels, left : left + across * pixels].contiguous()


def _pixels(picture: NDArray[Any], model: Model) -> torch.Tensor:
    """[1, 3, H, W], 0..1."""
    pixels = torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).permute(2, 0, 1)[None]
    return pixels.to(model.components.device)


def _upscaled(run: Run, pass_no: int, upscale: UpscalePlan, pictures: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    chosen = run.choices.passes[pass_no].upscaler
    assert chosen  # what is no latent upscaler was found with the choices
    return [enlarged(upscaling_of(run), chosen, picture, upscale.width, upscale.height) for picture in pictures]
