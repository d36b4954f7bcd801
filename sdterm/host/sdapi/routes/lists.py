"""What there is: models, samplers, upscalers and their kin."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import APIRouter

from sdterm.core.library.checkpoints import Library, library_of
from sdterm.hooks import Sampler
from sdterm.host.sdapi import extras
from sdterm.host.sdapi.listings import ALWAYS, LISTINGS, listed_sampler
from sdterm.host.sdapi.models import listed_model
from sdterm.host.sdapi.now import settings_now
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread


def routes(services: HostServices) -> APIRouter:
    """Lists. Every one is read from the disk when it is asked for."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.get("/upscalers")
    async def upscalers() -> list[dict[str, Any]]:
        """What makes pictures larger."""
        settings = await in_thread(partial(settings_now, services))
        names = (await services.extensions.now()).names
        return await services.threads.run(lambda: extras.upscalers(names, library_of(settings)))

    @router.get("/face-restorers")
    async def face_restorers() -> list[dict[str, Any]]:
        """What restores faces."""
        names = (await services.extensions.now()).names
        return [{"name": each.label, "cmd_dir": None} for each in extras.face_restorers(names)]

    @router.get("/sd-models")
    async def sd_models() -> list[dict[str, Any]]:
        """The checkpoints."""
        settings = await in_thread(partial(settings_now, services))
        return await in_thread(lambda: [listed_model(each, settings) for each in library_of(settings).checkpoints()])

    @router.get("/samplers")
    async def samplers() -> list[dict[str, Any]]:
        """The samplers."""
        return [listed_sampler(each) for each in (await services.extensions.now()).names.all(Sampler)]

    for path, listing in LISTINGS.items():
        router.add_api_route(path, _from_library(services, listing), methods=["GET"])
    for path, listed in ALWAYS.items():
        router.add_api_route(path, partial(_always, listed), methods=["GET"])
    for name in ("checkpoints", "vae", "loras", "embeddings"):
        router.add_api_route(f"/refresh-{name}", _refreshed, methods=["POST"])
    return router


def _from_library(services: HostServices, listing: Callable[[Library], Any]) -> Callable[[], Awaitable[Any]]:
    async def answer() -> Any:
        settings = await in_thread(partial(settings_now, services))
        return await services.threads.run(lambda: listing(library_of(settings)))

    answer.__doc__ = listing.__doc__
    return answer


async def _always(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is the same on every machine."""
    return listed


async def _refreshed() -> None:
    """Every list is read from the disk when it is asked for."""
