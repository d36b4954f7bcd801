"""A mask while it is drawn: what a shape makes of it, and all that can be taken back.

A canvas is uint8 [H, W] at the picture's own size, 0 or 255; 255 is what is to be drawn anew. No function changes the
canvas that it is given.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Canvas: TypeAlias = NDArray[np.uint8]
Point: TypeAlias = tuple[int, int]
Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, and behind the last column and row."""

FULL, EMPTY = 255, 0
_STEPS_BACK = 200


def blank(width: int, height: int) -> Canvas:
    return np.zeros((height, width), np.uint8)


# --- shapes -----------------------------------------------------------------------------------------------------------


def rectangle(canvas: Canvas, box: Box, value: int = FULL) -> Canvas:
    left, top, right, bottom = _within(canvas, box)
    drawn = canvas.copy()
    drawn[top:bottom, left:right] = value
    return drawn


def ellipse(canvas: Canvas, box: Box, value: int = FULL) -> Canvas:
    """The largest one in a box."""
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return canvas
    image, draw = _drawing(canvas)
    draw.ellipse((left, top, right - 1, bottom - 1), fill=value)
    return _canvas(image)


def brush(canvas: Canvas, points: Sequence[Point], radius: int, value: int = FULL) -> Canvas:
    """A line through the points with round ends; one point is a dab."""
    image, draw = _drawing(canvas)
    draw.point(points, fill=value)  # which an ellipse of one pixel is not
    if len(points) > 1:
        draw.line(points, fill=value, width=2 * radius + 1)
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
    return _canvas(image)


def lasso(canvas: Canvas, points: Sequence[Point], value: int = FULL) -> Canvas:
    """What a line through the points and back to the first encloses, with the line."""
    if len(points) < 3:
        return brush(canvas, points, 0, value)
    image, draw = _drawing(canvas)
    draw.polygon(points, fill=value, outline=value)
    return _canvas(image)


def _drawing(canvas: Canvas) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.fromarray(canvas)
    return image, ImageDraw.Draw(image)


def _canvas(image: Image.Image) -> Canvas:
    return np.asarray(image, np.uint8).copy()


def _within(canvas: Canvas, box: Box) -> Box:
    height, width = canvas.shape
    left, top, right, bottom = box
    return max(0, left), max(0, top), max(0, min(right, width)), max(0, min(bottom, height))


# --- the whole mask ---------------------------------------------------------------------------------------------------


def grown(canvas: Canvas, pixels: int) -> Canvas:
    """With all that is at most so many pixels away."""
    box = _bounds(canvas)
    if box is None or pixels < 1:
        return canvas
    from scipy.ndimage import distance_transform_edt

    left, top, right, bottom = box
    left, top, right, bottom = _within(canvas, (left - pixels, top - pixels, right + pixels, bottom + pixels))
    drawn = canvas.copy()
    near = distance_transform_edt(canvas[top:bottom, left:right] == EMPTY) <= pixels
    drawn[top:bottom, left:right] = np.where(near, FULL, EMPTY)
    return drawn


def shrunk(canvas: Canvas, pixels: int) -> Canvas:
    """Without all that is at most so many pixels from where it ends; the picture's edge is no such end."""
    return inverted(grown(inverted(canvas), pixels))


def inverted(canvas: Canvas) -> Canvas:
    return FULL - canvas


def share(canvas: Canvas) -> float:
    """How much of the picture is covered, from 0 to 1."""
    return float(np.count_nonzero(canvas)) / max(1, canvas.size)


def _bounds(canvas: Canvas) -> Box | None:
    """The smallest box with all that is not 0."""
    rows, columns = np.flatnonzero(canvas.any(1)), np.flatnonzero(canvas.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def png(canvas: Canvas) -> bytes:
    """A grey PNG: white is drawn anew."""
    file = BytesIO()
    Image.fromarray(canvas).save(file, "PNG", optimize=True)
    return file.getvalue()


def from_image(image: Image.Image, width: int, height: int) -> Canvas:
    """The mask that a picture is, at another picture's size: what is lighter than the middle is covered."""
    grey = image.convert("L").resize((width, height), Image.Resampling.BOX)
    return np.where(np.asarray(grey) > FULL // 2, FULL, EMPTY).astype(np.uint8)


# --- what can be taken back -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """The pixels that one change turned over; turning them again takes it back."""

    box: Box
    turned: bytes

    def turn(self, canvas: Canvas) -> Canvas:
        left, top, right, bottom = self.box
        shape = bottom - top, right - left
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.turned), np.uint8), count=shape[0] * shape[1])
        drawn = canvas.copy()
        drawn[top:bottom, left:right] ^= (bits * FULL).reshape(shape)
        return drawn


@dataclass
class History:
    """A canvas, and the changes that led to it and away from it. A change costs what it turned over, packed."""

    now: Canvas
    _before: list[_Step] = field(default_factory=list)
    _after: list[_Step] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        return bool(self._before)

    def change(self, canvas: Canvas) -> bool:
        """Go on with another canvas. Returns whether anything is different."""
        turned = self.now ^ canvas
        box = _bounds(turned)
        if box is None:
            return False
        left, top, right, bottom = box
        packed = zlib.compress(np.packbits(turned[top:bottom, left:right] != 0).tobytes(), 1)
        self._before = [*self._before[1 - _STEPS_BACK :], _Step(box, packed)]
        self._after.clear()
        self.now = canvas
        return True

    def back(self) -> bool:
        """Take back the last change. Returns whether there was one."""
        return self._turned(self._before, self._after)

    def forth(self) -> bool:
        """Do again what was taken back last. Returns whether there was anything."""
        return self._turned(self._after, self._before)

    def _turned(self, source: list[_Step], target: list[_Step]) -> bool:
        if not source:
            return False
        step = source.pop()
        target.append(step)
        self.now = step.turn(self.now)
        return True
