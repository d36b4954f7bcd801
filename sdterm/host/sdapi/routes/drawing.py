"""Drawing, larger pictures, and words for them."""

import base64
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from sdterm.api import Submission
from sdterm.core.library.checkpoints import library_of
from sdterm.core.prompt.styles import styles_of
from sdterm.host.sdapi import extras, interrogating
from sdterm.host.sdapi.answers import answer
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.encoded import picture
from sdterm.host.sdapi.img2img import echoed, pictures, translated
from sdterm.host.sdapi.jobs import done, ended
from sdterm.host.sdapi.models import checkpoint_name, vae_name
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.options import in_force
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import IMG2IMG, TXT2IMG, Table, read_values, with_defaults
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import make_request


def routes(services: HostServices) -> APIRouter:
    """What a job is made of, and waited for."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.post("/txt2img")
    async def txt2img(request: Request) -> dict[str, Any]:
        """Draw, wait, and answer with the images."""
        values = read_values(await body(request))
        if not values.get("firstpass_image"):
            return await _asked_and_drawn(services, values)
        file = await in_thread(partial(picture, values["firstpass_image"]))
        given = {"firstpass_image": await services.inputs.put(file)}
        return await _asked_and_drawn(services, values | given, echo=with_defaults(values, TXT2IMG))

    @router.post("/img2img")
    async def img2img(request: Request) -> dict[str, Any]:
        """The same from pictures."""
        values = read_values(await body(request), IMG2IMG)
        files, mask = await in_thread(partial(pictures, values))
        digests = [await services.inputs.put(file) for file in files]
        masked = "" if mask is None else await services.inputs.put(mask)
        wanted = translated(values, digests, masked)
        return await _asked_and_drawn(services, wanted, IMG2IMG, echoed(values))

    @router.post("/extra-single-image")
    async def extra_single_image(request: Request) -> dict[str, Any]:
        """Make a picture larger."""
        values, file = extras.single(await body(request))
        page, (image,) = await _enlarged(services, values, [file])
        return {"html_info": page, "image": image}

    @router.post("/extra-batch-images")
    async def extra_batch_images(request: Request) -> dict[str, Any]:
        """Make pictures larger."""
        values, files = extras.batch(await body(request))
        page, images = await _enlarged(services, values, files)
        return {"html_info": page, "images": images}

    @router.post("/interrogate")
    async def interrogate(request: Request) -> dict[str, Any]:
        """Say in words what is on a picture."""
        gives, file = interrogating.asked(await body(request))
        return {"caption": await _described(services, gives, file)}

    return router


async def _asked_and_drawn(
    services: HostServices, values: dict[str, Any], table: Table = TXT2IMG, echo: dict[str, Any] | None = None
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
    values["styles"] = [name for name in values.get("styles") or [] if isinstance(name, str) and name in known]
    fields = settings.job_fields() | ({"model": model} if model else {})
    wanted = asked(values, options, names, fields, table)
    wanted = replace(wanted, parameters=echo) if echo else wanted
    return answer(wanted, *await done(services, wanted.request, keep=wanted.save_images))


async def _enlarged(services: HostServices, values: dict[str, Any], files: list[bytes]) -> tuple[str, list[str]]:
    """Pictures made larger as extras want it: A1111's page text, and their files in base64."""
    settings = await in_thread(partial(settings_now, services))
    names = (await services.extensions.now()).names
    await services.threads.run(lambda: extras.check(values, names, library_of(settings)))
    digests = [await services.inputs.put(file) for file in files]
    request = extras.request_of(values, digests, in_force(settings, {}), settings.job_fields(), names)
    if not files:
        return extras.page(request), []
    _, pictures = await done(services, request)
    return extras.page(request), [base64.b64encode(data).decode() for _, data in pictures]


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
