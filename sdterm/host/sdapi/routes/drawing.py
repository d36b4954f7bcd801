"""Drawing, larger pictures, and words for them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from sdterm.core.library.checkpoints import library_of
from sdterm.core.prompt.styles import styles_of
from sdterm.host.sdapi import extras, interrogating
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.delivery import LATER, Deliveries, Delivery, Order, delivery
from sdterm.host.sdapi.encoded import Fetch, picture
from sdterm.host.sdapi.fetching import Fetcher
from sdterm.host.sdapi.img2img import echoed, pictures, translated
from sdterm.host.sdapi.models import checkpoint_name, vae_name
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.options import in_force
from sdterm.host.sdapi.replies import Reply
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import IMG2IMG, TXT2IMG, Table, read_values, with_defaults
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import make_request

Ordered = Callable[[HostServices, Any], Awaitable[Order | dict[str, Any]]]
_How = Annotated[Delivery, Depends(delivery)]


def routes(services: HostServices, deliveries: Deliveries) -> APIRouter:
    """What a job is made of, and waited for."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.post("/txt2img", responses=LATER)
    async def txt2img(request: Request, how: _How) -> Response:
        """Draw, wait, and answer with the images."""
        return await delivered(request, how, _from_words)

    @router.post("/img2img", responses=LATER)
    async def img2img(request: Request, how: _How) -> Response:
        """The same from pictures."""
        return await delivered(request, how, _from_pictures)

    @router.post("/extra-single-image", responses=LATER)
    async def extra_single_image(request: Request, how: _How) -> Response:
        """Make a picture larger."""
        return await delivered(request, how, _larger)

    @router.post("/extra-batch-images", responses=LATER)
    async def extra_batch_images(request: Request, how: _How) -> Response:
        """Make pictures larger."""
        return await delivered(request, how, _all_larger)

    @router.post("/interrogate", responses=LATER)
    async def interrogate(request: Request, how: _How) -> Response:
        """Say in words what is on a picture."""
        return await delivered(request, how, _described)

    @router.get("/jobs/{job}", responses=LATER)
    async def answer_of_job(request: Request, job: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> Response:
        """The answer of a job that was not waited for (`wait=false`) or has an `Idempotency-Key`; 202 until it is
        there."""
        return await deliveries.look(request, job)

    async def delivered(request: Request, how: Delivery, order: Ordered) -> Response:
        content = await body(request)
        return await deliveries.deliver(request, how, content, partial(order, services, content))

    return router


def _fetch(services: HostServices) -> Fetch | None:
    """What fetches the pictures that one request names by URL, where the setting allows it."""
    return Fetcher() if services.settings["api_fetch"] else None


async def _from_words(services: HostServices, content: Any) -> Order:
    values = read_values(content)
    if not values.get("firstpass_image"):
        return await _asked(services, values)
    file = await in_thread(partial(picture, values["firstpass_image"], _fetch(services)))
    given = {"firstpass_image": await services.inputs.put(file)}
    return await _asked(services, values | given, echo=with_defaults(values, TXT2IMG))


async def _from_pictures(services: HostServices, content: Any) -> Order:
    values = read_values(content, IMG2IMG)
    files, mask = await in_thread(partial(pictures, values, _fetch(services)))
    digests = [await services.inputs.put(file) for file in files]
    masked = "" if mask is None else await services.inputs.put(mask)
    return await _asked(services, translated(values, digests, masked), IMG2IMG, echoed(values))


async def _asked(
    services: HostServices, values: dict[str, Any], table: Table = TXT2IMG, echo: dict[str, Any] | None = None
) -> Order:
    """echo: the body as it is answered, where that is another than `values`."""
    overrides = values.get("override_settings") or {}
    settings = await in_thread(partial(settings_now, services))
    options = in_force(settings, overrides)
    library = library_of(settings)
    model = await in_thread(partial(checkpoint_name, library.find, options.pop("sd_model_checkpoint", None)))
    options["sd_vae"] = await in_thread(partial(vae_name, library, options.get("sd_vae")))
    names = (await services.extensions.now()).names
    known = await services.threads.run(partial(styles_of, settings))
    values["styles"] = [name for name in values.get("styles") or [] if isinstance(name, str) and name in known]
    fields = settings.job_fields() | ({"model": model} if model else {})
    wanted = asked(values, options, names, fields, table)
    wanted = replace(wanted, parameters=echo) if echo else wanted
    return Order(wanted.request, Reply("images", wanted.parameters, wanted.send_images), wanted.save_images)


async def _larger(services: HostServices, content: Any) -> Order:
    values, file = await in_thread(partial(extras.single, content, _fetch(services)))
    return await _enlarged(services, values, [file], Reply("larger image"))


async def _all_larger(services: HostServices, content: Any) -> Order | dict[str, Any]:
    values, files = await in_thread(partial(extras.batch, content, _fetch(services)))
    order = await _enlarged(services, values, files, Reply("larger images"))
    return order if files else {"html_info": extras.page(order.request), "images": []}


async def _enlarged(services: HostServices, values: dict[str, Any], files: list[bytes], reply: Reply) -> Order:
    """Pictures made larger as extras want it."""
    settings = await in_thread(partial(settings_now, services))
    names = (await services.extensions.now()).names
    await services.threads.run(lambda: extras.check(values, names, library_of(settings)))
    digests = [await services.inputs.put(file) for file in files]
    return Order(extras.request_of(values, digests, in_force(settings, {}), settings.job_fields(), names), reply)


async def _described(services: HostServices, content: Any) -> Order | dict[str, Any]:
    """The prompt of a picture's infotext, or what a model makes of it."""
    gives, file = await in_thread(partial(interrogating.asked, content, _fetch(services)))
    digest = await services.inputs.put(file)
    path = await services.inputs.path(digest)
    if prompt := await services.threads.run(lambda: interrogating.prompt_of(path)):
        return {"caption": prompt}
    return Order(make_request(prompt="", interrogate_images=(digest,), interrogator=gives), Reply("caption"))
