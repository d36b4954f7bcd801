"""A1111's extras: from its JSON to a request that makes pictures larger, and back. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext.upscaled import text as upscaled_text
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.upscalers import KIND, named_upscaler
from sdterm.core.names import UnknownNameError, normal
from sdterm.core.planning.enlargement import wants_upscaler
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import FIELDS
from sdterm.hooks import Postprocessor, Upscaler
from sdterm.host.sdapi.encoded import Fetch, picture
from sdterm.host.sdapi.values import EXTRA_BATCH, EXTRA_SINGLE, InvalidError, Table, read_values
from sdterm.request import GenerationRequest, make_request

_FROM_0_TO_1 = ("gfpgan_visibility", "codeformer_visibility", "codeformer_weight", "extras_upscaler_2_visibility")
_FACES = {"codeformer_visibility": "CodeFormer", "gfpgan_visibility": "GFPGAN"}
"""The field that asks for each → the postprocessor that restores faces, where a plugin brings it."""
_A1111_SCALE = 4.0
"""What its list says of every file."""


class UnknownUpscalerError(SdtermError, AssertionError):
    """A1111's 500 for an upscaler that is not there."""

    code = BAD_REQUEST


class NoFaceRestorerError(SdtermError, LookupError):
    """The request asks for a face restorer that nobody brings."""

    code = BAD_REQUEST


def single(body: Any, fetch: Fetch | None = None) -> tuple[dict[str, Any], bytes]:
    """The values of a body of extra-single-image, and its picture's file. Raises InvalidError, BadImageError."""
    values = _checked(body, EXTRA_SINGLE)
    return values, picture(values["image"], fetch)


def batch(body: Any, fetch: Fetch | None = None) -> tuple[dict[str, Any], list[bytes]]:
    """The same of extra-batch-images."""
    values = _checked(body, EXTRA_BATCH)
    if "imageList" not in body:
        raise InvalidError([_wrong("imageList", "field required", "value_error.missing")])
    wrong: list[dict[str, Any]] = []
    for number, each in enumerate(values["imageList"]):
        if not isinstance(each, dict):
            wrong.append(_wrong("imageList", "value is not a valid dict", "type_error.dict", number))
        elif missing := [name for name in ("data", "name") if name not in each]:
            wrong += [_wrong("imageList", "field required", "value_error.missing", number, name) for name in missing]
    if wrong:
        raise InvalidError(wrong)
    return values, [picture(each["data"], fetch) for each in values["imageList"]]


def request_of(
    values: Mapping[str, Any],
    digests: Sequence[str],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    names: PluginSet,
) -> GenerationRequest:
    """What the values ask for. options: A1111's settings in force; settings: request fields of sdterm's own. Raises
    RequestError, NoFaceRestorerError."""
    faces = {name: values[field] for field, name in _FACES.items() if values[field] > 0}
    rows = [FIELDS[name] for name in ("upscale_tile", "upscale_overlap", "format")]
    fields = {row.name: settings[row.name] for row in rows if row.name in settings}
    fields |= {row.name: options[row.a1111] for row in rows if options.get(row.a1111) is not None}
    to_size = values["resize_mode"] == 1
    return make_request(
        **fields | {"format": {"jpg": "jpeg"}.get(fields.get("format", ""), fields.get("format", "png"))},
        prompt="",
        upscale_images=tuple(digests),
        upscaler=values["upscaler_1"],
        second_upscaler=values["upscaler_2"],
        second_upscaler_visibility=values["extras_upscaler_2_visibility"],
        upscale_by=values["upscaling_resize"],
        upscale_width=values["upscaling_resize_w"] if to_size else None,
        upscale_height=values["upscaling_resize_h"] if to_size else None,
        upscale_crop=to_size and values["upscaling_crop"],
        postprocess=tuple(faces),
        options={key: value for face in faces.items() for key, value in _face_options(*face, values, names).items()},
    )


def _face_options(name: str, visibility: float, values: Mapping[str, Any], names: PluginSet) -> dict[str, float]:
    """What a face restorer is given, as far as it has such options."""
    given = {"visibility": visibility, "weight": values["codeformer_weight"]}
    restorer = next((each for each in face_restorers(names) if normal(each.label) == normal(name)), None)
    if not restorer:
        raise NoFaceRestorerError(
            f"{name}, which restores faces, does not come with sdterm. Install an extension that has a postprocessor "
            f"{name}, or leave {name.lower()}_visibility out."
        )
    return {f"{restorer.id}.{option.name}": given[option.name] for option in restorer.options if option.name in given}


def face_restorers(names: PluginSet) -> list[Postprocessor]:
    """Those of A1111's that plugins bring."""
    wanted = {normal(name) for name in _FACES.values()}
    return [each for each in names.all(Postprocessor) if normal(each.label) in wanted]


def check(values: Mapping[str, Any], names: PluginSet, library: Library) -> None:
    """Find out whether there are the upscalers that the values name. Raises UnknownUpscalerError."""
    for name in (values["upscaler_1"], values["upscaler_2"]):
        try:
            if wants_upscaler(name):
                named_upscaler(name, names, library)
        except UnknownNameError:
            raise UnknownUpscalerError(f"could not find upscaler named {name}") from None


def page(request: GenerationRequest) -> str:
    """`html_info`."""
    return f"<p>{escape(upscaled_text(request), quote=False) if request.upscale_images else ''}</p>"


def upscalers(names: PluginSet, library: Library) -> list[dict[str, Any]]:
    """A1111's list: those without weights, then the files."""
    rules = [upscaler.label for upscaler in names.all(Upscaler) if upscaler.resize]
    files = sorted(library.files(KIND), key=lambda file: file.name.casefold())
    return [_listed(label, None, None) for label in rules] + [
        _listed(file.name, "ESRGAN_4x", file.location) for file in files
    ]


def _listed(name: str, model: str | None, path: str | None) -> dict[str, Any]:
    return {"name": name, "model_name": model, "model_path": path, "model_url": None, "scale": _A1111_SCALE}


def _checked(body: Any, table: Table) -> dict[str, Any]:
    """All values of the table, within A1111's bounds. Raises InvalidError."""
    given = read_values(body, table)
    absent = [name for name, value in given.items() if value is None]
    wrong = [_wrong(name, "none is not an allowed value", "type_error.none.not_allowed") for name in absent]
    values = {name: default for name, (_, default) in table.items()} | given
    if not wrong:
        wrong += _out_of_bounds(values)
    if wrong:
        raise InvalidError(wrong)
    return values


def _out_of_bounds(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    wrong: list[dict[str, Any]] = []
    mode = values["resize_mode"]
    if mode not in (0, 1) or isinstance(mode, bool | float):
        context = {"given": mode, "permitted": [0, 1]}
        wrong.append(_wrong("resize_mode", "unexpected value; permitted: 0, 1", "value_error.const") | {"ctx": context})
    if values["upscaling_resize"] <= 0:
        wrong.append(_beyond("upscaling_resize", "greater than", "gt", 0))
    for name in ("upscaling_resize_w", "upscaling_resize_h"):
        if values[name] < 1:
            wrong.append(_beyond(name, "greater than or equal to", "ge", 1))
    for name in _FROM_0_TO_1:
        if values[name] < 0:
            wrong.append(_beyond(name, "greater than or equal to", "ge", 0))
        elif values[name] > 1:
            wrong.append(_beyond(name, "less than or equal to", "le", 1))
    return wrong


def _beyond(name: str, words: str, short: str, limit: int) -> dict[str, Any]:
    said = _wrong(name, f"ensure this value is {words} {limit}", f"value_error.number.not_{short}")
    return said | {"ctx": {"limit_value": limit}}


def _wrong(name: str, message: str, kind: str, *place: int | str) -> dict[str, Any]:
    return {"loc": ["body", name, *place], "msg": message, "type": kind}
