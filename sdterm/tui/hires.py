"""Which request draws the hires version of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.fields import FIELDS, NO_UPSCALER
from sdterm.tui.fields import HEADS, is_used, parts
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.api import Picture
    from sdterm.request import GenerationRequest

_STRENGTH = "denoising_strength"
_OF_THE_FORM = (
    *(row.name for row in FIELDS.values() if row.part in ("Hires", "Refiner") and not row.is_input),
    _STRENGTH,
)
_ALWAYS_TOLD = ("hires_scale", "hires_upscaler", _STRENGTH)
_OF_THE_SECOND_PASS = ("sampler", "scheduler", "prompt", "negative_prompt", "steps", "cfg_scale", "model")


NOT_CARRIED_OVER: Mapping[str, Any] = {
    "init_images": (),
    "mask": "",
    "hires": False,
    "first_pass_image": "",
    "upscaler": NO_UPSCALER,
    "second_upscaler": NO_UPSCALER,
    "asked_width": 0,
    "asked_height": 0,
}
"""Of how a picture was made, what says nothing of another one that begins with it."""


def told(form: Mapping[str, Any]) -> str:
    """What the form says of a hires version, in its words: how large, by what, how strongly, and what else is set."""
    by_part = parts({})
    refiner = by_part["Refiner"] if is_used("Refiner", form) else ()
    has_size = any(int(form[name] or 0) for name in ("hires_width", "hires_height"))
    fields = (
        field
        for field in (*by_part["Hires"], *refiner)
        if any(row.name in _OF_THE_FORM for row in field.rows)
        if field.id != "hires_scale" or not has_size
        if field.id in _ALWAYS_TOLD or any(form.get(row.name) not in ("", None, row.default) for row in field.rows)
    )
    return ", ".join(f"{tr(field.label)} {field.read(form)}" for field in fields if field.id != HEADS["Hires"])


def begins_with_noise(request: GenerationRequest) -> bool:
    """Whether a hires fix can go on from what it drew."""
    return not (request.init_images or request.upscale_images)


def as_second_pass(drawn: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, Any]:
    """The request that drew a picture, and that makes a second pass of it, as the form says."""
    chosen = {name: form[name] for name in _OF_THE_FORM if form.get(name) not in (None, "")}
    return {**drawn, **chosen, "hires": True}


def as_img2img(drawn: Mapping[str, Any], form: Mapping[str, Any], picture: Picture, digest: str) -> dict[str, Any]:
    """What a second pass would do, of a picture that did not begin with noise: it is the init image, and its size, the
    sampler and all that the form has for a second pass is what is drawn with."""
    scale, step = float(form["hires_scale"]), FIELDS["width"].multiple or 1
    asked = int(form["hires_width"] or 0), int(form["hires_height"] or 0)
    sides = picture.width, picture.height
    if any(asked):
        scale = max(side / was for side, was in zip(asked, sides, strict=True))
    width, height = (min(int(side * scale) // step * step, int(FIELDS["width"].most or 0)) for side in sides)
    upscaler = str(form["hires_upscaler"])
    is_latent = upscaler in LATENT_UPSCALERS
    own = {name: form[f"hires_{name}"] for name in _OF_THE_SECOND_PASS}
    return {
        **drawn,
        **{name: value for name, value in own.items() if value not in (None, "", 0, "0")},
        **NOT_CARRIED_OVER,
        "init_images": (digest,),
        "width": width,
        "height": height,
        "resize_mode": "Just resize (latent upscale)" if is_latent else "Just resize",
        **({} if is_latent else {"init_upscaler": upscaler}),
        _STRENGTH: form[_STRENGTH],
    }
