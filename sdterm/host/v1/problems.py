"""Answers to what fails: each error's code, status and sentence."""

import logging
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sdterm.api import (
    Problem,
)
from sdterm.core.files import legible
from sdterm.core.names import UnknownNameError
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host.database import is_full
from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError, request_error

_log = logging.getLogger(__name__)

STATUS = {
    "unknown_job": 404,
    "unknown_picture": 404,
    "unknown_download": 404,
    "unknown_input": 404,
    "wrong_state": 409,
    "unmovable": 409,
    "no_image": 410,
    "forbidden": 403,
    BAD_REQUEST: 422,
    "bad_input": 422,
    "bad_model": 422,
    "download_failed": 422,
    "download_broke_off": 503,
    "output_unwritable": 422,
    "plugins_broken": 503,
    "slow_disk": 503,
    "disk_full": 507,
}
"""The code of an error that a function may raise → the status of the answer."""


def problem(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    return JSONResponse(legible(Problem(code=code, message=message, field=field).model_dump()), status)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SdtermError)
    if error.code not in STATUS:
        _log.exception("%s %s", request.method, request.url.path, exc_info=error)
    inside = error.field and isinstance(error, RequestError | UnknownNameError)
    return problem(
        STATUS.get(error.code, 500), error.code, str(error), f"request.{error.field}" if inside else error.field
    )


def _defect(request: Request, error: Exception) -> JSONResponse:
    said = message(
        "The host failed with {name}, a defect of it: `sdterm host logs` shows where.", name=type(error).__name__
    )
    return problem(500, "internal", said)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    words = {
        400: message(
            "The body is not JSON that can be read: it must be UTF-8, not nested too deeply, without numbers of "
            "thousands of digits."
        ),
        404: message("There is no such address."),
        405: message("That cannot be done at this address."),
    }
    code = {413: "too_large", 503: "busy"}.get(error.status_code, "bad_request")
    answer = problem(error.status_code, code, words.get(error.status_code, f"{error.detail.rstrip('.')}."))
    answer.headers.update(error.headers or {})
    return answer


def _unwritten(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, sqlite3.Error | OSError)
    if not is_full(error):
        _log.exception("%s %s", request.method, request.url.path, exc_info=error)
        return _defect(request, error)
    return problem(
        507, "disk_full", message("Nothing was changed: the host cannot write ({error}). Free some space.", error=error)
    )


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing wrong, with its place."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(422, "bad_request", message("The body is not JSON: {error}.", error=first["ctx"]["error"]))
    if first["loc"] == ("body",) and first["type"] not in ("missing", "value_error"):
        return problem(422, "bad_request", message("The body must be a JSON object, sent as application/json."))
    place = [str(part) for part in first["loc"][1:]]
    field = ".".join(place) or None
    if place[:1] == ["request"] and isinstance(error.body, Mapping) and isinstance(error.body.get("request"), Mapping):
        try:
            GenerationRequest.model_validate(_named(error.body["request"]))
        except ValidationError as better:
            return problem(422, "bad_request", str(request_error(better)), field)
    if first["type"] == "value_error":
        said, field = str(first["ctx"]["error"]), getattr(first["ctx"]["error"], "field", None) or field
        return problem(422, "bad_request", said if said.endswith(".") else f"{field} {said}.", field)
    return problem(422, "bad_request", message("{field}: {msg}.", field=field or "The body", msg=first["msg"]), field)


def _named(fields: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in fields.items()}


def answer_nobody(request: Request, error: Exception) -> Response:
    """The client left before it had sent its request: no one reads the answer, and the log needs no word of it."""
    return Response(status_code=400)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Any]] = {
    SdtermError: _refused,
    Exception: _defect,
    RequestValidationError: _invalid,
    HTTPException: _http,
    sqlite3.Error: _unwritten,
    OSError: _unwritten,
    ClientDisconnect: answer_nobody,
}
"""An exception that a route raises → what answers it."""
