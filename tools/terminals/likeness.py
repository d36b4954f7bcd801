"""Where a picture stands on a screen, and how like its file it is there."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

SIDE, FRAME = 128, 16
_FRAME_COLOUR = 255, 0, 255

Pixels = NDArray[np.float64]
Box = tuple[int, int, int, int]


class Likeness(NamedTuple):
    """Colours are compared cell by cell, as far apart as in a cube whose side is 255."""

    box: Box
    mean: float
    worst: float
    """The mean of the worst 3x3 cells: a wrong spot is lost in the mean of all."""
    psnr: float
    stretch: float
    """Its width over its height, over the file's."""

    def holds(self, mean: float, worst: float) -> bool:
        return self.mean <= mean and self.worst <= worst and 0.8 < self.stretch < 1.25


def specimen() -> Image.Image:
    """A square picture that is easily found: smooth colours above, patches below, in a frame whose colour nothing
    else has."""
    inner = SIDE - 2 * FRAME
    across = np.linspace(0, 1, inner)
    down = np.linspace(0, 1, inner // 2)[:, None]
    red, green, blue = 255 * across + 0 * down, 255 * down + 0 * across, 200 * (1 - across) + 0 * down
    image = Image.new("RGB", (SIDE, SIDE), _FRAME_COLOUR)
    image.paste(Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8)), (FRAME, FRAME))
    draw = ImageDraw.Draw(image)
    patches = ["#2b1b35", "#8a4fb0", "#d2b48c", "#ffffff", "#202020", "#00a0a0", "#ff2000", "#f0e000"]
    side = inner // 4
    for number, colour in enumerate(patches):
        left, top = FRAME + number % 4 * side, SIDE // 2 + number // 4 * side
        draw.rectangle((left, top, left + side - 1, top + side - 1), fill=colour)
    return image


def find(screen: Image.Image, least: int = 20) -> Box | None:
    """The largest thing of the frame's colour: left, top, right, bottom. least: pixels of either side."""
    red, green, blue = np.moveaxis(np.asarray(screen.convert("RGB"), dtype=np.int16), -1, 0)
    is_frame = (red > 150) & (blue > 150) & (green < 110) & (abs(red - blue) < 90)
    parts, _ = ndimage.label(ndimage.binary_dilation(is_frame, iterations=2))
    boxes = [
        (columns.start + 2, rows.start + 2, columns.stop - 2, rows.stop - 2)
        for rows, columns in ndimage.find_objects(parts)
        if min(rows.stop - rows.start, columns.stop - columns.start) >= least + 4
    ]
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)


def compare(screen: Image.Image, box: Box, picture: Image.Image, cell: tuple[int, int]) -> Likeness:
    """What stands in that part of a screen, and the picture. cell: pixels of a character."""
    left, top, right, bottom = box
    cells = max(2, round((right - left) / cell[0])), max(2, round((bottom - top) / cell[1]))
    seen, wanted = (_cells(image, cells) for image in (screen.crop(box), picture))
    apart = np.sqrt(((seen - wanted) ** 2).sum(axis=-1))
    noise = ((seen - wanted) ** 2).mean()
    return Likeness(
        box,
        round(float(apart.mean()), 1),
        round(float(ndimage.uniform_filter(apart, 3).max()), 1),
        round(float(10 * np.log10(255**2 / max(noise, 1e-3))), 1),
        round((right - left) / (bottom - top) * picture.height / picture.width, 3),
    )


def _cells(image: Image.Image, cells: tuple[int, int]) -> Pixels:
    return np.asarray(image.convert("RGB").resize(cells, Image.Resampling.BOX), dtype=np.float64)
