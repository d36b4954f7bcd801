"""The parameters that stand in the form: what each shows of a draft, and what typing there changes in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sdterm.core.settings.settings import SETTINGS

Read = Callable[[Mapping[str, Any]], str]
Write = Callable[[str], Mapping[str, Any]]
Step = Callable[[str, int], str | None]


@dataclass(frozen=True)
class Field:
    """One field of the form."""

    id: str
    label: str
    width: int
    """Cells for its value."""
    read: Read
    """Request fields (settings and all) → what stands there."""
    write: Write
    """What was typed → the request fields it changes; None leaves one to the settings."""
    stepped: Step
    """The value one step up or down; None if it has no steps."""
    offers: str = ""
    """What its list has: `sampler`, `model` …; empty for none."""


def _no_steps(value: str, by: int) -> None:
    return None


def _plain(name: str, label: str, width: int, step: Step = _no_steps, *, id: str = "", offers: str = "") -> Field:
    return Field(
        id or name,
        label,
        width,
        lambda fields: _text(fields.get(name)),
        lambda text: {name: text.strip() or None},
        step,
        offers,
    )


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _number(step: float, lowest: float) -> Step:
    """By so much; whole numbers stay whole."""

    def stepped(value: str, by: int) -> str | None:
        try:
            number = float(value)
        except ValueError:
            return None
        return f"{round(max(lowest, number + by * step), 6):g}"

    return stepped


def _whole(lowest: int) -> Step:
    def stepped(value: str, by: int) -> str | None:
        return str(max(lowest, int(value) + by)) if re.fullmatch(r"-?\d{1,19}", value.strip()) else None

    return stepped


def _pair(text: str) -> tuple[str, str]:
    first, _, second = re.sub(r"[×X*,]", "x", text).partition("x")
    return first.strip(), second.strip()


def _size(fields: Mapping[str, Any]) -> str:
    width, height = fields.get("width"), fields.get("height")
    return f"{_text(width)}x{_text(height)}" if width or height else ""


def _sized(text: str) -> Mapping[str, Any]:
    width, height = _pair(text)
    return {"width": width or None, "height": height or width or None}


def _size_step(value: str, by: int) -> str | None:
    width, height = _pair(value)
    if not (width.isdecimal() and (height or width).isdecimal()):
        return None
    return "x".join(str(max(64, int(side) + 64 * by)) for side in (width, height or width))


def _batch(fields: Mapping[str, Any]) -> str:
    return f"{_text(fields.get('batch_count'))}x{_text(fields.get('batch_size'))}"


def _batched(text: str) -> Mapping[str, Any]:
    count, size = _pair(text)
    return {"batch_count": count or None, "batch_size": size or None}


def _batch_step(value: str, by: int) -> str | None:
    count, size = _pair(value)
    return f"{max(1, int(count) + by)}x{size or 1}" if count.isdecimal() else None


def _styles(text: str) -> Mapping[str, Any]:
    return {"styles": tuple(name.strip() for name in text.split(",") if name.strip()) or None}


MODEL = _plain("model", "Model", 24, offers="model")
CLIP_SKIP = _plain("clip_skip", "Clip skip", 3, _whole(1))
SAMPLER = _plain("sampler", "Sampler", 16, offers="sampler")
SCHEDULER = _plain("scheduler", "Schedule", 11, offers="scheduler")
STEPS = _plain("steps", "Steps", 4, _whole(1))
CFG = _plain("cfg_scale", "CFG", 5, _number(0.5, 0))
SIZE = Field("size", "Size", 10, _size, _sized, _size_step, "size")
SEED = _plain("seed", "Seed", 20, _whole(-1))
BATCH = Field("batch", "Batch", 6, _batch, _batched, _batch_step)
STRENGTH = _plain("variation_strength", "Vary", 5, _number(0.05, 0))
VARIATION = _plain("variation_seed", "by seed", 11, _whole(-1))
STYLES = Field("styles", "Styles", 20, lambda fields: _text(fields.get("styles")), _styles, _no_steps, "style")

ROWS: tuple[tuple[Field, ...], ...] = (
    (SAMPLER, SCHEDULER),
    (STEPS, CFG, SIZE),
    (SEED, BATCH),
    (STRENGTH, VARIATION, STYLES),
)
"""The form's lines."""
FIELDS = {field.id: field for row in ROWS for field in row} | {MODEL.id: MODEL, CLIP_SKIP.id: CLIP_SKIP}


# As the request has them, which is too slow to load for the first look at the form.
DEFAULTS: Mapping[str, Any] = {
    "seed": -1,
    "batch_count": 1,
    "batch_size": 1,
    "variation_strength": 0.0,
    "variation_seed": -1,
    **{setting.key: setting.default for setting in SETTINGS if setting.scope == "job"},
}
"""What the form's fields are as long as nobody says anything else."""


def field_of(name: str) -> str:
    """The id of the form's field that shows a request's field."""
    return {"width": "size", "height": "size", "batch_count": "batch", "batch_size": "batch"}.get(name, name)


def quick_field(name: str) -> Field:
    """The field for a pinned setting, or field of the request."""
    if name in FIELDS:
        return FIELDS[name]
    return _plain(name, name.replace("_", " "), 12)
