"""What the routes share: their parameters' types, and the checks that every request passes."""

import json
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from sdterm.api import (
    FieldError,
)
from sdterm.core.text import printable
from sdterm.host.pictures import PictureFile
from sdterm.messages import message

Limit = Annotated[int, Query(ge=1, le=500)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Cursor = Annotated[str | None, Query(max_length=60, pattern=r"^[0-9.,e+-]+$")]


async def only_known_parameters(request: Request) -> None:
    """Raises FieldError: a misspelt parameter must not look as if it had been obeyed."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            has = message("It has {names}.", names=", ".join(sorted(known))) if known else message("It has none.")
            raise FieldError(
                printable(name), message("There is no parameter '{name}' here. {has}", name=printable(name), has=has)
            )


async def only_utf_8(request: Request) -> None:
    """Raises HTTPException: Python reads JSON in UTF-16, too, which is none that may be sent."""
    if not json.detect_encoding(await request.body()).startswith("utf-8"):
        raise HTTPException(400)


def streamed(file: PictureFile) -> StreamingResponse:
    return StreamingResponse(file.chunks, headers={"content-length": str(file.size)}, media_type=file.media_type)
