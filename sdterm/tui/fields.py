"""The parameters that stand in the form: what each shows of a draft, and what typing there changes in it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from sdterm.core.settings.settings import SETTINGS_BY_KEY
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import FIELDS, Part, RequestField
from sdterm.tui.arithmetic import SumError, evaluate
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.hooks import Option

Kind = Literal["choice", "switch", "number", "text", "input"]


class RefusedTextError(SdtermError, ValueError):
    """That cannot stand in the field; the message says what can."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Field:
    """One field of the form: a field of the request, the two that it shows as `512x768`, an option, or a setting.

    inside: the request's field in whose table it is, if it is an option; part: whose option. is_setting: whether it is
    a setting of the workstation, which no request has.
    """

    rows: tuple[RequestField, ...]
    inside: str = ""
    part: str = ""
    is_setting: bool = False

    @property
    def id(self) -> str:
        return f"{self.inside}.{self.rows[0].name}" if self.inside else self.rows[0].form or self.rows[0].name

    @property
    def label(self) -> str:
        return self.rows[0].label

    @property
    def sentence(self) -> str:
        return self.rows[0].sentence

    @property
    def width(self) -> int:
        """Cells for its value."""
        return self.rows[0].cells

    @property
    def offers(self) -> str:
        """What its list has: `sampler`, `model` …; empty for none."""
        return self.rows[0].offers

    @property
    def choices(self) -> tuple[str, ...]:
        """Its values, where its row has them all."""
        return self.rows[0].choices

    @property
    def kind(self) -> Kind:
        row = self.rows[0]
        if row.is_input:
            return "input"
        if row.choices or row.offers not in ("", "size"):
            return "choice"
        if isinstance(row.default, bool):
            return "switch"
        return "number" if isinstance(row.default, int | float) or row.least is not None else "text"

    @property
    def takes_several(self) -> bool:
        return isinstance(self.rows[0].default, tuple)

    def value(self, values: Mapping[str, Any]) -> Any:
        """Its value, of one that shows one thing."""
        row = self.rows[0]
        return (values.get(self.inside) or {}).get(row.name, row.default) if self.inside else values.get(row.name)

    def read(self, values: Mapping[str, Any]) -> str:
        """Request fields (settings and all) → what stands there."""
        if self.kind == "switch":
            return "on" if str(self.value(values)).lower() in ("true", "1") else "off"
        if len(self.rows) == 1:
            return _text(self.value(values))
        shown = [values.get(row.name) for row in self.rows]
        return "x".join(map(_text, shown)) if any(shown) else ""

    def write(self, text: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was typed → the request fields it changes; None leaves one to the settings."""
        if len(self.rows) > 1:
            sides = zip(self.rows, self._sides(text), strict=True)
            return {row.name: side or None for row, side in sides}
        if self.takes_several:
            return self.given(_parts(text), values)
        return self.given(text == "on" if self.kind == "switch" and text else text.strip() or None, values)

    def given(self, value: Any, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request fields that change if it has that value."""
        name = self.rows[0].name
        if not self.inside:
            return {name: value}
        table = {key: kept for key, kept in (values.get(self.inside) or {}).items() if key != name}
        if value not in (None, self.rows[0].default):
            table[name] = value
        return {self.inside: table or None}

    def settled(self, text: str) -> str:
        """What was typed, as a value that can stand there: sums are done. Raises RefusedTextError."""
        if self.kind != "number" or not text.strip():
            return text.strip()
        sides = self._sides(text)
        return "x".join(_number(row, side) for row, side in zip(self.rows, sides, strict=True))

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
        first, _, second = re.sub("[×X,]", "x", text).partition("x")
        alone = first.strip() if self.rows[1].step else _text(self.rows[1].default) if first.strip() else ""
        return first.strip(), second.strip() or alone


WORDS = ("Automatic", "None", "on", "off")
"""Values that are words and no names: shown in the user's language, while requests and infotexts have them in
English."""


def in_words(name: str) -> str:
    """A value as it is shown."""
    return tr(name) if name in WORDS else name


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _parts(text: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) or None


def _is_whole(row: RequestField) -> bool:
    return not isinstance(row.default, float)


def _shown(value: Fraction | float, whole: bool) -> str:
    return str(int(value)) if whole else f"{round(float(value), 6):g}"


def _number(field: RequestField, text: str) -> str:
    try:
        value = evaluate(text)
    except SumError:
        value = None
    if value is not None and _is_whole(field):
        step = field.multiple or 1
        value = Fraction(math.floor(value / step + Fraction(1, 2)) * step)
    low, high = field.least, field.most
    if value is None or (low is not None and value < low) or (high is not None and value > high):
        label, shown = tr(field.label), printable(text, 30) or "''"
        raise RefusedTextError(tr("{label} takes {range}, not {text}.", label=label, range=_range(field), text=shown))
    return _shown(value, _is_whole(field))


def _range(row: RequestField) -> str:
    noun = tr("a whole number") if _is_whole(row) else tr("a number")
    if row.least is None or row.most is None:
        return noun
    least, most = (_shown(bound, float(bound).is_integer()) for bound in (row.least, row.most))
    return tr("{noun} from {least} to {most}", noun=noun, least=least, most=most)


def _stepped(row: RequestField, text: str, by: int) -> str | None:
    """A number so many steps further, within its bounds; whole ones stay whole. None for a text that is no number."""
    try:
        value = evaluate(text)
    except SumError:
        return None
    value += by * Fraction(str(row.step))
    least, most = row.steps_within or (row.least, row.most)
    if least is not None:
        value = max(Fraction(str(least)), value)
    if most is not None:
        value = min(Fraction(str(most)), value)
    return _shown(value, _is_whole(row))


def _fields() -> list[Field]:
    """All of the form, in the table's order; those of its parts that say one thing are one field."""
    rows: dict[tuple[str, ...], list[RequestField]] = {}
    for row in FIELDS.values():
        if row.form or row.part:
            rows.setdefault((row.form,) if row.form else (row.part, row.label, *row.infotext), []).append(row)
    return [Field(tuple(group)) for group in rows.values()]


_BY_ID = {field.id: field for field in _fields()}
_SHOWN_BY = {row.name: field.id for field in _BY_ID.values() for row in field.rows}
_LINES = (
    ("sampler", "scheduler"),
    ("steps", "cfg_scale"),
    ("size", "batch"),
    ("seed", "styles"),
    ("variation_strength", "variation_seed"),
)
ROWS: tuple[tuple[Field, ...], ...] = tuple(tuple(_BY_ID[form] for form in line) for line in _LINES)
"""The form's lines."""

HEADS: Mapping[Part, str] = {
    "Init image": "init_images",
    "Mask": "mask",
    "Hires": "hires",
    "Refiner": "refiner",
    "Upscale": "upscaler",
}
"""The parts of the form that are folded away until they are used, and the field of each that says whether it is."""


_STRENGTH = "denoising_strength"


def parts(values: Mapping[str, Any]) -> dict[Part, tuple[Field, ...]]:
    """The fields of each part, the one that says whether it is used first. The denoising strength is that of whatever
    a pass begins with: an init image, or else the first pass of a hires fix."""
    found: dict[Part, tuple[Field, ...]] = {}
    for part, head in HEADS.items():
        fields = [field for field in _BY_ID.values() if _part_of(field, values) == part]
        found[part] = (*sorted(fields, key=lambda field: (field.id != head, field.id != _STRENGTH)),)
    return found


def _part_of(field: Field, values: Mapping[str, Any]) -> Part:
    if field.id == _STRENGTH and not is_used("Init image", values):
        return "Hires"
    return field.rows[0].part


def is_used(part: Part, values: Mapping[str, Any]) -> bool:
    """Whether a request with those values uses a part."""
    value = values.get(HEADS[part])
    return value not in (None, "", (), [], FIELDS[HEADS[part]].default) and str(value).lower() != "false"


FOLDED: tuple[Field, ...] = tuple(Field((FIELDS[name],)) for name in ("format", "postprocess", "transforms", "memory"))
"""Whose options are folded below the form; they stand above them."""

DEFAULTS: Mapping[str, Any] = {
    row.name: row.default for row in FIELDS.values() if row.name not in ("prompt", "negative_prompt")
}
"""What the form's fields are as long as nobody says anything else."""


def field_of(name: str) -> str:
    """The id of the form's field that shows a request's field."""
    return _SHOWN_BY.get(name, name)


def quick_field(name: str) -> Field:
    """The field for a pinned setting, or field of the request."""
    if (form := field_of(name)) in _BY_ID:
        return _BY_ID[form]
    if name in FIELDS:
        return Field((FIELDS[name],))
    setting = SETTINGS_BY_KEY[name]
    row = RequestField(
        name=name,
        default=setting.default,
        label=name.replace("_", " ").capitalize(),
        sentence=setting.sentence,
        choices=setting.choices,
        offers=name if name in ("theme", "language") else "",
    )
    return Field((row,), is_setting=True)


def option_field(inside: str, part: str, option: Option, prefix: str = "") -> Field:
    """The field for an option that a plugin declares. prefix: of its name in the request."""
    row = RequestField(
        name=prefix + option.name,
        default=None if option.unset else option.default,
        label=option.name.replace("_", " "),
        sentence=option.help,
        least=option.minimum,
        most=option.maximum,
        choices=option.choices,
        is_input=option.is_image,
        step=_step(option),
        cells=12,
    )
    return Field((row,), inside, part)


def _step(option: Option) -> float:
    """What one key press adds: one for whole numbers, else a power of ten that is small beside what is usual."""
    if isinstance(option.default, bool | str):
        return 0
    if isinstance(option.default, int):
        return 1
    low, high = option.minimum or 0, option.maximum
    usual = abs(option.default) or (high - low if high is not None else 1)
    return float(10.0 ** math.floor(math.log10(usual / 2))) if usual > 0 else 0.1
