"""The routes of A1111's API: the first few that its clients cannot do without."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from sdterm.api import ENDED, JobDetails, Picture, Submission
from sdterm.core.inputs import InputError
from sdterm.core.library.checkpoints import AUTOMATIC_VAE, NO_VAE, CheckpointFile, Library, library_of
from sdterm.core.names import UnknownNameError
from sdterm.core.output.saving import Saving
from sdterm.core.prompt.styles import styles_of
from sdterm.core.settings.settings import Settings, resolve
from sdterm.errors import SdtermError
from sdterm.hooks import Sampler
from sdterm.host.sdapi import extras, interrogating
from sdterm.host.sdapi.answers import answer, error
from sdterm.host.sdapi.encoded import BadImageError, picture
from sdterm.host.sdapi.img2img import NoInitImageError, UnknownScriptError, echoed, pictures, translated
from sdterm.host.sdapi.listings import ALWAYS, LISTINGS
from sdterm.host.sdapi.options import all_options, in_force, set_option
from sdterm.host.sdapi.requests import Asked, UnknownOptionError, UnknownSamplerError, asked
from sdterm.host.sdapi.values import IMG2IMG, TXT2IMG, InvalidError, Table, read_values, with_defaults
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import GenerationRequest, make_request
from sdterm.version import __version__

MOST_BYTES = 64 * 2**20
"""Of a body: A1111's clients send pictures in them."""
_PAGE = 500  # pictures
_OWN_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_log = logging.getLogger(__name__)


class JobFailedError(SdtermError, RuntimeError):
    """A job came to another end than its images."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def make_sdapi(services: HostServices) -> ASGIApp:
    """The application that listens on a port of this machine."""
    app = FastAPI(title="sdterm, A1111's API", version=__version__, openapi_url="/openapi.json", redoc_url="/redoc")
    setting = asyncio.Lock()
    app.middleware("http")(partial(_around, services))

    @app.post("/sdapi/v1/txt2img")
    async def txt2img(request: Request) -> dict[str, Any]:
        """Draw, wait, and answer with the images."""
        values = read_values(await _body(request))
        if not values.get("firstpass_image"):
            return await _asked_and_drawn(services, values)
        file = await in_thread(partial(picture, values["firstpass_image"]))
        given = {"firstpass_image": await services.inputs.put(file)}
        return await _asked_and_drawn(services, values | given, echo=with_defaults(values, TXT2IMG))

    @app.post("/sdapi/v1/img2img")
    async def img2img(request: Request) -> dict[str, Any]:
        """The same from pictures."""
        values = read_values(await _body(request), IMG2IMG)
        files, mask = await in_thread(partial(pictures, values))
        digests = [await services.inputs.put(file) for file in files]
        masked = "" if mask is None else await services.inputs.put(mask)
        wanted = translated(values, digests, masked)
        return await _asked_and_drawn(services, wanted, IMG2IMG, echoed(values))

    @app.post("/sdapi/v1/extra-single-image")
    async def extra_single_image(request: Request) -> dict[str, Any]:
        """Make a picture larger."""
        values, file = extras.single(await _body(request))
        page, (image,) = await _enlarged(services, values, [file])
        return {"html_info": page, "image": image}

    @app.post("/sdapi/v1/extra-batch-images")
    async def extra_batch_images(request: Request) -> dict[str, Any]:
        """Make pictures larger."""
        values, files = extras.batch(await _body(request))
        page, images = await _enlarged(services, values, files)
        return {"html_info": page, "images": images}

    @app.get("/sdapi/v1/upscalers")
    async def upscalers() -> list[dict[str, Any]]:
        """What makes pictures larger."""
        settings = await in_thread(partial(_settings_now, services))
        names = (await services.extensions.now()).names
        return await services.threads.run(lambda: extras.upscalers(names, library_of(settings)))

    @app.get("/sdapi/v1/face-restorers")
    async def face_restorers() -> list[dict[str, Any]]:
        """What restores faces."""
        names = (await services.extensions.now()).names
        return [{"name": each.label, "cmd_dir": None} for each in extras.face_restorers(names)]

    @app.post("/sdapi/v1/interrogate")
    async def interrogate(request: Request) -> dict[str, Any]:
        """Say in words what is on a picture."""
        gives, file = interrogating.asked(await _body(request))
        return {"caption": await _described(services, gives, file)}

    @app.get("/sdapi/v1/options")
    async def get_options() -> dict[str, Any]:
        """Every setting of A1111."""
        settings = await in_thread(partial(_settings_now, services))
        return await in_thread(lambda: all_options(settings, _title(_chosen(services, settings))))

    @app.post("/sdapi/v1/options")
    async def post_options(request: Request) -> None:
        """Set some for good."""
        body = await _body(request)
        if not isinstance(body, dict):
            raise InvalidError([{"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}])
        async with setting:  # of two at once the second would write what the first had read
            settings = await in_thread(partial(_settings_now, services))
            for name, value in body.items():
                if name == "sd_model_checkpoint":
                    value = await in_thread(partial(_checkpoint, library_of(settings).find, value))
                    if value is None:
                        raise RuntimeError(f"Unknown checkpoint: {body[name]}")
                settings = await in_thread(partial(set_option, settings, name, value))

    @app.get("/sdapi/v1/sd-models")
    async def sd_models() -> list[dict[str, Any]]:
        """The checkpoints."""
        settings = await in_thread(partial(_settings_now, services))
        return await in_thread(lambda: [_model(each, settings) for each in library_of(settings).checkpoints()])

    @app.get("/sdapi/v1/samplers")
    async def samplers() -> list[dict[str, Any]]:
        """The samplers."""
        return [_sampler(each) for each in (await services.extensions.now()).names.all(Sampler)]

    for path, listing in LISTINGS.items():
        app.add_api_route(path, _from_library(services, listing), methods=["GET"])
    for path, listed in ALWAYS.items():
        app.add_api_route(path, partial(_always, listed), methods=["GET"])
    for name in ("checkpoints", "vae", "loras", "embeddings"):
        app.add_api_route(f"/sdapi/v1/refresh-{name}", _refreshed, methods=["POST"])

    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(SdtermError, _failed)
    app.add_exception_handler(InvalidError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return app


# --- drawing ----------------------------------------------------------------------------------------------------------


async def _asked_and_drawn(
    services: HostServices, values: dict[str, Any], table: Table = TXT2IMG, echo: dict[str, Any] | None = None
) -> dict[str, Any]:
    """echo: the body as it is answered, where that is another than `values`."""
    overrides = values.get("override_settings") or {}
    settings = await in_thread(partial(_settings_now, services))
    options = in_force(settings, overrides)
    library = library_of(settings)
    model = await in_thread(partial(_checkpoint, library.find, options.pop("sd_model_checkpoint", None)))
    options["sd_vae"] = await in_thread(partial(_vae, library, options.get("sd_vae")))
    names = (await services.extensions.now()).names
    known = await services.threads.run(partial(styles_of, settings))
    values["styles"] = [name for name in values.get("styles") or [] if isinstance(name, str) and name in known]
    fields = settings.job_fields() | ({"model": model} if model else {})
    wanted = asked(values, options, names, fields, table)
    return await _drawn(services, replace(wanted, parameters=echo) if echo else wanted)


async def _drawn(services: HostServices, wanted: Asked) -> dict[str, Any]:
    """Draw and answer."""
    return answer(wanted, *await _done(services, wanted.request, keep=wanted.save_images))


async def _done(
    services: HostServices, request: GenerationRequest, *, keep: bool = False
) -> tuple[JobDetails, list[tuple[Picture, bytes]]]:
    """Queue the job and wait for its end: its pictures, with their files. Images that are not to be kept lie in the run
    folder till then."""
    spool = services.run_folder.unsaved / uuid.uuid4().hex
    saving = services.saving() if keep else Saving(spool)
    submission = Submission(request=request, saving=saving)
    job = await services.submit(submission)
    try:
        details = await _ended(services, job)
        kept = [each for each in await _pictures(services, job) if each.kind != "before hires"]  # saved, not answered
        found = sorted(kept, key=_as_a1111)
        return details, [(picture, await in_thread(Path(picture.path).read_bytes)) for picture in found]
    finally:
        if not keep:
            services.pictures.forget(job)
            await in_thread(partial(shutil.rmtree, spool, ignore_errors=True))


async def _enlarged(services: HostServices, values: dict[str, Any], files: list[bytes]) -> tuple[str, list[str]]:
    """Pictures made larger as extras want it: A1111's page text, and their files in base64."""
    settings = await in_thread(partial(_settings_now, services))
    names = (await services.extensions.now()).names
    await services.threads.run(lambda: extras.check(values, names, library_of(settings)))
    digests = [await services.inputs.put(file) for file in files]
    request = extras.request_of(values, digests, in_force(settings, {}), settings.job_fields(), names)
    if not files:
        return extras.page(request), []
    _, pictures = await _done(services, request)
    return extras.page(request), [base64.b64encode(data).decode() for _, data in pictures]


async def _described(services: HostServices, gives: str, file: bytes) -> str:
    """The prompt of a picture's infotext, or what a model makes of it."""
    digest = await services.inputs.put(file)
    path = await services.inputs.path(digest)
    if prompt := await services.threads.run(lambda: interrogating.prompt_of(path)):
        return prompt
    request = make_request(prompt="", interrogate_images=(digest,), interrogator=gives)
    job = await services.submit(Submission(request=request))
    await _ended(services, job)
    return "".join(services.log.described(job))


def _as_a1111(picture: Picture) -> tuple[bool, int, bool, int]:
    """The grid first, then each image with what comes with it."""
    return picture.kind != "grid", picture.number, not picture.is_image, picture.id


async def _pictures(services: HostServices, job: int) -> list[Picture]:
    """All that a job has saved."""
    page = await services.pictures.page("", _PAGE, None, job)
    found = [*page.pictures]
    while page.next:
        page = await services.pictures.page("", _PAGE, page.next, job)
        found += page.pictures
    return found


async def _ended(services: HostServices, job: int) -> JobDetails:
    """The job, once it is done or cancelled. Raises JobFailedError if it fails, or if the host ends before it does."""
    async with contextlib.aclosing(services.log.follow(None, job, False)) as events:
        async for _ in events:
            details = services.details(job)
            if details.state == "failed" and details.reason:
                said = f"{details.reason.message} {details.reason.advice or ''}"
                raise JobFailedError(details.reason.code, said.strip())
            if details.state in ENDED:
                return details
    raise JobFailedError("host_ended", f"The host ended before job {job} did. Send the request again once it is back.")


# --- what is there ----------------------------------------------------------------------------------------------------


def _settings_now(services: HostServices) -> Settings:
    """The host's settings, with what config.toml says by now."""
    typed = ("the command line", "COMMANDLINE_ARGS")
    values = services.settings.values
    given = {key: value.value for key, value in values.items() if value.source in typed}
    return resolve({"the command line": {**given, "data_dir": str(services.settings.root)}}, os.environ)


def _checkpoint(find: Callable[[str], CheckpointFile], name: Any) -> str | None:
    """A name that finds the checkpoint of A1111's title, `file [hash]`; None if there is none, as A1111 has it."""
    title = str(name or "").strip()
    stem, _, rest = title.partition(" [")
    for wanted in (rest.rstrip("]"), stem, title):
        try:
            if wanted and find(wanted):
                return wanted
        except UnknownNameError:
            continue
    return None


def _vae(library: Library, name: Any) -> str:
    """A VAE's name; unknown ones are the checkpoint's own, as A1111 has it."""
    wanted = str(name or AUTOMATIC_VAE)
    try:
        library.find_vae(wanted, library.checkpoints()[0])
    except UnknownNameError:
        return NO_VAE
    return wanted


def _chosen(services: HostServices, settings: Settings) -> tuple[CheckpointFile, str | None] | None:
    try:
        found = services.checkpoints.drawn_with(settings["model"])
    except UnknownNameError:
        return None
    return found, library_of(settings).known_hash(found.path)


def _title(chosen: tuple[CheckpointFile, str | None] | None) -> str | None:
    if chosen is None:
        return None
    checkpoint, digest = chosen
    return f"{checkpoint.path.name} [{digest[:10]}]" if digest else checkpoint.path.name


def _model(checkpoint: CheckpointFile, settings: Settings) -> dict[str, Any]:
    digest = library_of(settings).known_hash(checkpoint.path)
    return {
        "title": _title((checkpoint, digest)),
        "model_name": checkpoint.name,
        "hash": digest[:10] if digest else None,
        "sha256": digest,
        "filename": str(checkpoint.path),
        "config": None,
    }


def _sampler(sampler: Sampler) -> dict[str, Any]:
    options = {"scheduler": sampler.default_scheduler.lower()} if sampler.default_scheduler else {}
    return {"name": sampler.label, "aliases": [*sampler.aliases], "options": options}


def _from_library(services: HostServices, listing: Callable[[Library], Any]) -> Callable[[], Awaitable[Any]]:
    async def answer() -> Any:
        settings = await in_thread(partial(_settings_now, services))
        return await services.threads.run(lambda: listing(library_of(settings)))

    answer.__doc__ = listing.__doc__
    return answer


async def _always(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is the same on every machine."""
    return listed


async def _refreshed() -> None:
    """Every list is read from the disk when it is asked for."""


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def _body(request: Request) -> Any:
    """The body's JSON, whatever its length is said to be. Raises InvalidError, HTTPException."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise HTTPException(413, f"The body is too large: the limit is {MOST_BYTES} bytes.")
    if kind != "application/json" or not raw:
        missing = not raw
        said = (
            ("field required", "value_error.missing") if missing else ("value is not a valid dict", "type_error.dict")
        )
        raise InvalidError([{"loc": ["body"], "msg": said[0], "type": said[1]}])
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        at = getattr(wrong, "pos", 0)
        raise InvalidError([{"loc": ["body", at], "msg": f"{wrong}", "type": "value_error.jsondecode"}]) from wrong


async def _around(services: HostServices, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Who may ask: programs of this machine. A page in a browser, whatever name it gives this machine, may not."""
    services.touch()
    began = time.perf_counter()
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    origin = request.headers.get("origin")
    if host not in _OWN_HOSTS or (origin and origin != f"http://{request.headers.get('host')}"):
        return JSONResponse(error("Forbidden", "This API answers programs on this machine alone."), 403)
    if not (length := request.headers.get("content-length", "0")).isdigit() or int(length[:12]) > MOST_BYTES:
        return JSONResponse(error("TooLarge", f"The body is too large: the limit is {MOST_BYTES} bytes."), 413)
    response = await call(request)
    response.headers["x-process-time"] = f"{time.perf_counter() - began:.4f}"
    return response


def _invalid(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, InvalidError)
    return JSONResponse({"detail": wrong.detail}, 422)


def _http(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, HTTPException)
    return JSONResponse({"detail": wrong.detail}, wrong.status_code, headers=wrong.headers)


def _failed(request: Request, wrong: Exception) -> JSONResponse:
    """A1111's statuses: 404 for a sampler, 500 for what failed; a value that cannot be drawn is a 422."""
    match wrong:
        case UnknownSamplerError() | NoInitImageError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 404)
        case interrogating.UnknownModelError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 404)
        case UnknownOptionError():
            return JSONResponse(error("KeyError", str(wrong)), 500)
        case BadImageError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 500)
        case InputError():
            return JSONResponse(error("HTTPException", "", "Invalid encoded image"), 500)
        case UnknownScriptError():
            return JSONResponse(error("HTTPException", "", str(wrong)), 422)
        case extras.UnknownUpscalerError():
            return JSONResponse(error("AssertionError", str(wrong)), 500)
        case JobFailedError():
            return JSONResponse(error(wrong.code, str(wrong)), 500)
        case SdtermError():
            return JSONResponse(error(type(wrong).__name__, str(wrong), str(wrong)), 422)
        case _:
            _log.error("%s %s", request.method, request.url.path, exc_info=wrong)
            return JSONResponse(error(type(wrong).__name__, str(wrong)), 500)
