"""What is in a picture: its infotext, and words for it."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from sdterm.api import Submission
from sdterm.core.prompt.styles import styles_of
from sdterm.host.sdapi import interrogating, png_info
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.jobs import ended
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.schema import documented
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import make_request


def routes(services: HostServices) -> APIRouter:
    """What reads pictures."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.post("/png-info", **documented("PNGInfoResponse", "PNGInfoRequest"))
    async def pnginfoapi(request: Request) -> dict[str, Any]:
        """The infotext in a picture, as text and taken apart."""
        file = png_info.asked(await body(request))
        settings = await in_thread(partial(settings_now, services))
        styles = await services.threads.run(partial(styles_of, settings))
        return await services.threads.run(partial(png_info.png_info, file, styles))

    @router.post("/interrogate", **documented(asks="InterrogateRequest"))
    async def interrogateapi(request: Request) -> dict[str, Any]:
        """Say in words what is on a picture."""
        gives, file = interrogating.asked(await body(request))
        return {"caption": await _described(services, gives, file)}

    return router


async def _described(services: HostServices, gives: str, file: bytes) -> str:
    """The prompt of a picture's infotext, or what a model makes of it."""
    digest = await services.inputs.put(file)
    path = await services.inputs.path(digest)
    if prompt := await services.threads.run(lambda: interrogating.prompt_of(path)):
        return prompt
    request = make_request(prompt="", interrogate_images=(digest,), interrogator=gives)
    job = await services.submit(Submission(request=request))
    await ended(services, job)
    return "".join(services.log.described(job))
