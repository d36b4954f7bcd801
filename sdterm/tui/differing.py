"""What pictures were drawn with, compared by their infotexts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.record import KEY, Provenance
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.tui.fields import Field
from sdterm.tui.language import said, tr

if TYPE_CHECKING:
    from sdterm.api import Picture

_DIGITS = 2  # of a variation's seed: the Gallery has no room for more beside a sampler
_FOLLOWS = ("Version", "Model hash")  # from what was compared already, or from the program's age
_BARE = ("Sampler", "Schedule type", "Size", "Model")  # whose values say themselves what they are
_SHORT = {
    "CFG scale": "CFG",
    "Variation seed strength": "Vary",
    "Variation seed": "by seed",
    "Clip skip": "Clip",
    "Postprocess upscale by": "upscaled by",
    "Postprocess upscale to": "upscaled to",
    "Postprocess upscaler": "Upscaler",
    "Postprocess upscaler 2": "Upscaler 2",
}
_OURS = {*_SHORT.values(), *(row.label for row in FIELDS.values()), "Prompt", "Negative prompt"}
SEEDS = ("Variation seed", "Seed")
"""Parameters that nearly always change, and so are told last."""
_WIDTH = 48  # characters of a value in the table, at most; a quarter of them stands before the first difference


def seed_of(picture: Picture) -> str:
    """Its seed; of a variation also the end of the variation's, by which it differs from the others of its batch."""
    said = parse(picture.infotext).parameters
    seed = said.get("Seed", "") if picture.seed is None else f"{picture.seed}"
    variation = said.get("Variation seed", "")
    return f"{seed}~{variation if len(variation) <= _DIGITS else '…' + variation[-_DIGITS:]}" if variation else seed


def kind_word(picture: Picture) -> str:
    """What it is, unless it is an ordinary image."""
    words = {
        "grid": tr("grid"),
        "before hires": tr("before hires"),
        "mask": tr("mask"),
        "mask composite": tr("mask composite"),
        "upscaled": tr("upscaled"),
    }
    return words.get(picture.kind, "")


class Gone(str):
    """What a picture has no more, in words that say the opposite once they are cut."""

    __slots__ = ()


def parameters(infotext: str) -> dict[str, str]:
    """Everything that decides how a picture looks, by A1111's names."""
    said = parse(infotext)
    record = Provenance.parse(said.parameters.get(KEY, ""))
    plain = {key: _plain(value) for key, value in said.parameters.items() if key not in (KEY, *_FOLLOWS)}
    exact = dict(_exact(name, value) for name, value in record.fields.items())
    return {"Prompt": said.prompt, "Negative prompt": said.negative_prompt, **plain, **exact}


def _exact(name: str, value: Any) -> tuple[str, str]:
    """A request's field by its label; of pictures that it names the beginnings of their digests are enough."""
    row = FIELDS.get(name)
    if not row:
        return name, str(value)
    return row.label, as_told(Field((row,)), {name: value})


def as_told(field: Field, values: Mapping[str, Any]) -> str:
    """A field's value in a request with those, where it is told and not edited."""
    value = field.value(values)
    if field.kind == "input":
        return digests_in_short(value)
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else field.read(values)


def digests_in_short(value: Any) -> str:
    """The picture, or the pictures, that a field names."""
    digests = value if isinstance(value, list | tuple) else [value] if value else []
    return ", ".join(f"{str(digest)[:8]}…" for digest in digests)


def _plain(value: str) -> str:
    """A whole number without its `.0`."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", value)


def differing(infotexts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parameter → its value in each infotext; only those that are not the same in all, in the order of infotexts."""
    all_of_them = [parameters(infotext) for infotext in infotexts]
    names = dict.fromkeys(name for each in all_of_them for name in each)
    rows = {name: tuple(each.get(name, "") for each in all_of_them) for name in names}
    return {name: values for name, values in rows.items() if len({*values}) > 1}


def changed(before: str, now: str) -> dict[str, str]:
    """What changed from one infotext to the next: parameter → what it is now, in a word or two: `CFG 9`, `Euler a`,
    `prompt`. The most telling come first."""
    rows = sorted(differing((before, now)).items(), key=lambda row: row[0] in SEEDS)
    told = {name: _told(name, values[1]) for name, values in rows}
    once = {word: name for name, word in reversed(told.items())}  # several keys may be gone with one thing
    return {name: word for name, word in told.items() if once[word] == name}


def in_short(changes: Mapping[str, str], seed: int | None, width: int) -> str:
    """What changed, in so many cells; where that are seeds alone, the last digits of one."""
    words = (word for name, word in changes.items() if name not in SEEDS)
    told = ", ".join(word for word in words if not isinstance(word, Gone) or cell_len(word) < width)
    if not told:
        digits = changes.get(SEEDS[0], f"{seed}").split(" ")[-1]
        told = digits if len(digits) < width else "…" + digits[2 - width :]
    parts = told.split(" ")
    while len(parts) > 1 and cell_len(" ".join(parts)) > width:
        parts.pop()  # half a number would be another number
    told = " ".join(parts).rstrip(",")
    return f" {told}" if cell_len(told) < width else told  # away from what stands on its left


def _told(name: str, value: str) -> str:
    match name:
        case "Prompt":
            return tr("prompt")
        case "Negative prompt":
            return tr("negative")
        case _ if not value and name.startswith("Postprocess upscale"):
            return Gone(tr("not upscaled"))
        case _ if not value and name.startswith("Hires "):
            return Gone(tr("no hires fix"))
        case _ if not value:
            return Gone(tr("no {name}", name=_name(name, 20)))
        case _ if name in _BARE:
            return printable(value, 30)
        case _:
            return f"{_name(_SHORT.get(name, name), 20)} {printable(value, 30)}"


def _name(name: str, width: int) -> str:
    """A parameter's name in the language that is in use: an infotext may have any, and only ours are translated."""
    return tr(name) if name in _OURS else printable(name, width)


def table(rows: Mapping[str, Sequence[str]], width: int = _WIDTH) -> list[tuple[str, list[str]]]:
    """The rows as they fit, so many characters a value: of long texts the place where they begin to differ."""
    width = min(width, _WIDTH)
    return [(_name(name, 24), _cut([printable(value) for value in values], width)) for name, values in rows.items()]


def _cut(values: Sequence[str], width: int) -> list[str]:
    if max(map(len, values)) <= width:
        return [value or "-" for value in values]
    first = next((at for at, letters in enumerate(zip(*values, strict=False)) if len({*letters}) > 1), None)
    start = max(0, (min(map(len, values)) if first is None else first) - width // 4)
    cut = [("…" if start else "") + value[start:] for value in values]
    return [(value if len(value) <= width else value[: width - 1] + "…") or "-" for value in cut]


def measured(one: bytes, other: bytes) -> str:
    """How far the pixels of two picture files are apart, as a sentence."""
    from sdterm.core.comparison import compare
    from sdterm.core.infotext.files import ImageFileError, read_pixels

    try:
        pixels = read_pixels(one), read_pixels(other)
    except (ImageFileError, OSError) as error:
        return said(str(error))
    if pixels[0].shape != pixels[1].shape:
        return tr("Their sizes are not the same, so their pixels cannot be compared.")
    found = compare(*pixels)
    if found.identical:
        return tr("All pixels are the same.")
    share = max(0.1, 100 * found.differing / found.pixels)
    return tr(
        "{share}% of the pixels differ, by at most {most}/255; PSNR {psnr} dB.",
        share=f"{share:.1f}",
        most=max(found.largest),
        psnr=f"{found.psnr:.1f}",
    )
