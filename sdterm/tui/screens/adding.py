"""Adding a model: where from, what it is, and whether; then a line that tells how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.core.settings.model_kinds import KINDS_BY_ID, MODEL_KINDS
from sdterm.core.text import file_size, printable
from sdterm.tui import calls
from sdterm.tui.language import said, tr
from sdterm.tui.screens.pick import Ask, Pick, Type

if TYPE_CHECKING:
    from sdterm.api import DownloadOffer, DownloadRequest
    from sdterm.events import DownloadChanged
    from sdterm.tui.screens.base import BaseScreen

_BAR = 16  # cells


async def add_model(screen: BaseScreen) -> None:
    """Ask what to add, show what it is, and have the host fetch it if that is agreed to."""
    hint = tr("A path, a URL, hf:OWNER/NAME or civitai:NUMBER")
    typed = await screen.app.push_screen_wait(Type(tr("Add a model"), hint=hint))
    if not (source := (typed or "").strip()):
        return
    looking = tr("Looking at {source} …", source=printable(source.partition("?")[0], 80))
    screen.say(looking, standing=True)
    if not (request := _request(source)):
        screen.say(tr("That is neither a path nor a URL."))
        return
    offer = await screen.ask(calls.look_at_download(request))
    screen.unsay(looking)
    if not offer:
        return
    if not offer.kind:
        kinds = [tr("as the file says"), *(tr(kind.label) for kind in MODEL_KINDS)]
        chosen = await screen.app.push_screen_wait(Pick(tr("What is it?"), kinds, chosen=0))
        if chosen is None:
            return
        request = request.model_copy(update={"kind": MODEL_KINDS[chosen - 1].id if chosen else None})
    key = await screen.app.push_screen_wait(Ask(printable(offer.name, 60), _told(offer), [("y", tr("add it"))]))
    if key == "y":
        await screen.ask(calls.add_model(request.model_copy(update={"size": offer.size})))


async def stop_adding(screen: BaseScreen) -> None:
    """Stop what is on its way, after a question for each."""
    for download in await screen.ask(calls.downloads()) or ():
        if download.state in ("waiting", "running"):
            question = Ask(printable(download.name, 60), [], [("y", tr("stop it, delete what is there of it"))])
            if await screen.app.push_screen_wait(question) == "y":
                await screen.ask(calls.cancel_download(download.id))


def told(event: DownloadChanged) -> str:
    """The line about a model on its way."""
    name = printable(event.name, 60)
    match event.state:
        case "done":
            return tr("{name} is there.", name=name)
        case "failed":
            return f"! {printable(said(event.message), 500)}"
        case "cancelled":
            return tr("{name} is not added.", name=name)
    parts = [tr("Adding {name}", name=name)]
    if event.size:
        share = min(event.received / event.size, 1.0)
        full = round(share * _BAR)
        parts.append(f"{'━' * full}{'─' * (_BAR - full)} {share:.0%}")
        parts.append(file_size(event.size))
    else:
        parts.append(file_size(event.received))
    if event.speed:
        parts.append(f"{file_size(round(event.speed))}/s")
        if event.size:
            parts.append(tr("{time} left", time=_time(max(event.size - event.received, 0) / event.speed)))
    return "  ".join(parts)


def _request(source: str) -> DownloadRequest | None:
    import os
    import re

    from pydantic import ValidationError

    from sdterm.api import DownloadRequest

    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source):
        source = os.path.abspath(os.path.expanduser(source))
    try:
        return DownloadRequest(source=source)
    except ValidationError:
        return None


def _told(offer: DownloadOffer) -> list[str]:
    kind = tr(KINDS_BY_ID[offer.kind].word) if offer.kind else "?"
    size = file_size(offer.size) if offer.size else "?"
    return [
        f"{kind}, {size}",
        *([tr("Into {folder}", folder=printable(offer.folder, 300))] if offer.folder else []),
        tr("Licence: {licence}", licence=printable(offer.licence, 200) or tr("not known")),
        tr("The disk has {size} left.", size=file_size(offer.free)),
    ]


def _time(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )
