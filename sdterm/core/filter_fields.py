"""The fields of the gallery's filter, which the host compares and the workstation completes."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class FilterField(NamedTuple):
    """One field. An `infotext_*` is read from pictures' infotexts, by A1111's key for it."""

    kind: Literal["infotext_text", "infotext_number", "number", "size", "date", "kind"]
    key: str = ""
    sign: str = ":"
    """The one that is offered with it."""


FILTER_FIELDS: Mapping[str, FilterField] = {
    "sampler": FilterField("infotext_text", "Sampler"),
    "schedule": FilterField("infotext_text", "Schedule type"),
    "model": FilterField("infotext_text", "Model"),
    "steps": FilterField("infotext_number", "Steps", ">="),
    "cfg": FilterField("infotext_number", "CFG scale", ">="),
    "seed": FilterField("number", "Seed"),
    "size": FilterField("size", "Size"),
    "after": FilterField("date"),
    "before": FilterField("date"),
    "width": FilterField("number", sign=">="),
    "height": FilterField("number", sign=">="),
    "denoising": FilterField("infotext_number", "Denoising strength", ">="),
    "clip": FilterField("infotext_number", "Clip skip"),
    "kind": FilterField("kind"),
    "job": FilterField("number"),
    "hash": FilterField("infotext_text", "Model hash"),
    "version": FilterField("infotext_text", "Version"),
}
"""By name, as they are offered."""
