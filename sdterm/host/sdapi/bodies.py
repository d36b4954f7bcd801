"""The body of a request, whoever made it."""

import json
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host.sdapi.values import InvalidError

MOST_BYTES = 64 * 2**20
"""Of a body: A1111's clients send pictures in them."""
MOST_VALUES = 250_000
"""Of a body: an empty list takes 3 bytes there and 64 in memory, and the host answers nobody while it reads a body."""

_SHOWN = 1000  # characters of a body that is no JSON


class UnreadableError(SdtermError, ValueError):
    """A1111's 400 for a body that is no text, or nested too deep."""

    code = BAD_REQUEST


async def body(request: Request) -> Any:
    """The body's JSON, whatever its length is said to be. Raises InvalidError, UnreadableError, HTTPException."""
    kind = (request.headers.get("content-type") or "application/json").partition(";")[0].strip().lower()
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise HTTPException(413, f"The body is too large: the limit is {MOST_BYTES} bytes.")
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json or not raw:
        missing = not raw
        said = (
            ("field required", "value_error.missing") if missing else ("value is not a valid dict", "type_error.dict")
        )
        raise InvalidError([{"loc": ["body"], "msg": said[0], "type": said[1]}])
    if sum(map(raw.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise HTTPException(413, f"The body has too many values: the limit is {MOST_VALUES}.")
    try:
        return json.loads(raw)
    except json.JSONDecodeError as wrong:
        where = {"msg": wrong.msg, "doc": wrong.doc[:_SHOWN], "pos": wrong.pos}
        context = {**where, "lineno": wrong.lineno, "colno": wrong.colno}
        place = {"loc": ["body", wrong.pos], "msg": str(wrong), "type": "value_error.jsondecode"}
        raise InvalidError([place | {"ctx": context}]) from wrong
    except (ValueError, RecursionError) as wrong:
        raise UnreadableError("There was an error parsing the body") from wrong
