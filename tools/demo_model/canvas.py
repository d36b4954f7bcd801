"""A supersampled drawing surface, the pen that draws on it, and the palette."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

RGB = tuple[int, int, int]
Point = tuple[float, float]

COLORS: dict[str, RGB] = {
    "red": (218, 52, 48),
    "orange": (242, 138, 36),
    "yellow": (250, 212, 52),
    "green": (62, 164, 80),
    "blue": (44, 100, 220),
    "purple": (132, 70, 184),
    "pink": (246, 140, 184),
    "white": (248, 248, 244),
    "black": (26, 26, 32),
    "gray": (140, 145, 150),
    "brown": (128, 82, 48),
    "teal": (44, 178, 178),
}
WHITE: RGB = (255, 255, 255)
BLACK: RGB = (0, 0, 0)

SUPERSAMPLING = 2
SEPIA_TONE = (1.12, 0.95, 0.72)


def mix(a: RGB, b: RGB, t: float) -> RGB:
    """The colour a share `t` of the way from `a` to `b`."""
    red, green, blue = (round(x + (y - x) * t) for x, y in zip(a, b, strict=True))
    return red, green, blue


def jitter(rng: Random, color: RGB, amount: int = 7) -> RGB:
    """The colour with every channel moved by up to `amount` levels."""
    red, green, blue = (max(0, min(255, v + rng.randint(-amount, amount))) for v in color)
    return red, green, blue


class Canvas:
    """A picture in the making: positions are fractions of its width and height, sizes fractions of its shorter side."""

    def __init__(self, width: int, height: int, rng: Random) -> None:
        self.out_size = (width, height)
        self.width, self.height = width * SUPERSAMPLING, height * SUPERSAMPLING
        self.unit = min(self.width, self.height)
        self.rng = rng
        self.tint: tuple[RGB, float] = (WHITE, 0.0)  # the light that `lit` colours stand in, and its strength
        self._show(Image.new("RGB", (self.width, self.height)))

    def _show(self, image: Image.Image) -> None:
        self.image = image
        self.draw = ImageDraw.Draw(image)

    def at(self, x: float, y: float, size: float) -> Pen:
        return Pen(self, x, y, size)

    def lit(self, color: RGB, amount: float = 1.0) -> RGB:
        """The colour as it looks in this picture's light."""
        return mix(color, self.tint[0], self.tint[1] * amount)

    def fill(self, color: RGB) -> None:
        self.gradient(color, color)

    def gradient(self, top: RGB, bottom: RGB, y0: float = 0.0, y1: float = 1.0) -> None:
        first, last = int(y0 * self.height), max(int(y0 * self.height) + 1, int(y1 * self.height))
        t = np.linspace(0, 1, last - first)[:, None]
        column = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)  # [rows, 3]
        self.image.paste(Image.fromarray(np.repeat(column[:, None], self.width, 1)), (0, first))
        self._show(self.image)

    def polygon(self, points: Sequence[Point], color: RGB) -> None:
        self.draw.polygon([(x * self.width, y * self.height) for x, y in points], fill=color)

    def arch(self, center: Point, radius: Point, color: RGB, thickness: float) -> None:
        """The upper half of an ellipse's outline."""
        (x, y), (rx, ry) = center, radius
        w, h = self.width, self.height
        box = ((x - rx) * w, (y - ry) * h, (x + rx) * w, (y + ry) * h)
        self.draw.arc(box, 180, 360, fill=color, width=int(thickness * self.unit))

    def veil(self, color: RGB, opacity: np.ndarray) -> None:
        """Lay a colour over everything; `opacity` is float32 [height], 0..1."""
        below = np.asarray(self.image, np.float32)
        above = np.array(color, np.float32)
        self._show(Image.fromarray((below + (above - below) * opacity[:, None, None]).astype(np.uint8)))

    def finish(self, style: str | None = None) -> np.ndarray:
        """The picture at its own size, uint8 [H, W, 3]."""
        image = self.image.resize(self.out_size, Image.Resampling.BOX)
        if style == "blurry":
            image = image.filter(ImageFilter.GaussianBlur(min(self.out_size) / 36))
        elif style == "black and white":
            image = image.convert("L").convert("RGB")
        elif style == "sepia":
            gray = np.asarray(image.convert("L"), np.float32)[..., None] / 255
            image = Image.fromarray((np.clip(gray * np.array(SEPIA_TONE), 0, 1) * 255).astype(np.uint8))
        return np.asarray(image)


class Pen:
    """Draws around one point of a canvas, in units of `size` of its shorter side; y points down."""

    def __init__(self, canvas: Canvas, x: float, y: float, size: float) -> None:
        self.canvas, self.x, self.y, self.size = canvas, x, y, size
        self.lit = canvas.lit

    def lowered(self, dy: float, scale: float = 1.0) -> Pen:
        """A pen `dy` of this one's units further down, its unit `scale` times this one's."""
        y = self.y + dy * self.size * self.canvas.unit / self.canvas.height
        return Pen(self.canvas, self.x, y, self.size * scale)

    def _pixel(self, x: float, y: float) -> Point:
        c = self.canvas
        return self.x * c.width + x * self.size * c.unit, self.y * c.height + y * self.size * c.unit

    def polygon(self, points: Sequence[Point], color: RGB) -> None:
        self.canvas.draw.polygon([self._pixel(x, y) for x, y in points], fill=color)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: RGB) -> None:
        self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, color: RGB) -> None:
        # Not `_pixel`: the product is taken in another order, which decides pixels on a boundary.
        x, y, scale = self.x * self.canvas.width, self.y * self.canvas.height, self.size * self.canvas.unit
        self.canvas.draw.ellipse((x + x0 * scale, y + y0 * scale, x + x1 * scale, y + y1 * scale), fill=color)

    def dot(self, x: float, y: float, radius: float, color: RGB) -> None:
        self.ellipse(x - radius, y - radius, x + radius, y + radius, color)

    def disc(self, color: RGB) -> None:
        """The circle one unit across."""
        self.ellipse(-0.5, -0.5, 0.5, 0.5, color)

    def dome(self, x0: float, y0: float, x1: float, y1: float, color: RGB) -> None:
        """The upper half of the ellipse in this box."""
        self.canvas.draw.pieslice((*self._pixel(x0, y0), *self._pixel(x1, y1)), 180, 360, fill=color)
