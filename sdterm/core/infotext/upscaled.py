"""What a picture that was made larger says of that, in A1111's words: keys of its infotext, or a text `postprocessing`
of its own in a PNG."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sdterm.core.infotext import grammar
from sdterm.core.planning.enlargement import Enlargement, has_second_upscaler, target_size, wants_upscaler
from sdterm.request import GenerationRequest

TEXT = "postprocessing"
"""The keyword of the text in a PNG."""
NOTHING: Mapping[str, object] = MappingProxyType({})
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def keys(request: GenerationRequest) -> dict[str, object]:
    """A1111's keys and values, in its order (postprocessing_upscale); none where nothing is made larger."""
    if not wants_upscaler(request.upscaler):
        return {}
    size = target_size(request)
    to = f"{size[0]}x{size[1]}" if size else None
    return {
        "Postprocess upscale by": None if size else request.upscale_by,
        "Postprocess upscale to": to,
        "Postprocess crop to": to if request.upscale_crop else None,
        "Postprocess upscaler": request.upscaler,
        "Postprocess upscaler 2": request.second_upscaler if has_second_upscaler(request) else None,
    }


def text(request: GenerationRequest, more: Mapping[str, object] = NOTHING) -> str:
    """The same as a line, with what was done besides."""
    return grammar.write("", "", {**keys(request), **more})


def spelled_out(request: GenerationRequest, enlargement: Enlargement | None) -> GenerationRequest:
    """The request with the upscalers' own names, whatever was typed."""
    if not enlargement:
        return request
    second = {"second_upscaler": enlargement.second.name} if enlargement.second else {}
    return request.model_copy(update={"upscaler": enlargement.first.name, **second})


def joined(infotext: str, upscaled: str) -> str:
    """An infotext of a picture that was made larger since, with what that says."""
    if not (infotext and upscaled):
        return infotext or upscaled
    return f"{infotext}, {upscaled}" if grammar.parse(infotext).parameters else f"{infotext}\n{upscaled}"


def _size(value: str) -> Mapping[str, Any]:
    sides = _SIZE.fullmatch(value)
    if not sides:
        raise ValueError(value)
    return {"upscale_width": int(sides[1]), "upscale_height": int(sides[2])}


READ: Mapping[str, tuple[str, Callable[[str], Mapping[str, Any]]]] = {
    "upscale_by": ("Postprocess upscale by", lambda value: {"upscale_by": value}),
    "upscale_width": ("Postprocess upscale to", _size),
    "upscale_crop": ("Postprocess crop to", lambda value: {"upscale_crop": True}),
    "upscaler": ("Postprocess upscaler", lambda value: {"upscaler": value}),
    "second_upscaler": ("Postprocess upscaler 2", lambda value: {"second_upscaler": value}),
}
"""A request's field → the key, and the fields that its value gives."""
