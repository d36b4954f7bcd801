"""Model files: checkpoints in memory, the library of every kind, hashes and downloads."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from sdterm.api import (
    Download,
    DownloadOffer,
    DownloadRequest,
    Hashing,
    HashRequest,
    Identifier,
    LibraryFile,
    LibraryKind,
    Model,
    ModelName,
)
from sdterm.host import model_files
from sdterm.host.services import HostServices


def routes(services: HostServices) -> APIRouter:
    router = APIRouter()

    @router.get("/models")
    async def models() -> list[Model]:
        """The checkpoints that can generate."""
        await services.recognise_models()
        return await services.threads.run(services.models)

    @router.post("/models/load", status_code=202)
    async def load_model(which: ModelName) -> None:
        """Load a checkpoint into memory, if a device is idle; events without a job tell its progress."""
        await services.load_model(which.name)

    @router.post("/models/unload", status_code=202)
    async def unload_models() -> None:
        """Free the memory that models take; those in use stay. The answer comes once it is free."""
        await services.dispatcher.unload()

    @router.post("/models/hash", status_code=202)
    async def hash_models(request: HashRequest) -> None:
        """Compute the hash of a model file, or of all files of a kind that have none; events tell the progress."""
        await services.hash_models(request)

    @router.get("/models/hashing")
    async def hashing() -> Hashing:
        """The progress of computing hashes."""
        return services.hasher.state

    @router.post("/models/hashing/{what}")
    async def set_hashing(what: Literal["pause", "resume", "stop"]) -> Hashing:
        """Pause: no more files are read until `resume`. Stop: the rest is skipped."""
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
        """The image beside a model file, as a JPEG at most `size` pixels wide and high."""
        act = partial(model_files.preview, services.checkpoints.library, kind, name, size)
        return Response(await services.threads.run(act), media_type="image/jpeg")

    @router.post("/downloads/look")
    async def look_at_download(request: DownloadRequest) -> DownloadOffer:
        """What a model to add is: its size, licence and folder. Nothing is downloaded."""
        return await services.downloads.look(request)

    @router.post("/downloads", status_code=201)
    async def add_model(request: DownloadRequest) -> Download:
        """Add a model; events tell the progress."""
        return await services.downloads.begin(request)

    @router.get("/downloads")
    async def downloads() -> list[Download]:
        """The models that were added since the host started, and those on their way."""
        return services.downloads.all()

    @router.post("/downloads/{download}/cancel")
    async def cancel_download(download: Identifier) -> Download:
        """Stop a download, and delete its incomplete file."""
        return services.downloads.cancel(download)

    return router
