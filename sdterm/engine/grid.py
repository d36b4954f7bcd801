"""All images of a job in one picture, laid out as A1111 does (modules/images.py, image_grid)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 200_000_000  # A1111's img_max_size_mp; above it the images of a long job would fill the memory too


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
