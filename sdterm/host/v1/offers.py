"""What a request can name: prompts, styles, networks, extensions and their catalogue, and settings."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path

from sdterm.api import (
    Extension,
    Networks,
    PromptReading,
    SettingValue,
    SettingView,
    Style,
    Words,
)
from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.settings.settings import is_owners
from sdterm.host.access.guests import Caller, ForbiddenError
from sdterm.host.sdapi.now import settings_now
from sdterm.host.services import HostServices
from sdterm.host.settings import changed, key_of, views
from sdterm.host.threads import in_thread
from sdterm.messages import message


def routes(services: HostServices) -> APIRouter:
    router = APIRouter()

    @router.post("/prompt")
    async def prompt(words: Words) -> PromptReading:
        """How a prompt is read: its tokens, and the parts that have another effect than they seem to."""
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
        """The installed extensions, and the state of each."""
        return await services.extensions.listed()

    @router.get("/catalogue")
    async def catalogue() -> Catalogue:
        """What plugins offer."""
        return await services.catalogue()

    @router.get("/settings")
    async def settings(caller: Caller) -> list[SettingView]:
        """Every setting of the host, and where its value comes from."""
        now = await services.threads.run(partial(settings_now, services))
        return views(services.settings, now, secrets=caller is None)

    @router.put("/settings/{key}")
    async def set_setting(
        key: Annotated[str, Path(max_length=100)], given: SettingValue, caller: Caller
    ) -> SettingView:
        """Change a setting permanently, unless it is locked. The host's own settings take effect when it restarts."""
        key = key_of(key)
        if caller and is_owners(key):
            raise ForbiddenError(message("{key} is the host's own, and is not changed over the network.", key=key))
        async with services.changing_settings:
            now = await in_thread(partial(settings_now, services))
            now = await in_thread(partial(changed, now, key, given.value))
        return next(view for view in views(now, now, secrets=True) if view.key == key)

    return router
