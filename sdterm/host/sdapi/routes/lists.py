"""What there is: models, samplers, upscalers and their kin."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.core.extensions.install.records import read_records
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.library.checkpoints import Library, library_of
from sdterm.core.prompt.styles import styles_of
from sdterm.core.settings.settings import Settings
from sdterm.host.sdapi import extras, listings, scripts
from sdterm.host.sdapi.models import listed_model
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.schema import documented
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread

T = TypeVar("T")


def routes(services: HostServices) -> APIRouter:
    """Lists. Every one is read from the disk when it is asked for."""
    router = APIRouter(prefix="/sdapi/v1")

    async def by_plugins(listed: Callable[[PluginSet], T]) -> T:
        return listed((await services.extensions.now()).names)

    @router.get("/upscalers", **documented("array UpscalerItem"))
    async def get_upscalers() -> list[dict[str, Any]]:
        """What makes pictures larger."""
        settings = await in_thread(partial(settings_now, services))
        names = (await services.extensions.now()).names
        return await services.threads.run(lambda: extras.upscalers(names, library_of(settings)))

    @router.get("/face-restorers", **documented("array FaceRestorerItem"))
    async def get_face_restorers() -> list[dict[str, Any]]:
        """What restores faces."""
        restorers = await by_plugins(extras.face_restorers)
        return [{"name": each.label, "cmd_dir": None} for each in restorers]

    @router.get("/sd-models", **documented("array SDModelItem"))
    async def get_sd_models() -> list[dict[str, Any]]:
        """The checkpoints."""
        settings = await in_thread(partial(settings_now, services))
        return await in_thread(lambda: _models(settings))

    @router.get("/samplers", **documented("array SamplerItem"))
    async def get_samplers() -> list[dict[str, Any]]:
        """The samplers."""
        return await by_plugins(listings.samplers)

    @router.get("/schedulers", **documented("array SchedulerItem"))
    async def get_schedulers() -> list[dict[str, Any]]:
        """The noise schedules."""
        return await by_plugins(listings.schedulers)

    @router.get("/scripts", **documented("ScriptsList"))
    async def get_scripts_list() -> dict[str, list[str]]:
        """The names that `alwayson_scripts` may have."""
        return await by_plugins(scripts.names)

    @router.get("/script-info", **documented("array ScriptInfo"))
    async def get_script_info() -> list[dict[str, Any]]:
        """The same with their arguments."""
        settings = await in_thread(partial(settings_now, services))
        names = (await services.extensions.now()).names
        checkpoints = await in_thread(lambda: [model["title"] for model in _models(settings)])
        return scripts.infos(names, checkpoints)

    @router.get("/prompt-styles", **documented("array PromptStyleItem"))
    async def get_prompt_styles() -> list[dict[str, Any]]:
        """The styles."""
        settings = await in_thread(partial(settings_now, services))
        return listings.styles(await services.threads.run(partial(styles_of, settings)))

    @router.get("/extensions", **documented("array ExtensionItem"))
    async def get_extensions_list() -> list[dict[str, Any]]:
        """The extensions."""
        records = await services.threads.run(partial(read_records, services.settings.root))
        return listings.extensions(await services.extensions.listed(), records)

    for path, (name, answer, listing) in listings.OF_FILES.items():
        answering = _from_library(services, listing)
        router.add_api_route(path, answering, methods=["GET"], name=name, **documented(answer))

    @router.get("/latent-upscale-modes", **documented("array LatentUpscalerModeItem"))
    async def get_latent_upscale_modes() -> list[dict[str, Any]]:
        """How hires fix can enlarge latents."""
        return [{"name": mode} for mode in LATENT_UPSCALERS]

    for name in ("checkpoints", "vae", "loras", "embeddings"):
        answering = partial(_refreshed)
        router.add_api_route(f"/refresh-{name}", answering, methods=["POST"], name=f"refresh_{name}", **documented())
    return router


def _from_library(services: HostServices, listing: Callable[[Library], Any]) -> Callable[[], Awaitable[Any]]:
    async def answer() -> Any:
        settings = await in_thread(partial(settings_now, services))
        return await services.threads.run(lambda: listing(library_of(settings)))

    answer.__doc__ = listing.__doc__
    return answer


def _models(settings: Settings) -> list[dict[str, Any]]:
    return [listed_model(each, settings) for each in library_of(settings).checkpoints()]


async def _refreshed() -> None:
    """Every list is read from the disk when it is asked for."""
