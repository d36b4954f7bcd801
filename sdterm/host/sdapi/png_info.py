"""A1111's png-info: what is written in a picture, with what A1111 takes for granted where it is not."""

import re
from collections.abc import Mapping
from typing import Any

from sdterm.core.infotext.files import ImageFileError, infotext_in, texts_in
from sdterm.core.infotext.grammar import Infotext, parse
from sdterm.core.infotext.legacy import first_pass, old_ways
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.styles import Styles, find_styles
from sdterm.host.sdapi.encoded import BadImageError, Fetch, picture
from sdterm.host.sdapi.values import PNG_INFO, InvalidError, read_values

_SIZE = re.compile(r"(\d+)x(\d+)")
_UNSAID: Mapping[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
}
"""What A1111 reads where an infotext does not say it."""


def asked(body: Any, fetch: Fetch | None = None) -> bytes:
    """The picture's file of a body. Raises InvalidError, BadImageError."""
    values = read_values(body, PNG_INFO)
    if "image" not in values:
        raise InvalidError([{"loc": ["body", "image"], "msg": "field required", "type": "value_error.missing"}])
    if values["image"] is None:
        said = {"msg": "none is not an allowed value", "type": "type_error.none.not_allowed"}
        raise InvalidError([{"loc": ["body", "image"], **said}])
    return picture(str(values["image"]).strip(), fetch)


def png_info(file: bytes, styles: Styles) -> dict[str, Any]:
    """`info`, `items` and `parameters` of a picture. Raises BadImageError."""
    try:
        items, text = texts_in(file), infotext_in(file)
    except ImageFileError as error:
        raise BadImageError("Invalid encoded image") from error
    return {"info": text, "items": items, "parameters": parameters(parse(text), styles)}


def parameters(text: Infotext, styles: Styles) -> dict[str, Any]:
    """The keys of an infotext as A1111's page is filled from them: sizes in two, styles found, defaults said."""
    first = first_pass(text.parameters)
    given = dict(text.parameters) | (
        {"Size": first, "Hires resize": text.parameters.get("Size", "512x512")} if first else {}
    )
    read: dict[str, Any] = {}
    for key, value in given.items():
        sides = _SIZE.fullmatch(value)
        read |= {f"{key}-1": sides[1], f"{key}-2": sides[2]} if sides else {key: value}
    names, prompt, negative = find_styles(styles, text.prompt, text.negative_prompt)
    if names:
        read["Styles array"] = [*names]
    if hypernet := text.parameters.get("Hypernet"):
        prompt += f"<hypernet:{hypernet}:{text.parameters.get('Hypernet strength', '1.0')}>"
    read |= {"Prompt": prompt, "Negative prompt": negative}
    read = {**_UNSAID, **read}
    if read["FP8 weight"] != "Disable":
        read.setdefault("Cache FP16 weight for LoRA", False)
    if any(piece.weight != 1 and piece.text != "BREAK" for each in (prompt, negative) for piece in pieces(each)):
        read.setdefault("Emphasis", "Original")
    read.setdefault("Refiner switch by sampling steps", False)
    return read | dict.fromkeys(old_ways(text), True)
