"""The peer of `benchmarks.host`: FastAPI and uvicorn on a Unix socket, and a stream of the time, with nothing else.

`python -m benchmarks.bare_host SOCKET`
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

EVERY = 0.05  # seconds

app = FastAPI()


@app.get("/")
async def root() -> None:
    """It is there."""


@app.get("/events")
async def events() -> StreamingResponse:
    """The time, again and again."""

    async def ticks() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(EVERY)
            yield format_sse_event(data_str=str(time.time()))

    return StreamingResponse(ticks(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, uds=sys.argv[1], log_config=None, http="h11", timeout_graceful_shutdown=1)
