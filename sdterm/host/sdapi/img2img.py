"""What A1111's img2img gives beside txt2img, in sdterm's words: pure."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import MaskedContent, ResizeMode
from sdterm.host.sdapi.encoded import BadImageError, Fetch, picture
from sdterm.host.sdapi.values import IMG2IMG, InvalidError, with_defaults

_MODES: Sequence[ResizeMode] = get_args(ResizeMode)
_CONTENTS: Sequence[MaskedContent] = get_args(MaskedContent)


class NoInitImageError(SdtermError, LookupError):
    """A1111's 404 "Init image not found"."""

    code = BAD_REQUEST


def pictures(values: Mapping[str, Any], fetch: Fetch | None = None) -> tuple[list[bytes], bytes | None]:
    """The init images and the mask of a body. Raises NoInitImageError, BadImageError, InvalidError."""
    if "denoising_strength" in values and values["denoising_strength"] is None:
        said = {"msg": "none is not an allowed value", "type": "type_error.none.not_allowed"}
        raise InvalidError([{"loc": ["body", "denoising_strength"], **said}])
    given = values.get("init_images")
    if given is None:
        raise NoInitImageError("Init image not found")
    if not given:
        raise BadImageError("init_images is empty: there is nothing to start from.")
    batch = values.get("batch_size") or IMG2IMG["batch_size"][1]
    if len(given) > max(batch, 1):
        raise BadImageError(f"bad number of images passed: {len(given)}; expecting {batch} or less")
    mask = values.get("mask")
    return [picture(each, fetch) for each in given], None if mask is None else picture(mask, fetch)


def translated(values: Mapping[str, Any], inits: Sequence[str], mask: str) -> dict[str, Any]:
    """The values of a body with digests for its pictures and sdterm's words for A1111's numbers."""
    given = {name: default for name, (_, default) in IMG2IMG.items()}
    given |= {name: value for name, value in values.items() if value is not None}
    mode, content, blur = given["resize_mode"], given["inpainting_fill"], given["mask_blur"]
    return {
        **values,
        "init_images": tuple(inits),
        "mask": mask,
        "denoising_strength": min(given["denoising_strength"], 1.0),
        "resize_mode": _MODES[mode if mode in range(len(_MODES)) else 2],
        "inpainting_fill": _CONTENTS[content if content in range(len(_CONTENTS)) else 0],
        "inpaint_full_res": "Only masked" if given["inpaint_full_res"] else "Whole picture",
        "inpaint_full_res_padding": max(given["inpaint_full_res_padding"], 0),
        "inpainting_mask_invert": bool(given["inpainting_mask_invert"]),
        "mask_blur_x": max(given["mask_blur_x"] if blur is None else blur, 0),
        "mask_blur_y": max(given["mask_blur_y"] if blur is None else blur, 0),
    }


def echoed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The body with A1111's defaults, without its pictures unless it asks for them."""
    given = with_defaults(values, IMG2IMG)
    return given if given["include_init_images"] else given | {"init_images": None, "mask": None}
