"""What can be measured in a picture, uint8 [H, W, 3], without another model: colours, brightness, position, number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .canvas import COLORS

Picture = np.ndarray
Mask = np.ndarray  # bool [H, W]

NAMES = list(COLORS)
_PALETTE = np.array(list(COLORS.values()), np.float32)
SKY_ROWS = 40  # of a 128x128 picture
OBJECT_PIXELS = 80  # fewer are not an object


def color_classes(picture: Picture) -> np.ndarray:
    """The nearest palette colour of every pixel, as indices into NAMES; chroma counts more than lightness."""
    difference = picture[..., None, :].astype(np.float32) - _PALETTE
    lightness = difference.mean(-1)
    nearest: np.ndarray = ((difference**2).sum(-1) - 0.9 * lightness**2).argmin(-1)
    return nearest


def color_name(color: np.ndarray) -> str:
    return NAMES[int(color_classes(color))]


def color_mask(picture: Picture, *names: str) -> Mask:
    return np.isin(color_classes(picture), [NAMES.index(name) for name in names])


def background_color(picture: Picture) -> str:
    """By the four corners."""
    corners = [picture[y, x] for y in (slice(10), slice(-10, None)) for x in (slice(10), slice(-10, None))]
    return color_name(_median(np.concatenate(corners)))


def foreground(picture: Picture) -> Mask:
    """What differs from the upper and lower edge."""
    edge = _median(np.concatenate([picture[:6], picture[-6:]]))
    mask: Mask = np.abs(picture.astype(np.float32) - edge).max(-1) > 50
    return mask


def foreground_color(picture: Picture) -> str | None:
    mask = foreground(picture)
    return color_name(_median(picture[mask])) if mask.sum() > OBJECT_PIXELS else None


def side_of_foreground(picture: Picture) -> str | None:
    mask = foreground(picture)
    if mask.sum() <= OBJECT_PIXELS:
        return None
    return "left" if np.nonzero(mask)[1].mean() < picture.shape[1] / 2 else "right"


def colors_by_side(picture: Picture) -> tuple[str | None, str | None]:
    """Foreground colour of the left and of the right half, the middle left out."""
    mask, middle = foreground(picture), picture.shape[1] // 2
    halves = (slice(None, middle - 6), slice(middle + 6, None))
    pixels = [picture[:, half][mask[:, half]] for half in halves]
    left, right = (color_name(_median(half)) if len(half) > 40 else None for half in pixels)
    return left, right


def count_blobs(mask: Mask, least: int = 60) -> int:
    """Connected regions of at least `least` pixels."""
    left, blobs = mask.copy(), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if left[start]:
            blobs += _erase(left, start) >= least
    return blobs


def _erase(mask: Mask, start: tuple[int, int]) -> int:
    """Clear the region around a pixel that is set; returns its size."""
    height, width = mask.shape
    front, size = [start], 0
    mask[start] = False
    while front:
        y, x = front.pop()
        size += 1
        for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= near[0] < height and 0 <= near[1] < width and mask[near]:
                mask[near] = False
                front.append(near)
    return size


def side_of_color(picture: Picture, name: str) -> str | None:
    """Where most of a colour stands in the rows in which houses stand; none if it is nowhere or on both sides."""
    mask = color_mask(picture, name)[60:112]
    left, right = int(mask[:, :64].sum()), int(mask[:, 64:].sum())
    if left + right <= 60:
        return None
    return "left" if left > 2 * right else "right" if right > 2 * left else None


def sky_brightness(picture: Picture) -> float:
    """0..255, of the upper rows."""
    return float(picture[:SKY_ROWS].mean())


def horizon_warmth(picture: Picture) -> float:
    """Red minus blue, in levels, of the rows in which the sun sets."""
    band = picture[36:70]
    return float(band[:, :, 0].mean() - band[:, :, 2].mean())


def ground_color(picture: Picture) -> np.ndarray:
    """Median RGB [3] of the lower rows."""
    return _median(picture[-22:])


def area(pictures: Sequence[Picture], *names: str) -> float:
    """Share of the pixels that have one of the colours."""
    return float(np.mean([color_mask(picture, *names).mean() for picture in pictures]))


def chroma(picture: Picture) -> float:
    return float(np.ptp(picture.astype(float), -1).mean())


def sharpness(picture: Picture) -> float:
    """Mean horizontal difference of neighbours, in levels."""
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


def _median(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(pixels.reshape(-1, 3), 0))
