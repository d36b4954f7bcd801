"""Drawing, and larger pictures."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from sdterm.core.library.checkpoints import library_of
from sdterm.core.prompt.styles import styles_of
from sdterm.host.sdapi import extras
from sdterm.host.sdapi.delivery import Deliveries, How, Order, deliverable
from sdterm.host.sdapi.encoded import picture
from sdterm.host.sdapi.fetching import fetcher
from sdterm.host.sdapi.img2img import echoed, pictures, translated
from sdterm.host.sdapi.models import checkpoint_name, vae_name
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.options import in_force
from sdterm.host.sdapi.pipelines import for_pipeline, without_sampler
from sdterm.host.sdapi.replies import Reply
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.tasks import Tasks
from sdterm.host.sdapi.values import IMG2IMG, TXT2IMG, Table, read_values, with_defaults
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread


def routes(services: HostServices, deliveries: Deliveries, tasks: Tasks) -> APIRouter:
    """What a job is made of, and waited for."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.post("/txt2img", **deliverable("TextToImageResponse", "StableDiffusionProcessingTxt2Img"))
    async def text2imgapi(request: Request, how: How) -> Response:
        """Draw, wait, and answer with the images."""
        return await deliveries.deliver(request, how, partial(_from_words, services, tasks))

    @router.post("/img2img", **deliverable("ImageToImageResponse", "StableDiffusionProcessingImg2Img"))
    async def img2imgapi(request: Request, how: How) -> Response:
        """The same from pictures."""
        return await deliveries.deliver(request, how, partial(_from_pictures, services, tasks))

    @router.post("/extra-single-image", **deliverable("ExtrasSingleImageResponse", "ExtrasSingleImageRequest"))
    async def extras_single_image_api(request: Request, how: How) -> Response:
        """Make a picture larger."""
        return await deliveries.deliver(request, how, partial(_larger, services, tasks))

    @router.post("/extra-batch-images", **deliverable("ExtrasBatchImagesResponse", "ExtrasBatchImagesRequest"))
    async def extras_batch_images_api(request: Request, how: How) -> Response:
        """Make pictures larger."""
        return await deliveries.deliver(request, how, partial(_all_larger, services, tasks))

    @router.get("/jobs/{job}", **deliverable())
    async def answer_of_job(request: Request, job: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> Response:
        """The answer of a job that was not waited for (`wait=false`) or has an `Idempotency-Key`; 202 until it is
        there."""
        return await deliveries.look(request, job)

    return router


async def _from_words(services: HostServices, tasks: Tasks, content: Any) -> Order:
    values = read_values(content)
    if not values.get("firstpass_image"):
        return await _asked(services, tasks, values)
    file = await in_thread(partial(picture, values["firstpass_image"], fetcher(services.settings)))
    given = {"firstpass_image": await services.inputs.put(file)}
    return await _asked(services, tasks, values | given, echo=with_defaults(values, TXT2IMG))


async def _from_pictures(services: HostServices, tasks: Tasks, content: Any) -> Order:
    values = read_values(content, IMG2IMG)
    files, mask = await in_thread(partial(pictures, values, fetcher(services.settings)))
    digests = [await services.inputs.put(file) for file in files]
    masked = "" if mask is None else await services.inputs.put(mask)
    return await _asked(services, tasks, translated(values, digests, masked), IMG2IMG, echoed(values))


async def _asked(
    services: HostServices,
    tasks: Tasks,
    values: dict[str, Any],
    table: Table = TXT2IMG,
    echo: dict[str, Any] | None = None,
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
    styles = [name for name in values.get("styles") or [] if isinstance(name, str) and name in known]
    fields = settings.job_fields() | ({"model": model} if model else {})
    told = echo or with_defaults(values, table)
    strict = services.settings["api_strict"]
    is_tapped = await services.is_tapped(fields.get("model"))
    body = (without_sampler(values) if is_tapped else values) | {"styles": styles}
    wanted = asked(body, options, names, fields, table, echoed=told, strict=strict)
    if is_tapped:
        wanted = replace(wanted, request=for_pipeline(wanted.request, values, fields))
    reply = Reply("images", wanted.parameters, wanted.send_images, options.get("enable_pnginfo") is not False)
    return Order(wanted.request, reply, partial(tasks.add, name=values.get("force_task_id")), wanted.save_images)


async def _larger(services: HostServices, tasks: Tasks, content: Any) -> Order:
    values, file = await in_thread(partial(extras.single, content, fetcher(services.settings)))
    return await _enlarged(services, tasks, values, [file], Reply("larger image"))


async def _all_larger(services: HostServices, tasks: Tasks, content: Any) -> Order | dict[str, Any]:
    values, files = await in_thread(partial(extras.batch, content, fetcher(services.settings)))
    order = await _enlarged(services, tasks, values, files, Reply("larger images"))
    return order if files else {"html_info": extras.page(order.request), "images": []}


async def _enlarged(
    services: HostServices, tasks: Tasks, values: dict[str, Any], files: list[bytes], reply: Reply
) -> Order:
    """Pictures made larger as extras want it."""
    settings = await in_thread(partial(settings_now, services))
    names = (await services.extensions.now()).names
    await services.threads.run(lambda: extras.check(values, names, library_of(settings)))
    digests = [await services.inputs.put(file) for file in files]
    request = extras.request_of(values, digests, in_force(settings, {}), settings.job_fields(), names)
    return Order(request, reply, tasks.add)
