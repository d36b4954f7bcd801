"""The server itself: memory, what it was started with, an end to it, and what A1111 could train."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from sdterm.host.queue import WrongStateError
from sdterm.host.sdapi import machine
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.schema import documented
from sdterm.host.sdapi.values import InvalidError
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread

_NO_TRAINING = "sdterm does not train: make the file with another program and put it into its folder."
_MADE = ("embedding", "hypernetwork")


def routes(services: HostServices, stop: Callable[[], None]) -> APIRouter:
    """stop: ends the host."""
    router = APIRouter()

    @router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def root(request: Request) -> Response:
        """There is no page where this is asked; clients ask for its head to see whether somebody is there."""
        if request.method == "GET":
            raise HTTPException(404)
        return Response()

    @router.get("/sdapi/v1/cmd-flags", **documented("Flags"))
    async def get_cmd_flags() -> dict[str, Any]:
        """What A1111's flags would be. No secrets."""
        settings = await in_thread(partial(settings_now, services))
        return machine.flags(settings)

    @router.get("/sdapi/v1/memory", **documented("MemoryResponse"))
    async def get_memory() -> dict[str, Any]:
        """Memory of the machine and of its first card."""
        return machine.memory(services.dispatcher.workers)

    @router.post("/sdapi/v1/unload-checkpoint", **documented())
    async def unloadapi() -> dict[str, Any]:
        """Free what processes without a job hold on their devices."""
        await services.dispatcher.unload()
        return {}

    @router.post("/sdapi/v1/reload-checkpoint", **documented())
    async def reloadapi() -> dict[str, Any]:
        """Read the checkpoint in the background, so that the next job need not."""
        settings = await in_thread(partial(settings_now, services))
        path = await in_thread(
            lambda: services.checkpoints.drawn_with(settings["model"], services.extensions.families).path
        )
        with contextlib.suppress(WrongStateError):  # what draws reads it by itself
            services.dispatcher.preload(path)
        return {}

    for made in _MADE:
        router.add_api_route(
            f"/sdapi/v1/create/{made}",
            partial(_refused, f"create {made} error: {_NO_TRAINING}"),
            methods=["POST"],
            name=f"create_{made}",
            **documented("CreateResponse", "object"),
        )
        router.add_api_route(
            f"/sdapi/v1/train/{made}",
            partial(_refused, f"train {made} error: {_NO_TRAINING}"),
            methods=["POST"],
            name=f"train_{made}",
            **documented("TrainResponse", "object"),
        )

    if services.settings["api_server_stop"]:

        @router.post("/sdapi/v1/server-stop", **documented())
        async def stop_webui() -> Response:
            """End the host; what it was drawing goes on with the next one."""
            stop()
            return PlainTextResponse("Stopping.")

        @router.post("/sdapi/v1/server-kill", **documented())
        async def kill_webui() -> Response:
            """The same."""
            stop()
            return PlainTextResponse("Stopping.")

        @router.post("/sdapi/v1/server-restart", **documented())
        async def restart_webui() -> Response:
            """A host does not start itself again."""
            return Response(status_code=501)

    @router.get("/internal/ping", **documented())
    async def ping() -> dict[str, Any]:
        """Somebody is there."""
        return {}

    @router.get("/internal/sysinfo", **documented())
    async def download_sysinfo(attachment: str = "") -> Response:
        """The machine, versions and settings, for a report. No secrets."""
        settings = await in_thread(partial(settings_now, services))
        text = await in_thread(partial(machine.report, services.health(secrets=False), settings))
        kind = "attachment" if attachment.lower() in ("1", "on", "t", "true", "y", "yes") else "inline"
        headers = {"content-disposition": f'{kind}; filename="sysinfo.json"'}
        return PlainTextResponse(text, headers=headers)

    return router


async def _refused(said: str, request: Request) -> dict[str, Any]:
    """What A1111 answers where training fails: the reason, where the result would be."""
    if not isinstance(await body(request), dict):
        raise InvalidError([{"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}])
    return {"info": said}
