"""A part of a picture on cells: which pixels stand where. It has the picture's shape, so each takes as many cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sdterm.tui.picture.image import fit

_LEAST = 8  # pixels of the picture's shorter side that are in sight at least


@dataclass(frozen=True)
class Window:
    """The part of a picture from `left`, `top` on, `1 / zoom` of it in each direction.

    What it shows are dots: two in a cell, one above the other. Those it counts from the upper left corner.
    """

    width: int
    height: int
    """Of the picture, in pixels."""
    columns: int
    rows: int
    left: float = 0
    top: float = 0
    zoom: float = 1

    @classmethod
    def whole(cls, width: int, height: int, columns: int, rows: int) -> Window:
        """All of a picture, as large as so many cells allow."""
        return cls(width, height, *fit((width, height), columns, rows, (1, 2)))

    @property
    def dots(self) -> tuple[int, int]:
        return self.columns, 2 * self.rows

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The pixels in sight: left, top, right, bottom."""
        return self.left, self.top, self.left + self.width / self.zoom, self.top + self.height / self.zoom

    @property
    def step(self) -> float:
        """Pixels from one dot to the next."""
        return max(self.width / self.columns, self.height / (2 * self.rows)) / self.zoom

    def pixels_of(self, dot: tuple[int, int]) -> tuple[int, int, int, int]:
        """The box of the picture's pixels that a dot shows; at least one."""
        left, top, right, bottom = self.box
        across, down = self.dots
        x, y = left + dot[0] * (right - left) / across, top + dot[1] * (bottom - top) / down
        x2, y2 = x + (right - left) / across, y + (bottom - top) / down
        return int(x), int(y), max(int(x) + 1, round(x2)), max(int(y) + 1, round(y2))

    def centre_of(self, dot: tuple[int, int]) -> tuple[int, int]:
        """The pixel in the middle of a dot."""
        left, top, right, bottom = self.pixels_of(dot)
        return min(self.width - 1, (left + right - 1) // 2), min(self.height - 1, (top + bottom - 1) // 2)

    def dot_at(self, pixel: tuple[int, int]) -> tuple[int, int]:
        """The dot that shows a pixel, or the nearest one."""
        left, top, right, bottom = self.box
        across, down = self.dots
        x = int((pixel[0] + 0.5 - left) * across / (right - left))
        y = int((pixel[1] + 0.5 - top) * down / (bottom - top))
        return self.within((x, y))

    def within(self, dot: tuple[int, int]) -> tuple[int, int]:
        """The nearest dot that there is."""
        across, down = self.dots
        return max(0, min(across - 1, dot[0])), max(0, min(down - 1, dot[1]))

    def around(self, box: tuple[int, int, int, int]) -> Window:
        """The smallest part that has a box of pixels in it."""
        across, down = max(1, box[2] - box[0]), max(1, box[3] - box[1])
        middle = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
        return self._zoomed(min(self.width / across, self.height / down), middle)

    def nearer(self, pixel: tuple[int, int], factor: float = 2) -> Window:
        """Less of the picture, with that pixel in the middle; more with a factor below 1."""
        return self._zoomed(self.zoom * factor, pixel)

    def holding(self, pixel: tuple[int, int]) -> Window:
        """With a pixel in sight, in the middle if it was not."""
        left, top, right, bottom = self.box
        is_in_sight = left <= pixel[0] < right and top <= pixel[1] < bottom
        return self if is_in_sight else self._zoomed(self.zoom, pixel)

    def _zoomed(self, zoom: float, middle: tuple[int, int]) -> Window:
        zoom = max(1.0, min(zoom, min(self.width, self.height) / _LEAST))
        across, down = self.width / zoom, self.height / zoom
        left = max(0.0, min(self.width - across, middle[0] - across / 2))
        top = max(0.0, min(self.height - down, middle[1] - down / 2))
        return replace(self, left=left, top=top, zoom=zoom)
