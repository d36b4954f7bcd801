"""`/v1`: the host over HTTP. Each function is one thing a client can ask; docs/protocol.md describes them."""

import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdterm.api import (
    HEARTBEAT,
    DeviceName,
    Download,
    DownloadOffer,
    DownloadRequest,
    Emptied,
    Extension,
    FieldError,
    Hashing,
    HashRequest,
    Health,
    Identifier,
    JobDetails,
    JobPage,
    JobView,
    LibraryFile,
    LibraryKind,
    Model,
    ModelName,
    Move,
    Networks,
    Picture,
    PicturePage,
    Pin,
    Problem,
    PromptReading,
    Queue,
    Resumption,
    Retry,
    SettingValue,
    SettingView,
    State,
    Stop,
    Style,
    Submission,
    TrashedPicture,
    Words,
    WorkerView,
)
from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.files import legible
from sdterm.core.inputs import MOST_BYTES as MOST_INPUT_BYTES
from sdterm.core.names import UnknownNameError
from sdterm.core.settings.settings import is_owners
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host import model_files
from sdterm.host.access.guests import Caller, ForbiddenError, Guest
from sdterm.host.access.outputs import check_picture, check_saving
from sdterm.host.database import is_full
from sdterm.host.gallery_order import NEWEST
from sdterm.host.pictures import PictureFile
from sdterm.host.sdapi.now import settings_now
from sdterm.host.services import HostServices
from sdterm.host.settings import changed, key_of, views
from sdterm.host.threads import in_thread
from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError, request_error
from sdterm.version import __version__

_log = logging.getLogger(__name__)

MOST_BYTES = 2 * 2**20
"""Of a request's body: a prompt and a negative prompt at their limits, escaped, and room to spare."""

Limit = Annotated[int, Query(ge=1, le=500)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Cursor = Annotated[str | None, Query(max_length=60, pattern=r"^[0-9.,e+-]+$")]

STATUS = {
    "unknown_job": 404,
    "unknown_picture": 404,
    "unknown_download": 404,
    "unknown_input": 404,
    "wrong_state": 409,
    "unmovable": 409,
    "no_image": 410,
    "forbidden": 403,
    BAD_REQUEST: 422,
    "bad_input": 422,
    "bad_model": 422,
    "download_failed": 422,
    "download_broke_off": 503,
    "output_unwritable": 422,
    "plugins_broken": 503,
    "slow_disk": 503,
    "disk_full": 507,
}
"""The code of an error that a function may raise → the status of the answer."""


def make_app(services: HostServices, stop: Callable[[], None]) -> ASGIApp:
    """The application. stop: ends the host."""
    app = FastAPI(title="sdterm", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    router = APIRouter(
        prefix="/v1",
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
        dependencies=[Depends(_only_known_parameters), Depends(_only_utf_8)],
    )

    async def reachable(picture: Identifier, caller: Caller) -> None:
        if caller:
            path = (await services.pictures.get(picture)).path
            await services.threads.run(partial(check_picture, path, services.saving()))

    in_outputs = [Depends(reachable)]

    @router.get("/health")
    async def health(caller: Caller) -> Health:
        """The host, its processes and its queue."""
        return services.health(secrets=caller is None)

    @router.post("/jobs", status_code=201)
    async def submit(submission: Submission, caller: Caller) -> JobView:
        """Queue a job. Names are looked up and the folder is tried first."""
        if caller:
            await services.threads.run(partial(check_saving, submission.saving, services.saving()))
        return services.job(await services.submit(submission))

    @router.get("/jobs")
    async def jobs(
        state: Annotated[list[State], Query(max_length=10)] = [],  # noqa: B006 FastAPI copies it
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> JobPage:
        """Jobs, the newest first; `state=queued` alone: in the order of the queue."""
        return services.page(state, limit, cursor)

    @router.get("/jobs/{job}")
    async def job(job: Identifier) -> JobDetails:
        """A job with its request and plan."""
        return services.details(job)

    @router.post("/jobs/{job}/cancel")
    async def cancel(job: Identifier) -> JobView:
        """Stop a job for good; finished images stay."""
        await services.cancel(job)
        return services.job(job)

    @router.post("/jobs/{job}/pause")
    async def pause(job: Identifier, how: Stop | None = None) -> JobView:
        """Stop a job so that it can go on: now, or when each image is at a step."""
        if services.jobs.pause(job, how.at_step if how else None, how.pass_no if how else 0):
            await services.dispatcher.stop_job(job)
        return services.job(job)

    @router.post("/jobs/{job}/resume")
    async def resume(job: Identifier, how: Resumption | None = None) -> JobView:
        """Go on with a paused job, or with some of its images."""
        services.jobs.resume(job, how or Resumption())
        services.dispatcher.wake()
        return services.job(job)

    @router.post("/jobs/{job}/retry")
    async def retry(job: Identifier, how: Retry | None = None) -> JobView:
        """Try a failed job again, from where it was; perhaps computed in another way, which leaves its images."""
        await services.retry(job, how or Retry())
        services.dispatcher.wake()
        return services.job(job)

    @router.post("/jobs/{job}/move")
    async def move(job: Identifier, where: Move) -> JobView:
        """Put a queued job elsewhere in the queue."""
        services.jobs.move(job, where.before)
        return services.job(job)

    @router.post("/jobs/{job}/pin")
    async def pin(job: Identifier, where: Pin | None = None) -> JobView:
        """Have a job drawn on one device alone, or on any."""
        device = where.device if where else None
        services.dispatcher.check_device(device)
        services.jobs.pin(job, device)
        services.dispatcher.wake()
        return services.job(job)

    @router.post("/devices/{device}/{what}")
    async def set_device(device: DeviceName, what: Literal["drain", "resume"]) -> WorkerView:
        """Drain: what the device draws is finished, it takes nothing new, and its memory becomes free."""
        return services.dispatcher.drain(device, what == "drain")

    @router.get("/queue")
    async def queue() -> Queue:
        """Whether the queue is paused, and how many jobs there are of each state."""
        return services.jobs.queue()

    @router.post("/queue/{what}")
    async def set_queue(what: Literal["pause", "resume"]) -> Queue:
        """Pause: what runs is finished, nothing new begins."""
        services.jobs.pause_queue(what == "pause")
        services.dispatcher.wake()
        return services.jobs.queue()

    @router.get("/events", response_class=StreamingResponse)
    async def events(
        caller: Caller,
        after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
        job: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        previews: bool = False,
    ) -> StreamingResponse:
        """What happens, as server-sent events, from the event after that number on (unset: from now)."""
        return StreamingResponse(_followed(services, caller, after, job, previews), media_type="text/event-stream")

    @router.get("/models")
    async def models() -> list[Model]:
        """The checkpoints that can be drawn with."""
        await services.recognise_models()
        return await services.threads.run(services.models)

    @router.post("/models/load", status_code=202)
    async def load_model(which: ModelName) -> None:
        """Read a checkpoint into memory, if somebody has nothing to draw; events of no job tell how it goes."""
        await services.load_model(which.name)

    @router.post("/models/unload", status_code=202)
    async def unload_models() -> None:
        """Free the memory that models take; those that are drawn with stay. The answer comes once it is free."""
        await services.dispatcher.unload()

    @router.post("/models/hash", status_code=202)
    async def hash_models(request: HashRequest) -> None:
        """Compute the hashes of a model file, or of all of a kind that have none; events tell how that goes."""
        await services.hash_models(request)

    @router.get("/models/hashing")
    async def hashing() -> Hashing:
        """How far computing hashes is."""
        return services.hasher.state

    @router.post("/models/hashing/{what}")
    async def set_hashing(what: Literal["pause", "resume", "stop"]) -> Hashing:
        """Pause: nothing more is read until it goes on. Stop: the rest is left."""
        getattr(services.hasher, what)()
        return services.hasher.state

    @router.get("/library")
    async def library() -> list[LibraryKind]:
        """The kinds of model files, where each is looked for, and how many there are."""
        return await services.threads.run(partial(model_files.kinds, services.checkpoints.library))

    @router.get("/library/{kind}", response_model=list[LibraryFile])
    async def library_files(kind: str) -> Response:
        """The model files of a kind."""
        files = await services.threads.run(partial(model_files.listed_json, services.checkpoints.library, kind))
        return Response(files, media_type="application/json")

    @router.get("/library/{kind}/preview", response_class=Response)
    async def library_preview(
        kind: str,
        name: Annotated[str, Query(min_length=1, max_length=4096)],
        size: Annotated[int, Query(ge=16, le=512)] = 256,
    ) -> Response:
        """The picture beside a model file, as a JPEG at most `size` pixels wide and high."""
        act = partial(model_files.preview, services.checkpoints.library, kind, name, size)
        return Response(await services.threads.run(act), media_type="image/jpeg")

    @router.post("/downloads/look")
    async def look_at_download(request: DownloadRequest) -> DownloadOffer:
        """What a model to add is: its size, licence and folder. Nothing of it is fetched."""
        return await services.downloads.look(request)

    @router.post("/downloads", status_code=201)
    async def add_model(request: DownloadRequest) -> Download:
        """Add a model; events tell how it goes."""
        return await services.downloads.begin(request)

    @router.get("/downloads")
    async def downloads() -> list[Download]:
        """The models that were added since the host started, and those on their way."""
        return services.downloads.all()

    @router.post("/downloads/{download}/cancel")
    async def cancel_download(download: Identifier) -> Download:
        """Stop one, and delete what is there of it."""
        return services.downloads.cancel(download)

    @router.post("/prompt")
    async def prompt(words: Words) -> PromptReading:
        """How a prompt is read: what in it does not do what it looks like, and its tokens."""
        return await services.threads.run(partial(services.read_prompt, words))

    @router.get("/styles")
    async def styles() -> list[Style]:
        """The styles that jobs can name."""
        return await services.threads.run(services.styles)

    @router.get("/networks")
    async def networks() -> Networks:
        """The networks and embeddings that prompts can name."""
        return await services.threads.run(services.networks)

    @router.get("/extensions")
    async def extensions() -> list[Extension]:
        """The plugins that are not ours, and how each stands."""
        return await services.extensions.listed()

    @router.get("/catalogue")
    async def catalogue() -> Catalogue:
        """What plugins offer."""
        return await services.catalogue()

    @router.get("/settings")
    async def settings(caller: Caller) -> list[SettingView]:
        """Every setting of the host, and where it comes from."""
        now = await services.threads.run(partial(settings_now, services))
        return views(services.settings, now, secrets=caller is None)

    @router.put("/settings/{key}")
    async def set_setting(
        key: Annotated[str, Path(max_length=100)], given: SettingValue, caller: Caller
    ) -> SettingView:
        """Change one for good; one that is locked stays. What the host itself goes by counts when it starts again."""
        key = key_of(key)
        if caller and is_owners(key):
            raise ForbiddenError(message("{key} is the host's own, and is not changed over the network.", key=key))
        async with services.changing_settings:
            now = await in_thread(partial(settings_now, services))
            now = await in_thread(partial(changed, now, key, given.value))
        return next(view for view in views(now, now, secrets=True) if view.key == key)

    @router.get("/pictures")
    async def pictures(
        q: Annotated[str, Query(max_length=1000)] = "",
        limit: Limit = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        job: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        order: Annotated[str, Query(max_length=60)] = NEWEST,
    ) -> PicturePage:
        """Saved pictures, the newest first; `q`: a filter, like `lake sampler:euler steps>=20 -seed:7`; `order`: what
        they are sorted by, like `seed`, or `-steps` for the most steps first."""
        return await services.pictures.page(q, limit, cursor, job, order)

    @router.post("/pictures/rescan", status_code=202)
    async def rescan() -> None:
        """Search the outputs folder for pictures that the gallery does not list; events of no job tell how it goes."""
        services.find_pictures()

    @router.get("/pictures/{picture}")
    async def picture(picture: Identifier) -> Picture:
        """What is known of a picture."""
        return await services.pictures.get(picture)

    @router.delete("/pictures/{picture}", status_code=204, dependencies=in_outputs)
    async def delete_picture(picture: Identifier) -> None:
        """Take a picture out of the gallery, and its file into the folder `.trash` beside it."""
        await services.trash.delete(picture)

    @router.post("/pictures/{picture}/restore")
    async def restore_picture(picture: Identifier) -> Picture:
        """Bring a deleted picture back, its file under another name if its own is taken."""
        await services.trash.restore(picture)
        return await services.pictures.get(picture)

    @router.get("/trash")
    async def trash() -> list[TrashedPicture]:
        """Deleted pictures that can be brought back, the one deleted last first."""
        return await services.trash.listed()

    @router.delete("/trash")
    async def empty_trash(days: Annotated[float, Query(ge=0, le=36500)] = 0) -> Emptied:
        """Delete for good what has been in the trash for so many days."""
        return Emptied(emptied=await services.empty_trash(days))

    @router.get("/pictures/{picture}/file", response_class=StreamingResponse, dependencies=in_outputs)
    async def picture_file(picture: Identifier) -> StreamingResponse:
        """The file as it was saved."""
        return _streamed(await services.pictures.file(picture))

    @router.get("/pictures/{picture}/thumbnail", response_class=Response, dependencies=in_outputs)
    async def picture_thumbnail(picture: Identifier, size: Annotated[int, Query(ge=16, le=512)] = 128) -> Response:
        """A small JPEG, at most `size` pixels wide and high."""
        return Response(await services.pictures.thumbnail(picture, size), media_type="image/jpeg")

    @router.post("/stop", status_code=202)
    async def stop_host() -> None:
        """End the host. What runs goes on from its tape when a host starts again."""
        stop()

    app.include_router(router)
    app.include_router(_inputs(services))
    app.add_exception_handler(SdtermError, _refused)
    app.add_exception_handler(Exception, _defect)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(sqlite3.Error, _unwritten)
    app.add_exception_handler(OSError, _unwritten)
    return _Bounded(app, services.touch)


def _inputs(services: HostServices) -> APIRouter:
    """The one place where a body is no JSON and may be large."""
    router = APIRouter(
        prefix="/v1/inputs",
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
        dependencies=[Depends(_only_known_parameters)],
    )
    picture = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}

    @router.put("/{sha256}", status_code=204, openapi_extra=picture)
    async def put_input(sha256: Digest, request: Request) -> None:
        """Keep a picture for jobs to start from. It is checked by its header; nothing is decoded."""
        with contextlib.suppress(ClientDisconnect):  # nobody is left to be told
            await services.inputs.receive(sha256, request.stream())

    @router.get("/{sha256}", response_class=StreamingResponse)
    async def get_input(sha256: Digest) -> StreamingResponse:
        """The file, as it was sent. Nothing refers to it? Then it stays for a day from now."""
        return _streamed(await services.pictures.read(await services.inputs.path(sha256)))

    @router.head("/{sha256}", response_class=Response)
    async def head_input(sha256: Digest) -> Response:
        """Whether it is there, and stays for a day from now at least."""
        await services.inputs.path(sha256)
        return Response()

    return router


def _followed(
    services: HostServices, caller: Guest | None, after: int | None, job: int | None, previews: bool
) -> AsyncGenerator[bytes, None]:
    if caller is None:
        return services.log.follow(after, job, previews)
    return caller.while_valid(services.log.follow(after, job, previews, keepalive=HEARTBEAT))


def _streamed(file: PictureFile) -> StreamingResponse:
    return StreamingResponse(file.chunks, headers={"content-length": str(file.size)}, media_type=file.media_type)


async def _only_known_parameters(request: Request) -> None:
    """Raises FieldError: a misspelt parameter must not look as if it had been obeyed."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            has = message("It has {names}.", names=", ".join(sorted(known))) if known else message("It has none.")
            raise FieldError(
                printable(name), message("There is no parameter '{name}' here. {has}", name=printable(name), has=has)
            )


async def _only_utf_8(request: Request) -> None:
    """Raises HTTPException: Python reads JSON in UTF-16, too, which is none that may be sent."""
    if not json.detect_encoding(await request.body()).startswith("utf-8"):
        raise HTTPException(400)


def _problem(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    return JSONResponse(legible(Problem(code=code, message=message, field=field).model_dump()), status)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SdtermError)
    if error.code not in STATUS:
        _log.exception("%s %s", request.method, request.url.path, exc_info=error)
    inside = error.field and isinstance(error, RequestError | UnknownNameError)
    return _problem(
        STATUS.get(error.code, 500), error.code, str(error), f"request.{error.field}" if inside else error.field
    )


def _defect(request: Request, error: Exception) -> JSONResponse:
    said = message(
        "The host failed with {name}, a defect of it: `sdterm host logs` shows where.", name=type(error).__name__
    )
    return _problem(500, "internal", said)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    words = {
        400: message(
            "The body is not JSON that can be read: it must be UTF-8, not nested too deeply, without numbers of "
            "thousands of digits."
        ),
        404: message("There is no such address."),
        405: message("That cannot be done at this address."),
    }
    code = {413: "too_large", 503: "busy"}.get(error.status_code, "bad_request")
    answer = _problem(error.status_code, code, words.get(error.status_code, f"{error.detail.rstrip('.')}."))
    answer.headers.update(error.headers or {})
    return answer


def _unwritten(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, sqlite3.Error | OSError)
    if not is_full(error):
        _log.exception("%s %s", request.method, request.url.path, exc_info=error)
        return _defect(request, error)
    return _problem(
        507, "disk_full", message("Nothing was changed: the host cannot write ({error}). Free some space.", error=error)
    )


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing wrong, with its place."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _problem(422, "bad_request", message("The body is not JSON: {error}.", error=first["ctx"]["error"]))
    if first["loc"] == ("body",) and first["type"] not in ("missing", "value_error"):
        return _problem(422, "bad_request", message("The body must be a JSON object, sent as application/json."))
    place = [str(part) for part in first["loc"][1:]]
    field = ".".join(place) or None
    if place[:1] == ["request"] and isinstance(error.body, Mapping) and isinstance(error.body.get("request"), Mapping):
        try:
            GenerationRequest.model_validate(_named(error.body["request"]))
        except ValidationError as better:
            return _problem(422, "bad_request", str(request_error(better)), field)
    if first["type"] == "value_error":
        said, field = str(first["ctx"]["error"]), getattr(first["ctx"]["error"], "field", None) or field
        return _problem(422, "bad_request", said if said.endswith(".") else f"{field} {said}.", field)
    return _problem(422, "bad_request", message("{field}: {msg}.", field=field or "The body", msg=first["msg"]), field)


def _named(fields: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in fields.items()}


class _Bounded:
    """Refuses bodies over the limit before they are read, and notes that somebody is there."""

    def __init__(self, app: ASGIApp, touch: Callable[[], None]) -> None:
        self._app, self._touch = app, touch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._touch()
        length = dict(scope["headers"]).get(b"content-length", b"0")
        most = MOST_INPUT_BYTES if scope["path"].startswith("/v1/inputs/") else MOST_BYTES
        if not length.isdigit() or int(length[:12]) > most:
            await _problem(413, "too_large", message("The body is too large: the limit is {most} bytes.", most=most))(
                scope, receive, send
            )
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, f"The body has more than {most} bytes")
            return message

        await self._app(scope, bounded, send)
