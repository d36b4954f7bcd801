"""Drawing, and larger pictures."""

import base64
from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from sdterm.core.library.checkpoints import library_of
from sdterm.core.prompt.styles import styles_of
from sdterm.host.sdapi import extras
from sdterm.host.sdapi.answers import answer
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.encoded import picture
from sdterm.host.sdapi.img2img import echoed, pictures, translated
from sdterm.host.sdapi.jobs import done
from sdterm.host.sdapi.models import checkpoint_name, vae_name
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.options import in_force
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.schema import documented
from sdterm.host.sdapi.tasks import Tasks
from sdterm.host.sdapi.values import IMG2IMG, TXT2IMG, Table, read_values, with_defaults
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread


def routes(services: HostServices, tasks: Tasks) -> APIRouter:
    """What a job is made of, and waited for."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.post("/txt2img", **documented("TextToImageResponse", "StableDiffusionProcessingTxt2Img"))
    async def text2imgapi(request: Request) -> dict[str, Any]:
        """Draw, wait, and answer with the images."""
        values = read_values(await body(request))
        if not values.get("firstpass_image"):
            return await _asked_and_drawn(services, tasks, values)
        file = await in_thread(partial(picture, values["firstpass_image"]))
        given = {"firstpass_image": await services.inputs.put(file)}
        return await _asked_and_drawn(services, tasks, values | given, echo=with_defaults(values, TXT2IMG))

    @router.post("/img2img", **documented("ImageToImageResponse", "StableDiffusionProcessingImg2Img"))
    async def img2imgapi(request: Request) -> dict[str, Any]:
        """The same from pictures."""
        values = read_values(await body(request), IMG2IMG)
        files, mask = await in_thread(partial(pictures, values))
        digests = [await services.inputs.put(file) for file in files]
        masked = "" if mask is None else await services.inputs.put(mask)
        wanted = translated(values, digests, masked)
        return await _asked_and_drawn(services, tasks, wanted, IMG2IMG, echoed(values))

    @router.post("/extra-single-image", **documented("ExtrasSingleImageResponse", "ExtrasSingleImageRequest"))
    async def extras_single_image_api(request: Request) -> dict[str, Any]:
        """Make a picture larger."""
        values, file = extras.single(await body(request))
        page, (image,) = await _enlarged(services, tasks, values, [file])
        return {"html_info": page, "image": image}

    @router.post("/extra-batch-images", **documented("ExtrasBatchImagesResponse", "ExtrasBatchImagesRequest"))
    async def extras_batch_images_api(request: Request) -> dict[str, Any]:
        """Make pictures larger."""
        values, files = extras.batch(await body(request))
        page, images = await _enlarged(services, tasks, values, files)
        return {"html_info": page, "images": images}

    return router


async def _asked_and_drawn(
    services: HostServices,
    tasks: Tasks,
    values: dict[str, Any],
    table: Table = TXT2IMG,
    echo: dict[str, Any] | None = None,
) -> dict[str, Any]:
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
    wanted = asked(values | {"styles": styles}, options, names, fields, table, echoed=told, strict=strict)
    named = partial(tasks.add, name=values.get("force_task_id"))
    return answer(wanted, *await done(services, wanted.request, named, keep=wanted.save_images))


async def _enlarged(
    services: HostServices, tasks: Tasks, values: dict[str, Any], files: list[bytes]
) -> tuple[str, list[str]]:
    """Pictures made larger as extras want it: A1111's page text, and their files in base64."""
    settings = await in_thread(partial(settings_now, services))
    names = (await services.extensions.now()).names
    await services.threads.run(lambda: extras.check(values, names, library_of(settings)))
    digests = [await services.inputs.put(file) for file in files]
    request = extras.request_of(values, digests, in_force(settings, {}), settings.job_fields(), names)
    if not files:
        return extras.page(request), []
    _, pictures = await done(services, request, tasks.add)
    return extras.page(request), [base64.b64encode(data).decode() for _, data in pictures]
