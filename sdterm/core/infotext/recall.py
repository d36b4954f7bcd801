"""From a picture's infotext back to a request: what `--from` draws and the workstation's form takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.keys import OF_INIT, OF_MASK
from sdterm.core.infotext.networks import find_networks
from sdterm.core.infotext.read import READ_AT_MOST, find_model, find_other, read
from sdterm.core.library.checkpoints import NO_VAE, Library
from sdterm.core.library.upscalers import named_upscaler
from sdterm.core.names import UnknownNameError
from sdterm.core.prompt.styles import Styles, find_styles
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.messages import message


@dataclass(frozen=True)
class Recalled:
    """What an infotext says."""

    fields: Mapping[str, Any]
    """Of a request; those it says nothing about are not there."""
    warnings: Mapping[str, str]
    """Code → a sentence about what cannot be had again."""


def _find_vae(name: str, library: Library) -> tuple[str, str]:
    """(what to ask for, a sentence where that is not there)."""
    try:
        library.find_vae(name, library.checkpoints()[0])
    except UnknownNameError:
        return NO_VAE, message("The VAE {vae} is missing, so the checkpoint's own VAE is used.", vae=printable(name))
    return name, ""


def _find_upscaler(name: str, plugins: PluginSet, library: Library) -> tuple[str, str]:
    """The same of an upscaler."""
    if name in LATENT_UPSCALERS:
        return name, ""
    try:
        named_upscaler(name, plugins, library)
    except UnknownNameError:
        usual = FIELDS["hires_upscaler"].default
        return usual, message(
            "The upscaler {upscaler} is missing, so the second pass uses {default}.",
            upscaler=printable(name),
            default=usual,
        )
    return name, ""


def recall(
    text: str,
    plugins: PluginSet,
    library: Library,
    styles: Styles,
    given: Mapping[str, Any] | None = None,
    *,
    read_at_most: int = READ_AT_MOST,
) -> Recalled:
    """Read an infotext.

    given: request fields that are chosen already: what belongs to another sampler, model or style is then not looked
    for. read_at_most: bytes of checkpoints that may be hashed to find the model.
    """
    given = given or {}
    keys = (("Sampler", "sampler"), ("Schedule type", "scheduler"))
    reading = read(parse(text), plugins, {key: given[name] for key, name in keys if given.get(name)})
    there = (*(OF_INIT if given.get("init_images") else ()), *(OF_MASK if given.get("mask") else ()))
    reading = replace(reading, not_reproduced=tuple(key for key in reading.not_reproduced if key not in there))
    fields, warnings = dict(reading.fields), {"not_reproduced": reading.warning or ""}
    if any(key in OF_INIT for key in reading.not_reproduced):
        warnings["init_missing"] = message(
            "This image was made from an init image, which its file does not contain: provide that too."
        )
    if not given.get("model"):
        fields["model"], warnings["model_missing"] = find_model(reading, library, read_at_most=read_at_most)
    for field in ("hires_prompt", "prompt"):
        if fields.get(field):
            found = find_networks(reading, library, field=field, read_at_most=read_at_most)
            fields[field], warnings["network_missing"] = found[0], found[1] or warnings.get("network_missing", "")
    if not given.get("vae"):
        fields["vae"], warnings["vae_missing"] = _find_vae(fields["vae"], library)
    for field, key in (("hires_model", "Hires checkpoint"), ("refiner", "Refiner")):
        if fields.get(field) and not given.get(field):
            fields[field], warnings[f"{field}_missing"] = find_other(reading, key, library, read_at_most=read_at_most)
    if fields.get("hires") and not given.get("hires_upscaler"):
        fields["hires_upscaler"], warnings["upscaler_missing"] = _find_upscaler(
            fields["hires_upscaler"], plugins, library
        )
    if not given.get("styles"):
        names, *prompts = find_styles(styles, fields["prompt"], fields["negative_prompt"])
        fields |= {"styles": names, "prompt": prompts[0], "negative_prompt": prompts[1]}
    known = {name: value for name, value in fields.items() if value is not None}
    return Recalled(known, {code: message for code, message in warnings.items() if message})
