"""The OpenAPI document: A1111's names of schemas and operations, made from the tables."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sdterm.host.sdapi.values import (
    ANSWERS,
    EXTRA_BATCH,
    EXTRA_SINGLE,
    FLAGS,
    IMG2IMG,
    INTERROGATE,
    OPTIONS,
    PNG_INFO,
    TASK,
    TXT2IMG,
    Table,
)
from sdterm.version import __version__

Schema = dict[str, Any]

_REQUESTS: Mapping[str, Table] = {
    "StableDiffusionProcessingTxt2Img": TXT2IMG,
    "StableDiffusionProcessingImg2Img": IMG2IMG,
    "ExtrasSingleImageRequest": EXTRA_SINGLE,
    "ExtrasBatchImagesRequest": EXTRA_BATCH,
    "InterrogateRequest": INTERROGATE,
    "PNGInfoRequest": PNG_INFO,
    "ProgressRequest": TASK,
    "Options": OPTIONS,
    "Flags": FLAGS,
}
_REQUIRED = {"ExtrasBatchImagesRequest": ["imageList"], "PNGInfoRequest": ["image"]}
_NARROWER: Mapping[str, Schema] = {
    "styles": {"items": {"type": "string"}},
    "imageList": {"items": {"$ref": "#/components/schemas/FileData"}},
    "image": {"type": "string"},
    "resize_mode": {"type": "integer"},
}
"""What a table's type does not say."""
_VERSION = "3.0.2"
"""Of OpenAPI, as A1111's: what generates clients from the one generates them from the other."""
_ERROR: Schema = {
    "title": "Error",
    "type": "object",
    "required": ["error", "detail", "body", "errors"],
    "properties": {name: {"type": "string"} for name in ("error", "detail", "body", "errors")},
}
_VALIDATION_ERROR: Schema = {
    "title": "ValidationError",
    "type": "object",
    "required": ["loc", "msg", "type"],
    "properties": {
        "loc": {"title": "Location", "type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "msg": {"title": "Message", "type": "string"},
        "type": {"title": "Error Type", "type": "string"},
    },
}
_INVALID: Schema = {
    "title": "HTTPValidationError",
    "type": "object",
    "properties": {
        "detail": {"title": "Detail", "type": "array", "items": {"$ref": "#/components/schemas/ValidationError"}}
    },
}


def documented(answer: str = "", asks: str = "") -> dict[str, Any]:
    """What a route says of its answer and its body, as arguments of FastAPI's decorator: types as in the table of
    answers, a table's schema for a body."""
    answers = {200: {"description": "Successful Response", "content": _json(_typed(answer or "any"))}}
    invalid = {422: {"description": "Validation Error", "content": _json(_ref("HTTPValidationError"))}}
    failed = {"default": {"description": "Error", "content": _json(_ref("Error"))}}
    body = {"requestBody": {"required": True, "content": _json(_typed(asks))}} if asks else {}
    return {"response_model": None, "responses": answers | invalid | failed, "openapi_extra": body}


def document(app: FastAPI) -> Schema:
    """The whole, made once."""
    if not app.openapi_schema:
        made = get_openapi(
            title=app.title,
            version=__version__,
            openapi_version=_VERSION,
            description=app.description,
            routes=app.routes,
        )
        made["components"] = {"schemas": _schemas()}
        app.openapi_schema = made
    return app.openapi_schema


def _schemas() -> dict[str, Schema]:
    requests = {name: _request(name, table) for name, table in _REQUESTS.items()}
    answers = {name: _answer(name, fields) for name, fields in ANSWERS.items()}
    errors = {"Error": _ERROR, "ValidationError": _VALIDATION_ERROR, "HTTPValidationError": _INVALID}
    return dict(sorted((requests | answers | errors).items()))


def _request(name: str, table: Table) -> Schema:
    required = _REQUIRED.get(name, [])
    properties = {
        field: {"title": _title(field), **_typed(kind), **_NARROWER.get(field, {})}
        | ({} if default is None or field in required else {"default": default})
        | ({} if field in required else {"nullable": True})
        for field, (kind, default) in table.items()
    }
    return {"title": name, "type": "object", "properties": properties} | ({"required": required} if required else {})


def _answer(name: str, fields: Mapping[str, str]) -> Schema:
    properties = {
        field.removesuffix("?"): {"title": _title(field), **_typed(kind)}
        | ({"nullable": True} if field.endswith("?") and not kind[0].isupper() else {})
        for field, kind in fields.items()
    }
    required = [field for field in fields if not field.endswith("?")]
    return {"title": name, "type": "object", "properties": properties} | ({"required": required} if required else {})


def _typed(kind: str) -> Schema:
    """`string`, `array string`, `map EmbeddingItem`, `SamplerItem` … as a schema."""
    outer, _, inner = kind.partition(" ")
    match outer:
        case "array":
            return {"type": "array", "items": _typed(inner or "any")}
        case "map":
            return {"type": "object", "additionalProperties": _typed(inner)}
        case "any":
            return {}
        case _:
            return _ref(outer) if outer[0].isupper() else {"type": outer}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _title(field: str) -> str:
    return field.removesuffix("?").replace("_", " ").title()
