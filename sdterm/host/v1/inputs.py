"""Images that jobs start from: the one place where a body is not JSON and may be large."""

import contextlib

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from sdterm.host.services import HostServices
from sdterm.host.v1.routing import Digest, streamed


def routes(services: HostServices) -> APIRouter:
    router = APIRouter(prefix="/inputs")
    picture = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}

    @router.put("/{sha256}", status_code=204, openapi_extra=picture)
    async def put_input(sha256: Digest, request: Request) -> None:
        """Keep an image for jobs to start from. Its header is checked; nothing is decoded."""
        with contextlib.suppress(ClientDisconnect):  # nobody is left to be told
            await services.inputs.receive(sha256, request.stream())

    @router.get("/{sha256}", response_class=StreamingResponse)
    async def get_input(sha256: Digest) -> StreamingResponse:
        """The file, as it was sent. Without a job or image that refers to it, it stays for a day from now."""
        return streamed(await services.pictures.read(await services.inputs.path(sha256)))

    @router.head("/{sha256}", response_class=Response)
    async def head_input(sha256: Digest) -> Response:
        """Whether the file is there; it then stays for a day from now at least."""
        await services.inputs.path(sha256)
        return Response()

    return router
