"""From one pass to the next: its picture made larger. Source: A1111 processing.sample_hr_pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.core.library.checkpoints import ModelFileError
from sdterm.core.pictures.resizing import flattened
from sdterm.core.planning.plan import PassPlan, UpscalePlan
from sdterm.engine.enlarge import upscaling_of
from sdterm.engine.finish import Decoded, decoded
from sdterm.engine.loading import Model
from sdterm.engine.run import Run
from sdterm.engine.sources import Init, encodable, encoded_picture, told_of
from sdterm.engine.upscale import enlarged
from sdterm.hooks import SeesInit
from sdterm.messages import message


@dataclass(frozen=True)
class Before:
    """What a pass goes on from: each image's latents and its picture, one made of the other once it is asked for."""

    latents: Callable[[], torch.Tensor]
    """[B, C, h, w]"""
    pictures: Callable[[], Sequence[Decoded]]


def drawn_before(run: Run, latents: torch.Tensor, model: Callable[[], Model]) -> Before:
    """What the pass before drew. model: the one that drew it."""

    @cache
    def pictures() -> list[Decoded]:
        run.pulse.phase = "decode"
        return [decoded(run, model(), each) for each in latents]

    return Before(lambda: latents, pictures)


def given_before(run: Run, images: int, model: Callable[[], Model]) -> Before:
    """A picture in the place of what the pass before would have drawn, the same for all images. model: the one that
    would have. Raises InputError."""

    @cache
    def picture() -> NDArray[Any]:
        return np.asarray(flattened(run.inputs.read(run.request.first_pass_image), run.request.background_color))

    def latents() -> torch.Tensor:
        loaded = model()
        pixels = encodable(picture()).to(loaded.components.device)
        return encoded_picture(run, loaded, pixels).expand(images, -1, -1, -1)

    return Before(latents, lambda: [Decoded(picture(), run.dtype)] * images)


def larger(run: Run, pass_no: int, before: Before, load: Callable[[], Model]) -> Init:
    """What a pass begins with. load: the model that goes on. Raises CancelledError, ModelFileError, PluginError."""
    planned = run.plan.passes[pass_no]
    upscale = planned.upscale
    assert upscale  # of every pass that begins with another
    if not run.choices.passes[pass_no].upscaler:
        latents, model = before.latents(), load()
        components = model.components
        if components.latent_channels != latents.shape[1]:
            raise ModelFileError(
                message(
                    "{model} cannot continue from latents of another kind of model: choose an upscaler that "
                    "is not a latent one.",
                    model=run.plan.model_of(pass_no).model,
                )
            )
        size = upscale.height // components.downscale, upscale.width // components.downscale
        mode, smooth = LATENT_UPSCALERS[upscale.upscaler.name]
        grown = torch.nn.functional.interpolate(latents, size=size, mode=mode, antialias=smooth)
        begun = _cropped(grown, planned, components.downscale)
        return Init(begun, told=_seen(run, model, begun), from_image=False)
    pictures = _upscaled(run, pass_no, upscale, [each.pixels for each in before.pictures()])
    model = load()
    run.pulse.phase = "decode"
    pixels = [encodable(picture).to(model.components.device) for picture in pictures]
    encoded = [encoded_picture(run, model, each) for each in pixels]
    cell = model.components.downscale
    told = [
        {name: _cropped(tensor, planned, cell) for name, tensor in told_of(run, model, each).items()} for each in pixels
    ]
    return Init(_cropped(torch.cat(encoded), planned, cell), told=told, from_image=False)


def _seen(run: Run, model: Model, latents: torch.Tensor) -> list[Mapping[str, torch.Tensor]]:
    """What an inpainting model is told of latents that it goes on from, if it sees through a mask; else it is told the
    same as without a picture, and nothing is decoded for it."""
    if not isinstance(model.components, SeesInit) or run.request.conditional_mask_weight >= 1:
        return []
    pictures = [decoded(run, model, each).pixels for each in latents]
    return [told_of(run, model, encodable(picture).to(latents.device)) for picture in pictures]


def _cropped(latents: torch.Tensor, planned: PassPlan, cell: int) -> torch.Tensor:
    """The middle; of an odd rest the smaller half goes first."""
    height, width = planned.height // cell, planned.width // cell
    top, left = (latents.shape[2] - height) // 2, (latents.shape[3] - width) // 2
    return latents[:, :, top : top + height, left : left + width].contiguous()


def _upscaled(run: Run, pass_no: int, upscale: UpscalePlan, pictures: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    chosen = run.choices.passes[pass_no].upscaler
    assert chosen  # what is no latent upscaler was found with the choices
    return [enlarged(upscaling_of(run), chosen, picture, upscale.width, upscale.height) for picture in pictures]
