"""What is in a picture: its infotext, and words for it."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sdterm.core.prompt.styles import styles_of
from sdterm.host.sdapi import interrogating, png_info
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.delivery import Deliveries, How, Order, deliverable
from sdterm.host.sdapi.fetching import fetcher
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.replies import Reply
from sdterm.host.sdapi.schema import documented
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import make_request


def routes(services: HostServices, deliveries: Deliveries) -> APIRouter:
    """What reads pictures."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.post("/png-info", **documented("PNGInfoResponse", "PNGInfoRequest"))
    async def pnginfoapi(request: Request) -> dict[str, Any]:
        """The infotext in a picture, as text and taken apart."""
        content = await body(request)
        file = await in_thread(partial(png_info.asked, content, fetcher(services.settings)))
        settings = await in_thread(partial(settings_now, services))
        styles = await services.threads.run(partial(styles_of, settings))
        return await services.threads.run(partial(png_info.png_info, file, styles))

    @router.post("/interrogate", **deliverable(asks="InterrogateRequest"))
    async def interrogateapi(request: Request, how: How) -> Response:
        """Say in words what is on a picture."""
        return await deliveries.deliver(request, how, partial(_described, services))

    return router


async def _described(services: HostServices, content: Any) -> Order | dict[str, Any]:
    """The prompt of a picture's infotext, or what a model makes of it."""
    gives, file = await in_thread(partial(interrogating.asked, content, fetcher(services.settings)))
    digest = await services.inputs.put(file)
    path = await services.inputs.path(digest)
    if prompt := await services.threads.run(lambda: interrogating.prompt_of(path)):
        return {"caption": prompt}
    return Order(make_request(prompt="", interrogate_images=(digest,), interrogator=gives), Reply("caption"))
