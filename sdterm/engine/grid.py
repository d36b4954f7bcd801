"""All images of a job in one picture, laid out as A1111 does (modules/images.py, image_grid)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdterm.core.infotext.files import ImageFileError, read_infotext, read_pixels
from sdterm.engine.encode import encoded
from sdterm.engine.run import Run
from sdterm.events import Grid, Warning
from sdterm.hooks import PluginError
from sdterm.messages import message

MAX_PIXELS = 200_000_000  # A1111's img_max_size_mp; above it the images of a long job would fill the memory too


@dataclass(frozen=True)
class Cell:
    """An image of the grid: uint8 [H, W, 3] and its infotext."""

    pixels: NDArray[Any]
    infotext: str


def image_grid(images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Images, uint8 [H, W, 3] each, → one uint8 [rows · H, columns · W, 3], row by row. Each cell has the size of the
    largest; a smaller image stands in its middle, on black."""
    rows, columns = layout(len(images))
    height, width = (max(image.shape[side] for image in images) for side in (0, 1))
    grid = np.zeros((rows * height, columns * width, 3), np.uint8)
    for index, image in enumerate(images):
        top = index // columns * height + (height - image.shape[0]) // 2
        left = index % columns * width + (width - image.shape[1]) // 2
        grid[top : top + image.shape[0], left : left + image.shape[1]] = image
    return grid


def layout(count: int) -> tuple[int, int]:
    """Rows and columns for so many images: as near to a square as it goes, wider than high."""
    rows = min(round(math.sqrt(count)), count)
    return rows, math.ceil(count / rows)


def makes_grid(run: Run) -> bool:
    """Whether a grid is asked for and possible; a warning says why not."""
    count = len(run.plan.images) - len(run.skipped_images)
    if not run.request.grid or count < 2:
        return False
    rows, columns = layout(count)
    pixels = rows * columns * run.plan.width * run.plan.height
    lost = sum(path is None for path in run.saved.values())
    if lost:
        why = message("{lost} of the {number} images were finished in an earlier run", lost=lost, number=count)
    elif pixels > MAX_PIXELS:
        why = message(
            "it would have {size:,.0f} megapixels; the limit is {limit:,.0f}",
            size=pixels / 1000000.0,
            limit=MAX_PIXELS / 1000000.0,
        )
    else:
        return True
    run.emit(Warning(code="grid_skipped", message=message("No grid was made: {reason}.", reason=why)))
    return False


def emit_grid(run: Run, drawn: Mapping[int, Cell]) -> None:
    """The grid of a finished job, from what was drawn now and the files of what was before. The images are what
    matters: what prevents it is a warning."""
    try:
        saved = {index: _read(path) for index, path in run.saved.items() if path and index not in run.skipped_images}
        cells = [cell for _, cell in sorted({**saved, **drawn}.items())]
        if len(cells) < 2:  # it was cut short
            return
        grid, infotext = image_grid([cell.pixels for cell in cells]), cells[0].infotext
        file = encoded(run, grid, lambda saver, faults: infotext, lambda: grid[None][:0])
    except (PluginError, ImageFileError, MemoryError) as error:
        run.emit(Warning(code="grid_skipped", message=message("No grid was made. {problem}", problem=error)))
        return
    height, width = grid.shape[:2]
    run.emit(Grid(width=width, height=height, infotext=infotext, suffix=file.suffix, data=file.data))


def _read(path: Path) -> Cell:
    return Cell(read_pixels(path), read_infotext(path) or "")
