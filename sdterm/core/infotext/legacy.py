"""Infotexts of old: those that A1111 before 1.9 wrote, in the keys of today."""

import re
from collections.abc import Mapping

from sdterm.core.a1111 import ALWAYS_KARRAS, PADDED_BEFORE_1_6, UNIFORM
from sdterm.core.extensions.registry import PluginSet, named
from sdterm.core.infotext.grammar import Infotext
from sdterm.core.names import normal
from sdterm.hooks import Sampler, Scheduler


def modernised(text: Infotext, plugins: PluginSet) -> dict[str, str]:
    """The parameters in the keys of A1111 1.9, whatever version wrote them."""
    parameters = dict(text.parameters)
    old = dict.fromkeys(old_ways(text), "True")
    old |= _split(parameters, plugins, _version(parameters.get("Version", "")))
    if first := first_pass(parameters):
        del parameters["First pass size"]
        old |= {"Size": first, "Hires resize": parameters.get("Size", "0x0")}
    return parameters | old


def first_pass(parameters: Mapping[str, str]) -> str:
    """The size of the first pass that an infotext of old names; empty if it names none."""
    first = parameters.get("First pass size", "")
    return _first_pass(first, parameters.get("Size", "")) if re.fullmatch(r"\d{1,5}x\d{1,5}", first) else ""


def old_ways(text: Infotext) -> list[str]:
    """The keys of what the version that wrote it did without saying so."""
    parameters = text.parameters
    version = _version(parameters.get("Version", ""))
    if not version:
        return []
    did = {
        "Old prompt editing timelines": version < (1, 6, 0, 0) and "[" in text.prompt,
        "Pad conds v0": version < (1, 6, 0, 0) and parameters.get("Sampler") in PADDED_BEFORE_1_6,
        "Downcast alphas_cumprod": version < (1, 7, 0, 225),
        "Refiner switch by sampling steps": version < (1, 8, 0, 0) and "Refiner" in parameters,
    }
    return [key for key, so in did.items() if so]


def _version(text: str) -> tuple[int, int, int, int] | None:
    """A1111's own version: v1.7.0, or v1.7.0-225-gabc for the 225th change after it."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-(\d{1,6})(?=-|$)|$|(?=-))", text.strip())
    return (int(found[1]), int(found[2]), int(found[3]), int(found[4] or 0)) if found else None


def _split(parameters: Mapping[str, str], plugins: PluginSet, version: tuple[int, ...] | None) -> dict[str, str]:
    """Before 1.9 one name was both: "DPM++ 2M Karras", and plain "DPM++ 2M" had the uniform schedule that is not its
    default now."""
    name = normal(parameters.get("Sampler", ""))
    samplers = {normal(known): sampler for known, sampler in named(plugins.all(Sampler)).items()}
    if sampler := samplers.get(name):
        uniform = version and version < (1, 9, 0, 0) and sampler.label not in ALWAYS_KARRAS
        unsaid = sampler.default_scheduler and "Schedule type" not in parameters
        return {"Schedule type": UNIFORM} if uniform and unsaid else {}
    for known, scheduler in named(plugins.all(Scheduler)).items():
        first = name.removesuffix(" " + normal(known))
        if first != name and first in samplers:
            return {"Sampler": samplers[first].label, "Schedule type": scheduler.label}
    return {}


def _first_pass(first: str, size: str) -> str:
    """The size of the first pass before hires had an upscale factor. 0x0: as many pixels as 512x512, in the shape of
    the picture, each side rounded up to 64."""
    if first != "0x0" or not (sides := re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)):
        return first
    width, height = max(1, int(sides[1])), max(1, int(sides[2]))
    scale = (512 * 512 / (width * height)) ** 0.5
    return "x".join(str(-(-int(scale * side) // 64) * 64) for side in (width, height))


def hypernet_tag(parameters: dict[str, str]) -> str:
    """The tag for the keys that named a hypernetwork before tags did; they are taken out."""
    name, strength = parameters.pop("Hypernet", ""), parameters.pop("Hypernet strength", "1.0")
    return f"<hypernet:{name}:{strength}>" if name else ""
