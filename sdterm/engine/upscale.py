"""Making pictures larger by an upscaler, as A1111 does."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.library.checkpoints import ModelFileError
from sdterm.core.library.scan import stamp_of
from sdterm.core.library.upscalers import ChosenUpscaler
from sdterm.core.planning.enlargement import larger_side
from sdterm.core.text import printable
from sdterm.engine.recorder import CancelledError
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.hooks import LoadedUpscaler
from sdterm.messages import message

MOST_PIXELS = 2**28
"""That a picture may have on the way to its size: as bytes they are three quarters of a gigabyte."""
_MOST_TIMES = 3
_DTYPE = torch.float32  # as in A1111, on every device


class UpscaleError(SdtermError, ValueError):
    """A picture cannot be made so large."""

    code = BAD_REQUEST


@dataclass
class KeptUpscaler:
    """The upscaler's network in memory: the last one that was used."""

    asked: tuple[object, ...] = ()
    loaded: LoadedUpscaler | None = None


@dataclass(frozen=True)
class Upscaling:
    """What upscaling works with.

    tile, overlap: of networks, in pixels; without a tile a picture goes through as a whole. report: told, after each
    call of a network, how many of how many calls are done that make one picture larger.
    """

    plugins: PluginSet
    device: torch.device
    tile: int = 192
    overlap: int = 8
    cancel: threading.Event = field(default_factory=threading.Event)
    report: Callable[[int, int], None] = lambda done, calls: None
    kept: KeptUpscaler = field(default_factory=KeptUpscaler)


def enlarged(
    upscaling: Upscaling, chosen: ChosenUpscaler, image: NDArray[Any], width: int, height: int
) -> NDArray[Any]:
    """A picture, uint8 [H, W, 3], in that size. The upscaler only enlarges it; the rest is Lanczos. Source: A1111
    images.resize_image."""
    scale = max(width / image.shape[1], height / image.shape[0])
    return _resized(upscaled(upscaling, chosen, image, scale) if scale > 1 else image, width, height)


def upscaled(upscaling: Upscaling, chosen: ChosenUpscaler, image: NDArray[Any], scale: float) -> NDArray[Any]:
    """A picture, uint8 [H, W, 3], `scale` times as large, down to multiples of 8: by the upscaler until it is large
    enough, at most three times, then by Lanczos. Raises CancelledError, ModelFileError, PluginError. Source: A1111
    upscaler.Upscaler.upscale, version 1.10."""
    height, width = (larger_side(side, scale) for side in image.shape[:2])
    _check_size(chosen, width, height)
    if chosen.of.resize:
        larger = _by_rule(upscaling, chosen, image, (height, width), scale)
    else:
        larger = _by_network(upscaling, chosen, image, (height, width), scale)
    return _resized(larger, width, height)


def _goes_on(shape: tuple[int, ...], wanted: tuple[int, int], times: int, scale: float) -> bool:
    """Whether a picture is to be made larger once more."""
    is_small = shape[0] < wanted[0] or shape[1] < wanted[1]
    return times < _MOST_TIMES and (is_small or (times == 0 and scale == 1))


def _check_size(chosen: ChosenUpscaler, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise UpscaleError(
            message(
                "{upscaler} would make an image of {width} × {height} pixels on the way; the limit is {limit:,} "
                "pixels. Use a smaller factor or a smaller image.",
                upscaler=printable(chosen.name),
                width=width,
                height=height,
                limit=MOST_PIXELS,
            )
        )


def _resized(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _by_rule(
    upscaling: Upscaling, chosen: ChosenUpscaler, image: NDArray[Any], wanted: tuple[int, int], scale: float
) -> NDArray[Any]:
    times = 0
    while _goes_on(image.shape, wanted, times, scale):
        if upscaling.cancel.is_set():
            raise CancelledError
        before = image.shape
        image = _resized_by(upscaling, chosen, image, scale)
        times += 1
        if image.shape == before:
            break
    return image


def _resized_by(upscaling: Upscaling, chosen: ChosenUpscaler, image: NDArray[Any], scale: float) -> NDArray[Any]:
    assert chosen.of.resize
    with upscaling.plugins.guard(chosen.of):
        larger = chosen.of.resize(image.copy(), scale)
        if not (isinstance(larger, np.ndarray) and larger.dtype == np.uint8 and larger.ndim == 3):
            raise ContractError(message("it returned no uint8 image"))
        if larger.shape[2] != 3 or not larger.size:
            raise ContractError(message("it returned an image of shape {shape}, not [H, W, 3]", shape=larger.shape))
    return larger


# --- networks ---------------------------------------------------------------------------------------------------------


def _by_network(
    upscaling: Upscaling, chosen: ChosenUpscaler, image: NDArray[Any], wanted: tuple[int, int], scale: float
) -> NDArray[Any]:
    loaded = _loaded(upscaling, chosen)
    shapes = [(image.shape[0], image.shape[1])]
    while _goes_on(shapes[-1], wanted, len(shapes) - 1, scale):
        shapes.append((shapes[-1][0] * loaded.scale, shapes[-1][1] * loaded.scale))
        _check_size(chosen, shapes[-1][1], shapes[-1][0])
        if loaded.scale == 1:
            break
    network = _Network(upscaling, chosen, loaded, sum(_calls(upscaling, shape) for shape in shapes[:-1]))
    for _ in shapes[1:]:
        image = network.larger(image)
    return image


def _calls(upscaling: Upscaling, shape: tuple[int, int]) -> int:
    return math.prod(len(_places(side, upscaling.tile, upscaling.overlap)) for side in shape) if upscaling.tile else 1


@dataclass
class _Network:
    """An upscaler's network at work on one picture. Source: A1111 upscaler_utils.upscale_with_model."""

    upscaling: Upscaling
    chosen: ChosenUpscaler
    loaded: LoadedUpscaler
    calls: int
    done: int = 0

    def larger(self, image: NDArray[Any]) -> NDArray[Any]:
        """The picture after one pass, tile after tile."""
        picture, size, overlap = Image.fromarray(image), self.upscaling.tile, self.upscaling.overlap
        if not size:
            return np.asarray(self._call(picture))
        columns, rows = (_places(side, size, overlap) for side in picture.size)
        grid = _Grid(picture.size, size, min(overlap, size - 1), self.loaded.scale)
        for y in rows:
            for x in columns:
                grid.lay(x, self._call(picture.crop((x, y, x + size, y + size))))
            grid.end_row(y)
        return np.asarray(grid.whole)

    def _call(self, tile: Image.Image) -> Image.Image:
        larger = _call(self.upscaling, self.chosen, self.loaded, tile)
        self.done += 1
        self.upscaling.report(self.done, self.calls)
        return larger


def _places(side: int, size: int, overlap: int) -> list[int]:
    """Where tiles begin, spread evenly; before the edge where the picture is smaller than a tile, as in A1111. Source:
    A1111 images.split_grid."""
    overlap = min(overlap, size - 1)
    count = math.ceil((side - overlap) / (size - overlap))
    step = (side - size) / (count - 1) if count > 1 else 0
    places = (int(number * step) for number in range(max(count, 1)))
    return [side - size if place + size >= side else place for place in places]


class _Grid:
    """Tiles that come row by row, joined: over the overlap each fades into the one before. Source: A1111
    images.combine_grid, which also fades a first tile that begins before the edge, into black."""

    def __init__(self, picture: tuple[int, int], size: int, overlap: int, scale: int) -> None:
        width, height = (side * scale for side in picture)
        self.whole = Image.new("RGB", (width, height))
        self._size, self._overlap, self._scale = size * scale, overlap * scale, scale
        self._row = Image.new("RGB", (width, self._size))
        fade = (np.arange(self._overlap, dtype=np.float32) * 255 / max(self._overlap, 1)).astype(np.uint8)
        self._across = Image.fromarray(np.repeat(fade[None, :], self._size, 0)) if overlap else None
        self._down = Image.fromarray(np.repeat(fade[:, None], width, 1)) if overlap else None

    def lay(self, x: int, tile: Image.Image) -> None:
        at, overlap = x * self._scale, self._overlap
        if at <= 0 or not self._across:
            self._row.paste(tile, (at, 0))
            return
        self._row.paste(tile.crop((0, 0, overlap, self._size)), (at, 0), mask=self._across)
        self._row.paste(tile.crop((overlap, 0, self._size, self._size)), (at + overlap, 0))

    def end_row(self, y: int) -> None:
        at, overlap, row = y * self._scale, self._overlap, self._row
        self._row = Image.new("RGB", row.size)
        if at <= 0 or not self._down:
            self.whole.paste(row, (0, at))
            return
        self.whole.paste(row.crop((0, 0, row.width, overlap)), (0, at), mask=self._down)
        self.whole.paste(row.crop((0, overlap, row.width, self._size)), (0, at + overlap))


def _call(upscaling: Upscaling, chosen: ChosenUpscaler, loaded: LoadedUpscaler, tile: Image.Image) -> Image.Image:
    """A tile, or the whole picture, through the network."""
    if upscaling.cancel.is_set():
        raise CancelledError
    pixels = torch.from_numpy(np.array(tile)).to(upscaling.device).permute(2, 0, 1)[None].to(_DTYPE) / 255
    with torch.inference_mode(), upscaling.plugins.guard(chosen.of, torch.OutOfMemoryError):
        larger = loaded.apply(pixels)
        wanted = (1, 3, tile.height * loaded.scale, tile.width * loaded.scale)
        if not isinstance(larger, torch.Tensor) or larger.shape != wanted:
            raise ContractError(
                message(
                    "it made {found} of a tile, not {wanted}", found=[*getattr(larger, "shape", ())], wanted=[*wanted]
                )
            )
    finite = larger[0].float().nan_to_num().clamp(0, 1)
    return Image.fromarray((finite * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def _loaded(upscaling: Upscaling, chosen: ChosenUpscaler) -> LoadedUpscaler:
    """The network, from memory if it is there."""
    kept, file, build = upscaling.kept, chosen.file, chosen.of.build
    assert file and build  # see Upscaler
    asked = (chosen.of, file.path, stamp_of(file.path), upscaling.device)
    if kept.asked == asked and kept.loaded:
        return kept.loaded
    kept.asked, kept.loaded = (), None  # its memory is needed for the next one
    with upscaling.plugins.guard(chosen.of, ModelFileError, torch.OutOfMemoryError):
        loaded = build(file, upscaling.device, _DTYPE)
        if not isinstance(loaded, LoadedUpscaler) or type(loaded.scale) is not int or loaded.scale < 1:
            raise ContractError(message("it returned no LoadedUpscaler with a scale of 1 or more"))
    kept.asked, kept.loaded = asked, loaded
    return loaded
