"""A1111's settings."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from sdterm.core.library.checkpoints import library_of
from sdterm.core.settings.settings import Settings
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.models import (
    UnknownCheckpointError,
    checkpoint_name,
    chosen_checkpoint,
    is_unknown_vae,
    title_of,
)
from sdterm.host.sdapi.now import settings_now
from sdterm.host.sdapi.options import all_options, check_drawn_with, set_option
from sdterm.host.sdapi.schema import documented
from sdterm.host.sdapi.values import OPTIONS, InvalidError
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread


def routes(services: HostServices) -> APIRouter:
    """Settings, read and set for good."""
    router = APIRouter(prefix="/sdapi/v1")

    @router.get("/options", **documented("Options"))
    async def get_config() -> dict[str, Any]:
        """Every setting of A1111."""
        return await in_thread(partial(_said, services, await in_thread(partial(settings_now, services))))

    @router.post("/options", **documented(asks="object"))
    async def set_config(request: Request) -> None:
        """Set some for good."""
        given = await body(request)
        if not isinstance(given, dict):
            raise InvalidError([{"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}])
        async with services.changing_settings:
            settings = await in_thread(partial(settings_now, services))
            names = (await services.extensions.now()).names
            said = await in_thread(partial(_said, services, settings))
            for name, value in given.items():
                if name in said and said[name] == value and type(said[name]) is type(value):
                    continue  # clients send all that they were told back, to change one
                if name == "sd_model_checkpoint":
                    value = await in_thread(partial(checkpoint_name, library_of(settings).find, value))
                    if value is None:
                        raise UnknownCheckpointError(f"Unknown checkpoint: {given[name]}")
                if name == "sd_vae" and await in_thread(partial(is_unknown_vae, library_of(settings), value)):
                    continue  # A1111 keeps the one it has, and says nothing
                if name in OPTIONS and name != "sd_model_checkpoint":
                    await in_thread(partial(check_drawn_with, name, value, names))
                settings = await in_thread(partial(set_option, settings, name, value))

    return router


def _said(services: HostServices, settings: Settings) -> dict[str, Any]:
    return all_options(settings, title_of(chosen_checkpoint(services, settings)))
