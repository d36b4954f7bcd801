"""What A1111 answers to what it cannot do: `{error, detail, body, errors}`, or pydantic's list of what is wrong."""

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sdterm.core.inputs import InputError
from sdterm.core.settings.settings import ConfigError
from sdterm.errors import SdtermError
from sdterm.events import OUT_OF_MEMORY
from sdterm.host.sdapi.bodies import UnreadableError
from sdterm.host.sdapi.encoded import BadImageError
from sdterm.host.sdapi.extras import NoFaceRestorerError, UnknownUpscalerError
from sdterm.host.sdapi.img2img import NoInitImageError
from sdterm.host.sdapi.interrogating import UnknownModelError
from sdterm.host.sdapi.jobs import JobFailedError
from sdterm.host.sdapi.kept import UsedKeyError
from sdterm.host.sdapi.models import UnknownCheckpointError
from sdterm.host.sdapi.requests import NotThereError, UnknownOptionError, UnknownSamplerError
from sdterm.host.sdapi.scripts import UnknownScriptError
from sdterm.host.sdapi.values import InvalidError
from sdterm.host.v1.problems import answer_nobody

_RAISED_BY_A1111: Mapping[type[SdtermError], tuple[int, str]] = {
    UnknownSamplerError: (404, "Sampler not found"),
    NoInitImageError: (404, "Init image not found"),
    UnknownModelError: (404, "Model not found"),
    UnknownScriptError: (422, ""),
    NotThereError: (422, ""),
    UsedKeyError: (422, ""),
    ConfigError: (422, ""),
    NoFaceRestorerError: (422, ""),
    UnreadableError: (400, ""),
    BadImageError: (500, ""),
    InputError: (500, "Invalid encoded image"),
}
"""What it answers with an HTTPException: status and detail; empty is the error's own words."""
_EXCEPTIONS: Mapping[type[SdtermError], str] = {
    UnknownOptionError: "KeyError",
    UnknownUpscalerError: "AssertionError",
    UnknownCheckpointError: "RuntimeError",
}
"""The class that it names for others, all of which are a 500."""
_FAILURES: Mapping[str, str] = {OUT_OF_MEMORY: "OutOfMemoryError", "not_a_number": "NansException"}
"""The same for jobs that fail, by their code."""
_log = logging.getLogger(__name__)


def error(name: str, said: str, detail: str = "") -> dict[str, str]:
    """A1111's body of an error."""
    return {"error": name, "detail": detail, "body": "", "errors": said}


def add_error_handlers(app: FastAPI) -> None:
    """Have every error of the routes answered as A1111 does."""
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(SdtermError, _failed)
    app.add_exception_handler(InvalidError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, answer_nobody)


def _invalid(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, InvalidError)
    return JSONResponse({"detail": wrong.detail}, 422)


def _http(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, HTTPException)
    return JSONResponse({"detail": wrong.detail}, wrong.status_code, headers=wrong.headers)


def _failed(request: Request, wrong: Exception) -> JSONResponse:
    for kind, (status, detail) in _RAISED_BY_A1111.items():
        if isinstance(wrong, kind):
            return JSONResponse(error("HTTPException", "", detail or str(wrong)), status)
    if not isinstance(wrong, SdtermError):
        _log.error("%s %s", request.method, request.url.path, exc_info=wrong)
    name = _EXCEPTIONS.get(type(wrong), type(wrong).__name__)  # type: ignore[arg-type]
    if isinstance(wrong, JobFailedError):
        name = _FAILURES.get(wrong.code, wrong.code)
    return JSONResponse(error(name, str(wrong)), 500)
