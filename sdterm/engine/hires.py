"""From one pass to the next: its picture made larger. Source: A1111 processing.sample_hr_pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.core.extensions.registry import ContractError
from sdterm.core.library.checkpoints import ModelFileError
from sdterm.core.planning.plan import PassPlan, UpscalePlan
from sdterm.engine.decode import vae_in
from sdterm.engine.enlarge import upscaling_of
from sdterm.engine.finish import decoded
from sdterm.engine.loading import Model
from sdterm.engine.run import Run
from sdterm.engine.sources import Init, encodable, told_of
from sdterm.engine.upscale import enlarged
from sdterm.hooks import SeesInit


def larger(
    run: Run, pass_no: int, latents: torch.Tensor, before: Callable[[], Model], load: Callable[[], Model]
) -> Init:
    """Latents [B, C, h, w] of the pass before → those that a pass begins with. before: the model that drew them; load:
    the one that goes on. Raises CancelledError, ModelFileError, PluginError."""
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
        begun = _cropped(grown, planned, components.downscale)
        return Init(begun, told=_seen(run, model, begun), from_image=False)
    run.pulse.phase = "decode"
    pictures = _upscaled(run, pass_no, upscale, [decoded(run, before(), each)[0] for each in latents])
    model = load()
    run.pulse.phase = "decode"
    pixels = [encodable(picture).to(model.components.device) for picture in pictures]
    encoded = [_encoded(run, model, each) for each in pixels]
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
    pictures = [decoded(run, model, each)[0] for each in latents]
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


def _encoded(run: Run, model: Model, pixels: torch.Tensor) -> torch.Tensor:
    """A picture as latents [1, C, h, w], by itself, so that its batch never changes it. In float32 where the run's
    precision has no numbers for them; whether the pass has become one of float32 makes no difference."""
    components = model.components
    wanted = (1, components.latent_channels, *(side // components.downscale for side in pixels.shape[2:]))
    for dtype in dict.fromkeys((run.dtype, torch.float32)):
        with run.plugins.guard(model.family), vae_in(components, dtype):
            latents = components.encode_image(pixels.to(dtype), None).float()
            if latents.shape != wanted:
                raise ContractError(f"it encoded a picture to latents {tuple(latents.shape)}, not {wanted}")
        if torch.isfinite(latents).all():
            return latents
    raise run.plugins.failure(model.family, ContractError("it encoded the first pass's picture to what are no numbers"))
