"""Masks: white is drawn anew, black stays. Sources: A1111 processing.StableDiffusionProcessingImg2Img.init and
masking."""

from math import exp

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps

from sdterm.core.pictures.resizing import Size, cropped, filled

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""

_FILLS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""(radius, how often it is laid on)."""


def mask_of(
    picture: Image.Image, *, rounded: bool = True, inverted: bool = False, blur: tuple[int, int] = (0, 0)
) -> Image.Image:
    """A picture (L, RGB or RGBA) as a mask, mode L. One with transparency gives its alpha, with or without its shades,
    another one its brightness. blur: along x and y."""
    mask = picture.convert("L")
    if picture.mode == "RGBA" and picture.getextrema()[-1] != (255, 255):
        mask = picture.getchannel("A")
        if rounded:
            mask = mask.point(lambda alpha: 255 if alpha > 128 else 0)
    if inverted:
        mask = ImageOps.invert(mask)
    return _blurred(mask, *blur)


def _blurred(mask: Image.Image, x: int, y: int) -> Image.Image:
    """As OpenCV's GaussianBlur with a kernel of 2.5 sigmas, which A1111 asks for, to the last bit: its weights are
    whole 256ths."""
    from scipy import ndimage  # a third of a second, which whoever draws without a mask does not owe

    pixels = np.asarray(mask)
    for axis, sigma in ((1, x), (0, y)):
        if sigma > 0:
            blurred = ndimage.correlate1d(pixels.astype(np.int64), _weights(sigma), axis, mode="mirror")
            pixels = ((blurred + 128) >> 8).astype(np.uint8)
    return Image.fromarray(pixels)


def _weights(sigma: int) -> list[int]:
    """A Gaussian in 256ths; what rounding leaves over goes to the next weight, and in the end to the middle one."""
    reach = int(2.5 * sigma + 0.5)
    exact = [exp(-(at**2) / (2 * sigma**2)) for at in range(-reach, reach + 1)]
    left, half = 0.0, list[int]()
    for weight in exact[:reach]:
        wanted = weight / sum(exact) * 256 + left
        half.append(round(wanted))
        left = wanted - half[-1]
    return [*half, 256 - 2 * sum(half), *half[::-1]]


def box_around(mask: Image.Image, padding: int, size: Size) -> Box | None:
    """What is cut out to draw only what is masked, in a picture that is drawn in `size`: the mask's box, widened, and
    grown to that size's proportions as far as the picture goes. None if nothing is masked."""
    found = mask.getbbox()
    if not found:
        return None
    left, top = (max(side - padding, 0) for side in found[:2])
    right, bottom = (min(side + padding, most) for side, most in zip(found[2:], mask.size, strict=True))
    if (right - left) / (bottom - top) > size[0] / size[1]:
        top, bottom = _grown(top, bottom, (right - left) / (size[0] / size[1]), mask.height)
    else:
        left, right = _grown(left, right, (bottom - top) * (size[0] / size[1]), mask.width)
    return left, top, right, bottom


def _grown(low: int, high: int, wanted: float, most: int) -> tuple[int, int]:
    """To that length, on both sides, moved back inside 0 … most and cut off where it is longer."""
    more = int(wanted - (high - low))
    low, high = low - more // 2, high + more - more // 2
    if high >= most:
        low, high = low - (high - most), most
    if low < 0:
        low, high = 0, high - low
    return low, min(high, most)


def doubled(mask: Image.Image) -> Image.Image:
    """Twice as white: the edge of what is laid over the drawn picture."""
    return ImageChops.add(mask, mask)


def holed(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """What is not masked of an RGB picture, RGBA: what lies over the drawn one."""
    result = Image.new("RGBa", picture.size)
    result.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    return result.convert("RGBA")


def filled_in(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """What is masked of an RGB picture filled with the colours around it, ever less blurred."""
    outside, result = holed(picture, mask).convert("RGBa"), Image.new("RGBA", picture.size)
    for radius, times in _FILLS:
        blurred = outside.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            result.alpha_composite(blurred)
    return result.convert("RGB")


def latent_mask(mask: Image.Image, width: int, height: int, *, rounded: bool) -> NDArray[np.float32]:
    """How much of each cell is drawn anew, 0 … 1, [height, width]."""
    small = np.asarray(mask.convert("RGB").resize((width, height)), np.float32)[:, :, 0] / 255
    cells: NDArray[np.float32] = (np.around(small) if rounded else small).astype(np.float32)
    return cells


def softened(mask: Image.Image, size: Size, whole: Size, box: Box | None) -> Image.Image:
    """A mask of latents as one of the picture that they are decoded to, without steps, in its place in the whole."""
    smooth = filled(mask, *size).convert("L").filter(ImageFilter.GaussianBlur(4))
    return uncropped(smooth, whole, box).convert("L") if box else smooth


def uncropped(drawn: Image.Image, size: Size, box: Box) -> Image.Image:
    """A drawn picture at the place in a picture of that size from which it was cut, transparent around it, RGBA."""
    whole = Image.new("RGBA", size)
    whole.paste(cropped(drawn, box[2] - box[0], box[3] - box[1]), box[:2])
    return whole


def laid_over(drawn: Image.Image, overlay: Image.Image) -> Image.Image:
    """A picture with another (RGBA) on top, at the left and top where that is smaller, RGB."""
    whole = drawn.convert("RGBA")
    whole.alpha_composite(overlay)
    return whole.convert("RGB")


def composite(drawn: Image.Image, mask: Image.Image) -> Image.Image:
    """What is masked of a drawn picture, RGBA."""
    nothing, shown = Image.new("RGBa", drawn.size), filled(mask, *drawn.size).convert("L")
    return Image.composite(drawn.convert("RGBA").convert("RGBa"), nothing, shown).convert("RGBA")
