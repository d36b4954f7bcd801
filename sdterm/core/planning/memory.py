"""How much memory a job will need: from what earlier jobs were measured to need, or else from the size of its model.

A stage needs what is there before it (the weights), and what grows with its size: pixels times the rows of a call of
the network, or the pixels that are decoded. Between sizes that were measured it is a line.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sdterm.core.files import write_atomically
from sdterm.core.planning.ladder import LADDER, WORDS, How, Stage, step_down
from sdterm.core.settings.amounts import said
from sdterm.fields import Ladder, Rung
from sdterm.hooks import MemoryOptimizer
from sdterm.messages import listed, message, plural

_FILE = ("cache", "memory.jsonl")
_MOST = 2000  # lines; the older half is forgotten then
_ALIKE = 0.05  # of the bytes: closer than that is nothing new
TILE = 512 * 512
"""Pixels that a tiled VAE decodes at a time."""
# What Stable Diffusion's networks need, as long as nothing was measured: bytes in half precision.
_PER_PIXEL_AND_ROW = 480.0
_PER_DECODED_PIXEL = 2500.0


@dataclass(frozen=True)
class Place:
    """What measurements can be compared with: by the device's name, a family's id, and how numbers are kept."""

    device: str
    family: str
    precision: str


@dataclass(frozen=True)
class Measured:
    """A stage of a job, once it was over. size: see above. fixed, peak: bytes."""

    device: str
    family: str
    precision: str
    optimizers: str
    """Those that were on and are meant to change what the stage needs, by id, sorted and joined by +."""
    stage: Stage
    size: int
    fixed: int
    peak: int
    seconds: float
    """Of a call of the network, or of decoding a picture."""

    @property
    def of(self) -> tuple[object, ...]:
        """What it is a measurement of: a newer one takes its place."""
        return self.device, self.family, self.precision, self.optimizers, self.stage, self.size


class Measurements:
    """Those of a data folder. Any process may add to them."""

    def __init__(self, root: Path) -> None:
        self._path = root.joinpath(*_FILE)
        self._added: dict[tuple[object, ...], Measured] = {}

    def __iter__(self) -> Iterator[Measured]:
        """Each once, the oldest first."""
        known: dict[tuple[object, ...], Measured] = {}
        with suppress(OSError):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, TypeError):
                    one = Measured(**json.loads(line))
                    known.pop(one.of, None)
                    known[one.of] = one
        yield from known.values()

    def at(self, place: Place) -> list[Measured]:
        return [
            one
            for one in self
            if (one.device, one.family, one.precision) == (place.device, place.family, place.precision)
        ]

    def add(self, one: Measured) -> None:
        """Keep it, unless this process measured the same before. On a full disk only predictions stay as they are."""
        before = self._added.get(one.of)
        if before and abs(before.peak - one.peak) <= _ALIKE * one.peak:
            return
        self._added[one.of] = one
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.read_text(encoding="utf-8").count("\n") > _MOST:
                kept = [*self][-_MOST // 2 :]
                write_atomically(self._path, "".join(map(_line, kept)).encode())
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(one))


def _line(one: Measured) -> str:
    return json.dumps(asdict(one)) + "\n"


@dataclass(frozen=True)
class Drawing:
    """A job, as far as memory and time depend on it."""

    parts: Mapping[str, int]
    """The model's parts → bytes of their weights, as they are loaded."""
    bytes_a_number: int
    passes: Sequence[tuple[int, int]]
    """Of each pass: its pixels, and how many calls of the network it makes."""
    images: int
    guided: bool
    """Whether the negative prompt is run, too."""

    @property
    def pixels(self) -> int:
        """Of a finished picture."""
        return self.passes[-1][0]

    def resized(self, factor: float) -> "Drawing":
        """The same with so many times the pixels."""
        passes = [(int(pixels * factor), calls) for pixels, calls in self.passes]
        return Drawing(self.parts, self.bytes_a_number, passes, self.images, self.guided)


@dataclass(frozen=True)
class Forecast:
    """What a job will need, computed like that."""

    how: How
    needs: Mapping[Stage, int]
    seconds: float | None
    """None where nothing like it was measured."""
    measured: bool
    """Whether all of it rests on measurements, not on the model's size alone."""

    @property
    def peak(self) -> int:
        return max(self.needs.values())

    @property
    def words(self) -> str:
        """The plan in words: `tiled VAE, smaller batches`."""
        return listed(self._in_words(rung) for rung in self.how.rungs) or message("no changes")

    def _in_words(self, rung: Rung) -> str:
        if rung != "split-batch":
            return WORDS[rung]
        return plural("{number} image at a time", "{number} images at a time", self.how.batch)


def on(how: How, stage: Stage) -> str:
    """The optimizers that change what a stage needs, as `Measured` has them."""
    helping = {step.rung for step in LADDER if stage in step.helps}
    return "+".join(sorted(each.of.id for each in how.optimizers if each.of.offloads or each.of.rung in helping))


def rows(how: How, guided: bool) -> int:
    """Of a call of the network."""
    return how.batch * (1 if how.apart or not guided else 2)


def forecasts(
    drawing: Drawing,
    how: How,
    known: Sequence[Measured],
    offered: Sequence[MemoryOptimizer],
    ladder: Ladder = "on",
) -> list[Forecast]:
    """What the job needs as it is asked for, and on each step down the ladder that is known to help: the next one is
    always for the stage that needs the most."""
    found = [forecast(drawing, how, known)]
    now, left = found[0], list(offered)
    while lower := _lower(now, left, ladder):
        lighter, stage, rung = forecast(drawing, lower[0], known), lower[1], lower[2]
        if lighter.needs[stage] < now.needs[stage]:
            found.append(lighter)
        elif any(each.rung == rung for each in left):
            left = [each for each in left if each.rung != rung]
            continue
        now = lighter
    return found


def _lower(now: Forecast, offered: Sequence[MemoryOptimizer], ladder: Ladder) -> tuple[How, Stage, Rung] | None:
    """(one step further down, the stage that it is for, the step)."""
    for stage in sorted(now.needs, key=lambda stage: -now.needs[stage]):
        if lower := step_down(now.how, stage, offered, ladder):
            return lower[0], stage, lower[1]
    return None


def all_tried(known: Sequence[Measured], offered: Sequence[MemoryOptimizer]) -> bool:
    """Whether each of the optimizers has been measured: without that, nobody knows that nothing fits."""
    tried = {name for one in known for name in one.optimizers.split("+")}
    return all(each.id in tried for each in offered)


def fitting(found: Sequence[Forecast], room: int) -> Forecast | None:
    """The first of them, and so the fastest, that needs no more than so many bytes."""
    return next((each for each in found if each.peak <= room), None)


def largest(
    drawing: Drawing, how: How, known: Sequence[Measured], offered: Sequence[MemoryOptimizer], room: int
) -> float:
    """The part of its pixels with which a job would fit, from 0 to 1."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        fits = fitting(forecasts(drawing.resized(middle), how, known, offered), room)
        low, high = (middle, high) if fits else (low, middle)
    return low


def forecast(drawing: Drawing, how: How, known: Sequence[Measured]) -> Forecast:
    """What a job needs, computed like that."""
    sampled = [(pixels * rows(how, drawing.guided), calls) for pixels, calls in drawing.passes]
    widest = max(size for size, _ in sampled)
    decoded = min(drawing.pixels, TILE) if "vae-tiling" in _steps(how) else drawing.pixels
    moved = any(each.of.offloads for each in how.optimizers)
    alike = [one.fixed for one in known if not moved or one.optimizers == on(how, one.stage)]
    measured = alike[-1] if alike else 0  # a process grows: what it had last is what it will have
    held = measured or _weights(drawing, how)
    per_row, per_pixel = (usual * drawing.bytes_a_number / 2 for usual in (_PER_PIXEL_AND_ROW, _PER_DECODED_PIXEL))
    sampling, sample_known = _grows(how, known, "sample", widest, per_row)
    decoding, decode_known = _grows(how, known, "decode", decoded, per_pixel)
    needs = {"load": held, "sample": held + sampling, "decode": held + decoding}
    return Forecast(
        how, needs, _seconds(drawing, how, known, sampled), bool(measured and sample_known and decode_known)
    )


def _steps(how: How) -> set[Rung]:
    return {each.of.rung for each in how.optimizers if each.of.rung}


def _weights(drawing: Drawing, how: How) -> int:
    """Bytes that the weights take on the device."""
    steps = _steps(how)
    if "block-offload" in steps:
        return max(drawing.parts.values(), default=0) // 8
    if "component-offload" in steps:
        return max(drawing.parts.values(), default=0)
    if "text-offload" in steps:  # while sampling, which is when most is needed
        return sum(size for name, size in drawing.parts.items() if not name.startswith("text_encoder"))
    return sum(drawing.parts.values())


def _grows(how: How, known: Sequence[Measured], stage: Stage, size: int, usual: float) -> tuple[int, bool]:
    """(the bytes that a stage needs besides what is held, whether that was measured): by the same optimizers, or else
    by any of them, or else by what is usual."""
    of_stage = [one for one in known if one.stage == stage]
    like = [one for one in of_stage if one.optimizers == on(how, stage)]
    for measured in (like, of_stage):
        points = sorted({one.size: float(one.peak - one.fixed) for one in measured}.items())
        if points:
            return int(_on_line(points, size)), True
    return int(usual * size), False


def _on_line(points: Sequence[tuple[int, float]], size: int) -> float:
    """The value at a size, on the line through the two measured sizes around it, or through the two nearest."""
    if len(points) == 1:
        return points[0][1] * size / points[0][0]
    after = next((index for index, (at, _) in enumerate(points) if at >= size), len(points) - 1)
    (low, before), (high, behind) = points[max(after, 1) - 1], points[max(after, 1)]
    value = before + (behind - before) * (size - low) / (high - low)
    return max(value, 0.0)


def _seconds(drawing: Drawing, how: How, known: Sequence[Measured], sampled: Sequence[tuple[int, int]]) -> float | None:
    took: dict[Stage, list[tuple[int, float]]] = {}
    for stage in ("sample", "decode"):
        like = [one for one in known if (one.stage, one.optimizers) == (stage, on(how, stage)) and one.seconds]
        took[stage] = sorted({one.size: one.seconds for one in like}.items())
    if not all(took.values()):
        return None
    batches = -(-drawing.images // max(how.batch, 1))
    halves = 2 if how.apart and drawing.guided else 1
    drawn = sum(_on_line(took["sample"], size) * number for size, number in sampled) * batches * halves
    return drawn + _on_line(took["decode"], drawing.pixels) * drawing.images


def line(forecast: Forecast, room: int) -> str:
    """`Fits with tiled VAE: about 5.9 of 8.0 GB.`"""
    about = message("about") if forecast.measured else message("roughly")
    peak, there = said(forecast.peak), said(room)
    peak = peak.removesuffix(there[there.index(" ") :])  # as in 5.9 of 8.0 GB
    if not forecast.how.rungs:
        return message("Fits: {about} {peak} of {room}.", about=about, peak=peak, room=there)
    return message("Fits with {how}: {about} {peak} of {room}.", how=forecast.words, about=about, peak=peak, room=there)
