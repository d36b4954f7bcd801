"""What A1111 answers to what it cannot do: `{error, detail, body, errors}`, or pydantic's list of what is wrong."""

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sdterm.core.inputs import InputError
from sdterm.errors import SdtermError
from sdterm.host.sdapi.encoded import BadImageError
from sdterm.host.sdapi.extras import UnknownUpscalerError
from sdterm.host.sdapi.img2img import NoInitImageError, UnknownScriptError
from sdterm.host.sdapi.interrogating import UnknownModelError
from sdterm.host.sdapi.jobs import JobFailedError
from sdterm.host.sdapi.requests import UnknownOptionError, UnknownSamplerError
from sdterm.host.sdapi.values import InvalidError

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


def _invalid(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, InvalidError)
    return JSONResponse({"detail": wrong.detail}, 422)


def _http(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, HTTPException)
    return JSONResponse({"detail": wrong.detail}, wrong.status_code, headers=wrong.headers)


def _failed(request: Request, wrong: Exception) -> JSONResponse:
    """A1111's statuses: 404 for a sampler, 500 for what failed; a value that cannot be drawn is a 422."""
    match wrong:
        case UnknownSamplerError() | NoInitImageError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 404)
        case UnknownModelError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 404)
        case UnknownOptionError():
            return JSONResponse(error("KeyError", str(wrong)), 500)
        case BadImageError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 500)
        case InputError():
            return JSONResponse(error("HTTPException", "", "Invalid encoded image"), 500)
        case UnknownScriptError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 422)
        case UnknownUpscalerError():
            return JSONResponse(error("AssertionError", str(wrong)), 500)
        case JobFailedError():
            return JSONResponse(error(wrong.code, str(wrong)), 500)
        case SdtermError():
            return JSONResponse(error(type(wrong).__name__, str(wrong), str(wrong)), 422)
        case _:
            _log.error("%s %s", request.method, request.url.path, exc_info=wrong)
            return JSONResponse(error(type(wrong).__name__, str(wrong)), 500)
