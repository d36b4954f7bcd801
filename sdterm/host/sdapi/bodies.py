"""The body of a request, whoever made it."""

import json
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from sdterm.host.sdapi.values import InvalidError

MOST_BYTES = 64 * 2**20
"""Of a body: A1111's clients send pictures in them."""


async def body(request: Request) -> Any:
    """The body's JSON, whatever its length is said to be. Raises InvalidError, HTTPException."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise HTTPException(413, f"The body is too large: the limit is {MOST_BYTES} bytes.")
    if kind != "application/json" or not raw:
        missing = not raw
        said = (
            ("field required", "value_error.missing") if missing else ("value is not a valid dict", "type_error.dict")
        )
        raise InvalidError([{"loc": ["body"], "msg": said[0], "type": said[1]}])
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        at = getattr(wrong, "pos", 0)
        raise InvalidError([{"loc": ["body", at], "msg": f"{wrong}", "type": "value_error.jsondecode"}]) from wrong
