"""The gallery: images, their files and thumbnails, and the trash."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from sdterm.api import (
    Emptied,
    Identifier,
    Picture,
    PicturePage,
    TrashedPicture,
)
from sdterm.host.access.guests import Caller
from sdterm.host.access.outputs import check_picture
from sdterm.host.gallery_order import NEWEST
from sdterm.host.services import HostServices
from sdterm.host.v1.routing import Limit, streamed


def routes(services: HostServices) -> APIRouter:
    router = APIRouter()

    async def reachable(picture: Identifier, caller: Caller) -> None:
        if caller:
            path = (await services.pictures.get(picture)).path
            await services.threads.run(partial(check_picture, path, services.saving()))

    in_outputs = [Depends(reachable)]

    @router.get("/pictures")
    async def pictures(
        q: Annotated[str, Query(max_length=1000)] = "",
        limit: Limit = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        job: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        order: Annotated[str, Query(max_length=60)] = NEWEST,
    ) -> PicturePage:
        """Saved images, the newest first; `q`: a filter, like `lake sampler:euler steps>=20 -seed:7`; `order`: what
        they are sorted by, like `seed`, or `-steps` for the most steps first."""
        return await services.pictures.page(q, limit, cursor, job, order)

    @router.post("/pictures/rescan", status_code=202)
    async def rescan() -> None:
        """Search the outputs folder for images that the gallery lacks; events without a job tell the progress."""
        services.find_pictures()

    @router.get("/pictures/{picture}")
    async def picture(picture: Identifier) -> Picture:
        """What is known of an image."""
        return await services.pictures.get(picture)

    @router.delete("/pictures/{picture}", status_code=204, dependencies=in_outputs)
    async def delete_picture(picture: Identifier) -> None:
        """Remove an image from the gallery, and move its file into the folder `.trash` beside it."""
        await services.trash.delete(picture)

    @router.post("/pictures/{picture}/restore")
    async def restore_picture(picture: Identifier) -> Picture:
        """Restore a deleted image, its file under another name if its own is taken."""
        await services.trash.restore(picture)
        return await services.pictures.get(picture)

    @router.get("/trash")
    async def trash() -> list[TrashedPicture]:
        """Deleted images that can be restored, the one deleted last first."""
        return await services.trash.listed()

    @router.delete("/trash")
    async def empty_trash(days: Annotated[float, Query(ge=0, le=36500)] = 0) -> Emptied:
        """Permanently delete what has been in the trash for so many days."""
        return Emptied(emptied=await services.empty_trash(days))

    @router.get("/pictures/{picture}/file", response_class=StreamingResponse, dependencies=in_outputs)
    async def picture_file(picture: Identifier) -> StreamingResponse:
        """The file as it was saved."""
        return streamed(await services.pictures.file(picture))

    @router.get("/pictures/{picture}/thumbnail", response_class=Response, dependencies=in_outputs)
    async def picture_thumbnail(picture: Identifier, size: Annotated[int, Query(ge=16, le=512)] = 128) -> Response:
        """A small JPEG, at most `size` pixels wide and high."""
        return Response(await services.pictures.thumbnail(picture, size), media_type="image/jpeg")

    return router
