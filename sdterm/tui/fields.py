"""The parameters that stand in the form: what each shows of a draft, and what typing there changes in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdterm.fields import FIELDS, RequestField, shown_as_one


@dataclass(frozen=True)
class Field:
    """One field of the form: a field of the request, or the two that it shows as `512x768`."""

    rows: tuple[RequestField, ...]

    @property
    def id(self) -> str:
        return self.rows[0].form or self.rows[0].name

    @property
    def label(self) -> str:
        return self.rows[0].label

    @property
    def width(self) -> int:
        """Cells for its value."""
        return self.rows[0].cells

    @property
    def offers(self) -> str:
        """What its list has: `sampler`, `model` …; empty for none."""
        return self.rows[0].offers

    def read(self, values: Mapping[str, Any]) -> str:
        """Request fields (settings and all) → what stands there."""
        shown = [values.get(row.name) for row in self.rows]
        return _text(shown[0]) if len(shown) == 1 else "x".join(map(_text, shown)) if any(shown) else ""

    def write(self, text: str) -> Mapping[str, Any]:
        """What was typed → the request fields it changes; None leaves one to the settings."""
        sides = zip(self.rows, self._sides(text), strict=True)
        return {row.name: _parts(side) if isinstance(row.default, tuple) else side or None for row, side in sides}

    def stepped(self, text: str, by: int) -> str | None:
        """The value so many steps up or down; None if it has no steps."""
        if not self.rows[0].step:
            return None
        sides = [
            _stepped(row, side, by) if row.step else side or str(row.default)
            for row, side in zip(self.rows, self._sides(text), strict=True)
        ]
        return None if None in sides else "x".join(map(str, sides))

    def _sides(self, text: str) -> tuple[str, ...]:
        """A text for each row: one side alone stands for both, if both have steps."""
        if len(self.rows) == 1:
            return (text.strip(),)
        first, _, second = re.sub(r"[×X*,]", "x", text).partition("x")
        return first.strip(), second.strip() or (first.strip() if self.rows[1].step else "")


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _parts(text: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) or None


def _stepped(row: RequestField, text: str, by: int) -> str | None:
    """A number so many steps further, within its bounds; whole ones stay whole. None for a text that is no number."""
    whole = not isinstance(row.default, float)
    if not re.fullmatch(r"-?\d{1,19}" if whole else r"-?(\d{1,19}\.?\d*|\.\d+)", text):
        return None
    value = int(text) + by * int(row.step) if whole else float(text) + by * row.step
    if row.least is not None:
        value = max(row.least, value)
    if row.most is not None:
        value = min(row.most, value)
    return str(int(value)) if whole else f"{round(value, 6):g}"


_BY_ID = {form: Field(tuple(rows)) for form, rows in shown_as_one("form").items() if form}
_LINES = (
    ("sampler", "scheduler"),
    ("steps", "cfg_scale", "size"),
    ("seed", "batch"),
    ("variation_strength", "variation_seed", "styles"),
)
ROWS: tuple[tuple[Field, ...], ...] = tuple(tuple(_BY_ID[form] for form in line) for line in _LINES)
"""The form's lines."""

DEFAULTS: Mapping[str, Any] = {
    row.name: row.default for row in FIELDS.values() if row.name not in ("prompt", "negative_prompt")
}
"""What the form's fields are as long as nobody says anything else."""


def field_of(name: str) -> str:
    """The id of the form's field that shows a request's field."""
    return (name in FIELDS and FIELDS[name].form) or name


def quick_field(name: str) -> Field:
    """The field for a pinned setting, or field of the request."""
    if (form := field_of(name)) in _BY_ID:
        return _BY_ID[form]
    return Field((FIELDS.get(name) or RequestField(name=name, default=None, label=name, sentence=""),))
