"""How far two pictures are apart."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdterm.messages import message


@dataclass(frozen=True)
class Difference:
    """Of two pictures of one size. Levels are of 255."""

    pixels: int
    differing: int
    """Pixels that are not the same in every channel."""
    largest: tuple[int, int, int]
    """The largest difference in red, green and blue."""
    psnr: float
    """Peak signal-to-noise ratio, dB; infinite for identical pictures."""

    @property
    def identical(self) -> bool:
        return self.differing == 0

    def __str__(self) -> str:
        if self.identical:
            return message("identical: all {pixels:,} pixels are the same", pixels=self.pixels)
        red, green, blue = self.largest
        return message(
            "different: {differing:,} of {pixels:,} pixels differ, by at most {largest}/255 (red {red}, green "
            "{green}, blue {blue}); PSNR {psnr:.1f} dB",
            differing=self.differing,
            pixels=self.pixels,
            largest=max(self.largest),
            red=red,
            green=green,
            blue=blue,
            psnr=self.psnr,
        )


def compare(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Difference:
    """Two uint8 [H, W, 3] of the same shape."""
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
    squared = float((apart.astype(np.float64) ** 2).mean())
    red, green, blue = (int(channel) for channel in apart.max(axis=(0, 1)))
    return Difference(
        pixels=apart.shape[0] * apart.shape[1],
        differing=int(apart.any(axis=2).sum()),
        largest=(red, green, blue),
        psnr=10 * math.log10(255**2 / squared) if squared else math.inf,
    )
