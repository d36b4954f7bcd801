"""Latents → a finished image: decoded, postprocessed, with its infotext, as a file."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture

from sdterm.core.extensions.registry import ContractError
from sdterm.core.infotext.keys import INIT_HASH, INPAINT_AREA, MASK_PADDING, PADDING_KEYS, REFINER_KEYS
from sdterm.core.infotext.record import Provenance
from sdterm.core.infotext.write import image_infotext
from sdterm.core.pictures.masks import softened
from sdterm.core.pictures.source import LaidIn, Source, laid_in
from sdterm.core.planning.plan import TextPlan
from sdterm.engine.decode import BlackImageError, approximate_image, decode_image
from sdterm.engine.device import device_name
from sdterm.engine.encode import NO_TEXTS, encoded, saver_options
from sdterm.engine.enlarge import enlarge, upscaling_of
from sdterm.engine.ladder import taken
from sdterm.engine.loading import Model
from sdterm.engine.memory import decoded_size, measured
from sdterm.engine.network_files import infotext_hashes
from sdterm.engine.postprocess import postprocessed
from sdterm.engine.preview import colours
from sdterm.engine.run import Run
from sdterm.engine.sample import Drawn, in_the_network
from sdterm.engine.sources import Sources
from sdterm.engine.tape import DENOISER
from sdterm.events import Image, SideImage, SideKind, Warning
from sdterm.hooks import ImageFacts, MemoryOptimizer, OutputSaver
from sdterm.messages import message

_NO_FRAMES = np.zeros((0, 1, 1, 3))


class Decoded(NamedTuple):
    """An image as pixels, uint8 [H, W, 3], and the precision in which it was decoded."""

    pixels: NDArray[Any]
    dtype: torch.dtype


@dataclass(frozen=True)
class Finished:
    """An image, encoded."""

    image: Image
    pixels: NDArray[Any]
    sides: tuple[SideImage, ...] = ()
    """What comes with it."""


Infotext = Callable[[OutputSaver, Mapping[str, str]], str]
"""What a picture says, given its saver and what plugins did to it alone."""


def finish_image(run: Run, model: Model, index: int, drawn: Drawn, sources: Sources) -> Finished:
    """What was drawn as a file, and what comes with it."""
    image, laid = run.plan.images[index], None
    picture, precision = (
        decoded(run, model, drawn.latents) if drawn.picture is None else Decoded(drawn.picture, model.dtype)
    )
    if image.init_image:
        source = _shown(sources.of(run, image), drawn, run)
        laid = laid_in(Picture.fromarray(picture), source, run.request)
        picture = np.asarray(laid.picture).copy()
    pixels = postprocessed(run, image, picture)
    if run.choices.enlargement:
        pixels = enlarge(upscaling_of(run), run.choices.enlargement, pixels).copy()
    height, width = pixels.shape[:2]
    pixel_hash = hashlib.sha256(pixels.tobytes()).hexdigest()

    told = _told(run, model, index, drawn, len(run.plan.passes))
    if image.init_image:
        told |= _of_source(sources.of(run, image), run)
    observed = run.observers.keys(_facts(run, index, width, height))
    infotext = _infotext(run, index, told, precision, *observed)
    file = encoded(run, pixels, infotext, lambda: _frames(run, model, index) if drawn.picture is None else _NO_FRAMES)
    finished = Image(
        index=index,
        seed=image.seed,
        prompt=image.prompt,
        width=width,
        height=height,
        infotext=file.infotext,
        suffix=file.suffix,
        data=file.data,
        pixel_hash=pixel_hash,
    )
    return Finished(finished, pixels, _sides(run, finished, laid) if laid else ())


def before_hires(run: Run, model: Model, index: int, drawn: Drawn, picture: Decoded) -> SideImage:
    """What the first pass drew of an image, as a file: it says how the whole image is drawn, as A1111's does. model:
    the one that drew it."""
    infotext = _infotext(run, index, _told(run, model, index, drawn, 1), picture.dtype)
    image = run.plan.images[index]
    return _side(run, "before hires", index, image.seed, image.prompt, picture.pixels, infotext)


def _told(run: Run, model: Model, index: int, drawn: Drawn, passes: int) -> dict[str, object]:
    """What an infotext says of how an image was drawn in so many passes, and None for what it does not say."""
    told: dict[str, object] = {**infotext_hashes(*_texts(run, index, passes), model.applied, model.components)}
    if not drawn.refined:
        told |= dict.fromkeys(REFINER_KEYS)
    if not drawn.padded:
        told |= dict.fromkeys(PADDING_KEYS)
    return told


def _infotext(
    run: Run,
    index: int,
    told: Mapping[str, object],
    decoded_in: torch.dtype,
    more: Mapping[str, str] = NO_TEXTS,
    wrong: Mapping[str, str] = NO_TEXTS,
) -> Infotext:
    """more: what observers add; wrong: what they failed at, by slug."""

    def infotext(saver: OutputSaver, faults: Mapping[str, str]) -> str:
        made = _provenance(run, index, saver, decoded_in)
        said = {**run.faults.said, **wrong, **faults}
        return image_infotext(run.plan, run.plan.images[index], run.choices, run.plugins, made, said, more, told)

    return infotext


def _sides(run: Run, image: Image, laid: LaidIn) -> tuple[SideImage, ...]:
    """What a request wants beside an image that was laid into its init image."""
    asked: list[tuple[SideKind, Picture.Image | None]] = [
        ("mask", laid.mask.convert("RGB") if laid.mask and run.request.return_mask else None),
        ("mask composite", laid.composite if run.request.return_mask_composite else None),
    ]
    facts = image.index, image.seed, image.prompt

    def infotext(saver: OutputSaver, faults: Mapping[str, str]) -> str:
        return image.infotext

    return tuple(_side(run, kind, *facts, np.asarray(picture), infotext) for kind, picture in asked if picture)


def _side(
    run: Run, kind: SideKind, index: int, seed: int, prompt: str, pixels: NDArray[Any], infotext: Infotext
) -> SideImage:
    file = encoded(run, pixels.copy(), infotext, lambda: _NO_FRAMES)
    return SideImage(
        kind=kind,
        index=index,
        seed=seed,
        prompt=prompt,
        width=pixels.shape[1],
        height=pixels.shape[0],
        infotext=file.infotext,
        suffix=file.suffix,
        data=file.data,
    )


def _texts(run: Run, index: int, passes: int) -> tuple[TextPlan, TextPlan]:
    """Of so many passes (the text of the last one that calls LoRAs, that of the last one): what A1111's keys of
    networks tell of."""
    *earlier, last = (run.plan.text_of(index, number) for number in range(passes))
    calling = (text for text in (last, *reversed(earlier)) if any(network.short_hash for network in text.networks))
    return next(calling, last), last


def _of_source(source: Source, run: Run) -> dict[str, object]:
    """What an infotext says of an init image, and None for what it does not say."""
    nothing_masked = run.request.mask and run.request.inpaint_area == "Only masked" and not source.box
    return {
        **({INIT_HASH: source.md5} if run.request.init_image_hash else {}),
        **({INPAINT_AREA: None, MASK_PADDING: None} if nothing_masked else {}),
    }


def _shown(source: Source, drawn: Drawn, run: Run) -> Source:
    """The source of an image, with what a hook says of how much of it shows."""
    if drawn.overlay is None or not source.overlay_mask:
        return source
    shown = Picture.fromarray((drawn.overlay.cpu().numpy() * 255).astype(np.uint8))
    planned = run.plan.passes[-1]
    return replace(source, overlay_mask=softened(shown, (planned.width, planned.height), source.whole.size, source.box))


def decoded(run: Run, model: Model, latents: torch.Tensor) -> Decoded:
    """An image. One that half precision makes black or impossible is decoded again by the VAE in float32, by itself:
    its batch and those after it stay as they are."""
    components, dtype = model.components, model.dtype
    if decode := run.approximations.decode:
        with run.plugins.guard(run.choices.passes[-1].model.family, BlackImageError):
            return Decoded(approximate_image(decode, latents), dtype)
    suspect = in_the_network(run, model)
    pixels = latents.shape[1] * latents.shape[2] * components.downscale**2
    try:
        with (
            measured(run, model.weights, "decode", decoded_size(run, pixels), count(0).__next__),
            run.plugins.guard(suspect, BlackImageError),
        ):
            return Decoded(decode_image(components, latents, dtype), dtype)
    except BlackImageError as error:
        if dtype == torch.float32:
            raise
        said = message("{problem} The VAE decodes the image again in float32.", problem=error)
    run.warn(Warning(code="float32", message=said))
    with run.plugins.guard(suspect, BlackImageError):
        return Decoded(decode_image(components, latents, torch.float32), torch.float32)


def _frames(run: Run, model: Model, index: int) -> NDArray[Any]:
    """What the network made of an image in each call of its last pass, uint8 [T, h, w, 3]. Raises PluginFailure if
    there was none."""
    last = len(run.plan.passes) - 1
    rows = (run.tape.row(index, last, DENOISER, call) for call in range(run.tape.recorded(index, last, DENOISER)))
    frames = [colours(row.result.x0, model.components.latent_rgb) for row in rows if row]
    if not frames:
        raise run.plugins.failure(
            run.choices.passes[last].sampler, ContractError(message("it never called the network"))
        )
    return np.stack(frames)


def _facts(run: Run, index: int, width: int, height: int) -> ImageFacts:
    """A finished image of that size, for observers."""
    plan, image, first = run.plan, run.plan.images[index], run.plan.passes[0]
    return ImageFacts(
        index=index,
        images=len(plan.images),
        seed=image.seed,
        prompt=image.prompt,
        negative_prompt=image.negative_prompt,
        width=width,
        height=height,
        model=plan.model,
        sampler=first.sampler,
        scheduler=first.scheduler,
        steps=first.steps,
        cfg_scale=plan.request.cfg_scale,
    )


def _provenance(run: Run, index: int, saver: OutputSaver, decoded_in: torch.dtype) -> Provenance:
    """What image `index` is made with, for whoever wants to draw it again or ask why it differs."""
    parts = [part for each in run.choices.passes for part in (each.sampler, each.scheduler, each.model.family)]
    drawers = {run.plugins.owner(part) for part in parts}
    drawers |= {run.plugins.owner(each.of) for each in run.choices.additions}
    strangers = [p.source for p in run.plugins.plugins if p.source.origin != "built-in" and p.source.slug in drawers]
    dtype = (
        torch.float32
        if any(run.tape.is_float32(index, number) for number in range(len(run.plan.passes)))
        else run.dtype
    )
    together = next(batch for batch in run.together() if index in batch)
    return Provenance(
        torch=torch.__version__,
        device=device_name(run.device),
        dtype=_name(dtype),
        vae=_name(decoded_in) if decoded_in != dtype else "",
        threads=str(torch.get_num_threads()) if run.device.type == "cpu" else "",
        batch=f"{together.index(index)}/{len(together)}" if len(together) > 1 else "",
        format=saver.id,
        format_options={o.name: v for o in saver.options if (v := saver_options(run, saver)[o.name]) != o.default},
        plugins=tuple(f"{source.slug}@{source.digest}" for source in strangers),
        memory=tuple(dict.fromkeys(each.of.id for each in (*run.choices.asked(MemoryOptimizer), *taken(run)))),
        rungs=run.rungs,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
