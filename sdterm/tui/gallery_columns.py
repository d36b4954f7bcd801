"""The Gallery's columns: what each one shows, how wide it is, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from sdterm.core.infotext.grammar import Infotext, parse
from sdterm.core.text import printable
from sdterm.tui.differing import kind_word, seed_of
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.api import Picture

MARKS = 3
"""Cells before the first column: what a picture is marked with, and whether its line is a batch."""
PROMPT = "prompt"
_PROMPT_LEAST, _PROMPT_SHARE = 14, 3  # cells, and which part of all
_LONGEST = 300  # characters of a prompt
_GAP = 1


@dataclass(frozen=True)
class Column:
    """One column. `order` is what the host sorts it by; `falls`: the largest comes first when it is sorted by."""

    id: str
    title: str
    most: int
    """Cells, but for the prompt, which takes what is left."""
    text: Callable[[Picture, Infotext], str]
    falls: bool = False


def _said(key: str) -> Callable[[Picture, Infotext], str]:
    return lambda picture, infotext: infotext.parameters.get(key, "")


def _time(picture: Picture, infotext: Infotext) -> str:
    saved = datetime.fromtimestamp(picture.saved)
    now = datetime.now()
    if saved.date() == now.date():
        return f"{saved:%H:%M}"
    return f"{saved:%m-%d}" if saved.year == now.year else f"{saved:%Y-%m-%d}"


def _prompt(picture: Picture, infotext: Infotext) -> str:
    kind = kind_word(picture)
    return (f"({kind}) " if kind else "") + " ".join(infotext.prompt.split())


def columns() -> Mapping[str, Column]:
    """Each by its name in the setting `gallery_columns`, titled in the language that is in use."""
    known = (
        Column("number", tr("No."), 8, lambda picture, infotext: str(picture.id), falls=True),
        Column("time", tr("Time"), 10, _time, falls=True),
        Column("seed", tr("Seed"), 20, lambda picture, infotext: seed_of(picture)),
        Column("sampler", tr("Sampler"), 16, _said("Sampler")),
        Column("schedule", tr("Schedule"), 14, _said("Schedule type")),
        Column("steps", tr("Steps"), 5, _said("Steps")),
        Column("cfg", tr("CFG"), 5, _said("CFG scale")),
        Column("size", tr("Size"), 9, lambda picture, infotext: f"{picture.width}x{picture.height}"),
        Column("model", tr("Model"), 20, _said("Model")),
        Column("denoising", tr("Denoising"), 9, _said("Denoising strength")),
        Column("clip", tr("Clip skip"), 9, _said("Clip skip")),
        Column("kind", tr("Kind"), 14, lambda picture, infotext: kind_word(picture)),
        Column("job", tr("Job"), 7, lambda picture, infotext: str(picture.job or ""), falls=True),
        Column("hash", tr("Hash"), 10, _said("Model hash")),
        Column("version", tr("Version"), 14, _said("Version")),
        Column(PROMPT, tr("Prompt"), _LONGEST, _prompt),
    )
    return {column.id: column for column in known}


def cells(columns: Sequence[Column], picture: Picture) -> dict[str, str]:
    """What stands in a picture's row, harmless for a terminal."""
    infotext = parse(picture.infotext)
    return {column.id: printable(column.text(picture, infotext), _LONGEST) for column in columns}


def in_need(columns: Sequence[Column], rows: Sequence[Mapping[str, str]]) -> list[Column]:
    """The columns in the order in which they matter: sizes come before samplers where they tell pictures apart."""
    if len({row["size"] for row in rows}) < 2:
        return [*columns]
    sizes = [column for column in columns if column.id == "size"]
    others = [column for column in columns if column.id != "size"]
    at = next((n for n, column in enumerate(others) if column.id == "sampler"), len(others))
    return [*others[:at], *sizes, *others[at:]]


def fit(columns: Sequence[Column], rows: Sequence[Mapping[str, str]], width: int) -> list[tuple[Column, int]]:
    """Those of the columns that fit beside each other, with the gap behind each, as wide as what stands in them; the
    prompt, if it is one of them, gets what is left."""
    has_prompt = any(column.id == PROMPT for column in columns)
    kept = max(_PROMPT_LEAST, width // _PROMPT_SHARE) if has_prompt else 0
    left = width - kept
    widths: dict[str, int] = {}
    for column in columns:
        if column.id == PROMPT:
            continue
        longest = max((cell_len(row[column.id]) for row in rows), default=0)
        needed = max(cell_len(column.title), min(column.most, longest)) + _GAP
        if needed > left:
            break
        widths[column.id] = needed
        left -= needed
    if has_prompt:
        widths[PROMPT] = max(0, left + kept)
    return [(column, widths[column.id]) for column in columns if column.id in widths]


def excerpt(prompt: str, others: Iterable[str], width: int) -> str:
    """As much of a prompt as fits into so many cells, with what tells it from the most similar one in sight."""
    same = max((_same(prompt, other) for other in others if other != prompt), default=0)
    start = max(prompt.rfind(sign, 0, same) for sign in " ,") + 1  # of the word that differs
    if cell_len(prompt) <= width or cell_len(prompt[:start]) < width * 2 // 3:
        return cut(prompt, width)
    while start and cell_len(prompt[start - 1 :]) < width:  # its end leaves room for more before it
        start -= 1
    return cut("…" + prompt[start:].lstrip(), width)


def _same(one: str, other: str) -> int:
    """How many characters they begin with together."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def cut(text: str, width: int) -> str:
    """A text of at most so many cells; one that is cut ends in a sign."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"
