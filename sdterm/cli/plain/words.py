"""Jobs, pictures and times as sentences that can be listened to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, reduce
from typing import Any

from sdterm.api import JobView, Picture
from sdterm.core.infotext.grammar import parse
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.messages import message
from sdterm.tui.differing import as_told, kind_word, seed_of
from sdterm.tui.fields import Field, quick_field
from sdterm.tui.language import counted, said, tr

_PROMPT = 200  # characters
_ALONE: Mapping[str, str] = {
    "variation_strength": message("Variation seed strength"),
    "variation_seed": message("Variation seed"),
    "network_multiplier": message("Network multiplier"),
    "hires_scale": message("Hires upscale"),
    "hires_width": message("Hires resize"),
}
"""What fields are called whose labels say too little where nothing stands beside them: A1111's keys in an infotext."""


def name_of(field: Field) -> str:
    """What a field is called where it is said alone."""
    return tr(_ALONE.get(field.id, field.label))


def value_of(field: Field, values: Mapping[str, Any]) -> str:
    """What a field is in a request with those values; empty if it is not set."""
    told = as_told(field, values)
    return {"on": tr("on"), "off": tr("off")}[told] if field.kind == "switch" else told


def pair(name: str, value: str) -> str:
    """`Steps: 20`"""
    return tr("{label}: {value}", label=name, value=value)


def name_in(key: str) -> str:
    """What a parameter of an infotext is called: as its field is, if it has one."""
    field = _by_key().get(key)
    return name_of(field) if field else printable(key, 60)


@cache
def _by_key() -> Mapping[str, Field]:
    keys = {key: row.name for row in FIELDS.values() for key in row.infotext[-1:]}
    names = {row.label: row.name for row in FIELDS.values()} | keys
    return {key: quick_field(name) for key, name in names.items()}


def _listed(parts: Iterable[str]) -> str:
    return reduce(lambda one, other: tr("{one}, {other}", one=one, other=other), parts)


def of_job(job: JobView) -> str:
    """`Job 3, running: 1 of 4 images, step 5 of 20. Prompt: a red house`"""
    parts = [
        tr(
            "Job {job}, {state}: {done} of {count} images",
            job=job.id,
            state=tr(job.state),
            done=job.done,
            count=job.images,
        )
    ]
    if job.progress and job.progress.steps:
        parts.append(tr("step {step} of {steps}", step=job.progress.step, steps=job.progress.steps))
    more = [said(job.reason.message)] if job.reason else []
    return tr("{facts}. {more}", facts=_listed(parts), more=" ".join([*more, _prompt(job.prompt)]))


def of_picture(picture: Picture) -> str:
    """`Picture 12, 128 by 128, seed 5, Euler a. Prompt: a red house`"""
    parts = [
        tr("Image {image}", image=picture.id),
        *([kind_word(picture)] if kind_word(picture) else []),
        tr("{width} by {height}", width=picture.width, height=picture.height),
    ]
    said = parse(picture.infotext)
    if seed := seed_of(picture):
        parts.append(tr("seed {seed}", seed=printable(seed, 40)))
    if sampler := said.parameters.get("Sampler"):
        parts.append(printable(sampler, 40))
    if picture.missing:
        parts.append(tr("its file is missing"))
    return tr("{facts}. {more}", facts=_listed(parts), more=_prompt(said.prompt))


def _prompt(text: str) -> str:
    prompt = printable(" ".join(text.split()), _PROMPT)
    return tr("Prompt: {prompt}", prompt=prompt) if prompt else tr("Its prompt is empty.")


def duration(seconds: float) -> str:
    """`8 seconds`, `2 minutes 5 seconds`"""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [
        counted("{number} hour", "{number} hours", hours) if hours else "",
        counted("{number} minute", "{number} minutes", minutes) if minutes else "",
        counted("{number} second", "{number} seconds", rest) if rest or not (hours or minutes) else "",
    ]
    return " ".join(filter(None, parts))
