"""From an init image and a mask to what is encoded, and to what is laid over the result. The order is A1111's
(processing.StableDiffusionProcessingImg2Img.init)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image

from sdterm.core.pictures.colours import corrected
from sdterm.core.pictures.masks import (
    Box,
    box_around,
    composite,
    doubled,
    filled_in,
    holed,
    laid_over,
    mask_of,
    uncropped,
)
from sdterm.core.pictures.resizing import Enlarge, cropped, filled, flattened, stretched
from sdterm.fields import ResizeMode
from sdterm.request import GenerationRequest

LATENT: ResizeMode = "Just resize (latent upscale)"
_Resize = Callable[[Image.Image, int, int, Enlarge], Image.Image]
_RESIZES: Mapping[ResizeMode, _Resize] = {
    "Just resize": lambda picture, width, height, enlarge: enlarge(picture, width, height),
    "Crop and resize": cropped,
    "Resize and fill": filled,
    LATENT: filled,  # of masks; a picture is encoded in its own size
}


@dataclass(frozen=True)
class Source:
    """What an image starts from."""

    picture: Image.Image
    """What is encoded, RGB."""
    whole: Image.Image
    """The picture in the size of the finished image, RGB."""
    mask: Image.Image | None = None
    """Of what is encoded: white is drawn anew, mode L."""
    overlay_mask: Image.Image | None = None
    """Of the whole: how much of what is drawn shows."""
    box: Box | None = None
    """Where in the whole lies what is encoded, unless it is all of it."""
    init: Image.Image | None = None
    """As it was given."""

    @cached_property
    def md5(self) -> str:
        """Of the init image's own pixels, as A1111 names it. Of a large one it takes a while, which the first step need
        not wait for."""
        return hashlib.md5(self.init.tobytes() if self.init else b"", usedforsecurity=False).hexdigest()


def source_of(
    init: Image.Image,
    mask: Image.Image | None,
    request: GenerationRequest,
    width: int,
    height: int,
    *,
    rounded: bool,
    enlarge: Enlarge = stretched,
) -> Source:
    """An init image as a request wants it, drawn in that size. rounded: whether a mask's transparency has no shades."""
    return replace(_source(init, mask, request, width, height, rounded, enlarge), init=init)


def _source(
    init: Image.Image,
    mask: Image.Image | None,
    request: GenerationRequest,
    width: int,
    height: int,
    rounded: bool,
    enlarge: Enlarge,
) -> Source:
    resize = _RESIZES[request.resize_mode]
    whole = flattened(init, request.background_color)
    blurred = None
    if mask:
        blur = (request.mask_blur_x, request.mask_blur_y)
        blurred = mask_of(mask, rounded=rounded, inverted=request.mask_inverted, blur=blur)
    if blurred and request.inpaint_area == "Only masked":
        return _only_masked(whole, blurred, request, resize, width, height, enlarge)
    if request.resize_mode != LATENT:
        whole = resize(whole, width, height, enlarge)
    if not blurred:
        return Source(whole, whole)
    shown = resize(blurred, width, height, stretched).convert("L")
    over = doubled(shown)
    if over.size != whole.size:
        over = resize(over, *whole.size, stretched).convert("L")
    return Source(_content(whole, shown, request), whole, shown, over)


def _only_masked(
    whole: Image.Image,
    mask: Image.Image,
    request: GenerationRequest,
    resize: _Resize,
    width: int,
    height: int,
    enlarge: Enlarge,
) -> Source:
    box = box_around(mask, request.mask_padding, (width, height))
    if box is None:  # there is nothing to cut out: an ordinary picture
        whole = whole if request.resize_mode == LATENT else resize(whole, width, height, enlarge)
        return Source(whole, whole)
    over = mask if mask.size == whole.size else resize(mask, *whole.size, stretched).convert("L")
    shown = filled(mask.crop(box), width, height).convert("L")
    picture = filled(whole.crop(box), width, height, enlarge)
    return Source(_content(picture, shown, request), whole, shown, over, box)


def _content(picture: Image.Image, mask: Image.Image, request: GenerationRequest) -> Image.Image:
    """What is encoded where it is masked: of noise and of nothing the surroundings, too."""
    if request.masked_content == "original":
        return picture
    return filled_in(picture, mask if mask.size == picture.size else filled(mask, *picture.size).convert("L"))


@dataclass(frozen=True)
class LaidIn:
    """A drawn picture in its place."""

    picture: Image.Image
    """With the init image over what is not masked, RGB."""
    mask: Image.Image | None = None
    """With which that was laid over it, mode L."""
    composite: Image.Image | None = None
    """What is masked of it as it was drawn, RGBA."""


def laid_in(drawn: Image.Image, source: Source, request: GenerationRequest) -> LaidIn:
    """A drawn picture, in its place in the whole."""
    if request.color_correction:
        drawn = Image.fromarray(corrected(np.asarray(drawn), np.asarray(source.picture)))
    mask = source.overlay_mask
    if not mask:
        return LaidIn(drawn)
    if not request.overlay_original:
        return LaidIn(drawn, mask, composite(drawn, mask))
    there = uncropped(drawn, source.whole.size, source.box) if source.box else drawn
    return LaidIn(laid_over(there, holed(source.whole, mask)), mask, composite(there, mask))
