"""The colours of a drawn picture made those of another. Sources: A1111 processing.apply_color_correction, which asks
OpenCV for CIELAB, scikit-image for match_histograms and blendmodes for the luminosity of the drawn picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_Numbers = NDArray[np.float64]
_Whole = NDArray[np.int64]

_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.950456, 1.0, 1.088754])  # D65, as OpenCV has both
_THRESHOLD = 216 / 24389  # below it CIELAB is a line
_SHIFT, _FINE = 12, 15  # bits behind the point: of XYZ, and of its cube roots


def _linear(srgb: _Numbers) -> _Numbers:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _root(t: _Numbers) -> _Numbers:
    return np.where(t < _THRESHOLD, t * 841 / 108 + 16 / 116, np.cbrt(t))


_LINEAR: _Whole = np.rint(255 * 8 * _linear(np.arange(256) / 255)).astype(np.int64)
_CUBE_ROOTS: _Whole = np.rint((1 << _FINE) * _root(np.arange(256 * 3 // 2 * 8) / (255 * 8))).astype(np.int64)
_TO_XYZ: _Whole = np.rint((1 << _SHIFT) * _XYZ / _WHITE[:, None]).astype(np.int64)
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])


def corrected(drawn: Pixels, wanted: Pixels) -> Pixels:
    """`drawn` [H, W, 3] with the colours of `wanted` [h, w, 3] and its own brightness."""
    lab, target = _lab(drawn), _lab(wanted)
    matched = np.stack([_matched(lab[..., i], target[..., i]) for i in range(3)], axis=-1)
    return _with_brightness(_rgb(matched) / 255, drawn / 255)


def _matched(source: Pixels, target: Pixels) -> Pixels:
    """A channel with the other's distribution of values."""
    counts, wanted = np.bincount(source.ravel(), minlength=256), np.bincount(target.ravel(), minlength=256)
    values = np.nonzero(wanted)[0]
    quantiles, wanted_quantiles = np.cumsum(counts) / source.size, np.cumsum(wanted[values]) / target.size
    table = np.interp(quantiles, wanted_quantiles, values)
    return table.astype(np.uint8)[source]


def _lab(pixels: Pixels) -> Pixels:
    """sRGB → CIELAB in 8 bits: L from 0 to 255, a and b around 128. In whole numbers, rounded where OpenCV rounds: a
    level more or less can lie far away in the other picture's distribution."""
    x, y, z = (_CUBE_ROOTS[_descaled(_LINEAR[pixels] @ weights, _SHIFT)] for weights in _TO_XYZ)
    light = _descaled(296 * y - (16 * 255 * (1 << _FINE) + 50) // 100, _FINE)
    a, b = (_descaled(factor * difference, _FINE) + 128 for factor, difference in ((500, x - y), (200, y - z)))
    return np.stack([light, a, b], axis=-1).clip(0, 255).astype(np.uint8)


def _descaled(numbers: _Whole, bits: int) -> _Whole:
    return (numbers + (1 << (bits - 1))) >> bits


def _rgb(lab: Pixels) -> Pixels:
    """The way back."""
    light, a, b = lab[..., 0] / 2.55, lab[..., 1] - 128.0, lab[..., 2] - 128.0
    y = (light + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    t = np.where(f**3 > _THRESHOLD, f**3, (116 * f - 16) * 27 / 24389)
    linear = (t * _WHITE @ np.linalg.inv(_XYZ).T).clip(0, 1)
    return _whole(255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


def _with_brightness(colours: _Numbers, like: _Numbers) -> Pixels:
    """W3C's blend mode "luminosity": what leaves 0 … 1 is drawn towards grey. Truncated, as blendmodes does it."""
    shifted = colours + ((like - colours) @ _BRIGHTNESS)[..., None]
    grey: _Numbers = (shifted @ _BRIGHTNESS)[..., None]
    low, high = shifted.min(-1, keepdims=True), shifted.max(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where(low < 0, grey + (shifted - grey) * grey / (grey - low), shifted)
        result = np.where(high > 1, grey + (shifted - grey) * (1 - grey) / (high - grey), result)
    pixels: Pixels = (np.nan_to_num(result).clip(0, 1) * 255).astype(np.uint8)
    return pixels


def _whole(numbers: NDArray[Any]) -> Pixels:
    pixels: Pixels = np.rint(numbers).clip(0, 255).astype(np.uint8)
    return pixels
