"""The workstation of one page: a process of its own that reaches this host as any client with a token does. What passes
between it and the page is textual-serve's protocol."""

import asyncio
import contextlib
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from sdterm.core.settings.settings import SETTINGS, Settings, is_owners
from sdterm.core.text import printable
from sdterm.host.access.policy import Visit
from sdterm.host.child import Child

_log = logging.getLogger(__name__)
_TOLD = 10  # lines of what it writes besides
TOKENS = "page-"
"""What the names of files begin with that have the token of a page's workstation."""
_LONGEST = 2**20  # bytes of a line, and half of what waits for the page
_MOST = 2**24  # bytes of a packet
_READY = b"__GANGLION__\n"
_BEFORE = 20  # lines that may come before it
_DATA, _META = b"D", b"M"
_BYE = 5.0  # seconds to save what was typed
_LOOK = 1.0  # seconds between two looks at a token
_SLOWEST = 30.0  # seconds in which a page takes what is sent to it
_PICTURE = re.compile(r"pictures/\d{1,12}")


async def run_workstation(page: WebSocket, url: str, visit: Visit, settings: Settings, folder: Path) -> None:
    """Show a workstation in a page until that is closed, the workstation left, or its visitor's token no longer valid.
    url: of the host's port. folder: the host's own."""
    token = folder / f"{TOKENS}{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(visit.secret)
        environ = _environment(settings, visit.guest.token.name, _side(page, "width", 80), _side(page, "height", 24))
        certificate = settings["tls_certfile"]
        child = await Child.start(_command(url, token, certificate), folder, _LONGEST, environ)
        talking = [
            asyncio.create_task(each) for each in (_to_page(child, page), _from_page(child, page), _let_in(visit))
        ]
        draining = asyncio.create_task(child.stderr.read())
        try:
            await asyncio.wait(talking, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in talking:
                task.cancel()
            for error in await asyncio.gather(*talking, return_exceptions=True):
                if isinstance(error, Exception):
                    _log.error("the workstation of a page: %r", error, exc_info=error)
            await _end(child)
            for line in (await draining).decode("utf-8", "replace").splitlines()[-_TOLD:]:
                _log.warning("the workstation of a page: %s", printable(line, 500))
    finally:
        token.unlink(missing_ok=True)


def _command(url: str, token: Path, certificate: str | None) -> Sequence[str]:
    trusted = ("--tls-ca", certificate) if certificate else ()
    return (sys.executable, "-P", "-m", "sdterm", "--connect", url, "--token-file", str(token), *trusted)


def _environment(settings: Settings, name: str, width: int, height: int) -> Mapping[str, str]:
    """Its looks are the owner's; what it writes lies apart from what others write. name: of its user's token."""
    given = {
        f"SDTERM_{setting.key.upper()}": _text(settings[setting.key])
        for setting in SETTINGS
        if (setting.scope == "front end" and not is_owners(setting.key)) or setting.key.startswith("freeze_")
        if settings.values[setting.key].source != "default"
    }
    return given | {
        "SDTERM_DATA": str(settings.root / "cache" / "pages" / name),
        "SDTERM_IN_PAGE": "true",
        "COMMANDLINE_ARGS": "",
        "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TERM_PROGRAM": "textual",
        "COLUMNS": str(width),
        "ROWS": str(height),
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _side(page: WebSocket, name: str, usual: int) -> int:
    text = page.query_params.get(name, "")
    return min(max(int(text), 10), 500) if text.isdecimal() and len(text) < 6 else usual


async def _to_page(child: Child, page: WebSocket) -> None:
    """What the workstation draws and wants, until it ends."""
    with contextlib.suppress(
        asyncio.IncompleteReadError, WebSocketDisconnect, ConnectionError, ValueError, TimeoutError
    ):
        for _ in range(_BEFORE):
            if await child.stdout.readline() == _READY:
                break
        while True:
            kind, size = await child.stdout.readexactly(1), int.from_bytes(await child.stdout.readexactly(4), "big")
            if size > _MOST:
                return
            payload = await child.stdout.readexactly(size)
            if kind == _DATA:
                async with asyncio.timeout(_SLOWEST):
                    await page.send_bytes(payload)
            elif kind == _META:
                wants = json.loads(payload)
                if wants.get("type") == "exit":
                    return
                if wants.get("type") == "open_url" and _PICTURE.fullmatch(url := str(wants["url"])):
                    await page.send_text(json.dumps(["open_url", {"url": url, "new_tab": True}]))


async def _let_in(visit: Visit) -> None:
    """Wait until the visitor may no longer be here."""
    while visit.guest.tokens.is_valid(visit.guest.token):
        await asyncio.sleep(_LOOK)


async def _from_page(child: Child, page: WebSocket) -> None:
    """What is typed into the page, until that is gone."""
    with contextlib.suppress(WebSocketDisconnect, ConnectionError, ValueError, TypeError, KeyError):
        while True:
            match json.loads(await page.receive_text()):
                case ["stdin", str(text)]:
                    await _send(child, _DATA, text.encode("utf-8", "replace"))
                case ["resize", {"width": int(width), "height": int(height)}]:
                    await _tell(child, type="resize", width=min(max(width, 10), 500), height=min(max(height, 5), 300))
                case ["ping", beat]:
                    await page.send_text(json.dumps(["pong", beat]))
                case ["blur" | "focus" as what, *_]:
                    await _tell(child, type=what)


async def _tell(child: Child, **wish: Any) -> None:
    await _send(child, _META, json.dumps(wish).encode())


async def _send(child: Child, kind: bytes, payload: bytes) -> None:
    child.stdin.write(kind + len(payload).to_bytes(4, "big") + payload)
    await child.stdin.drain()


async def _end(child: Child) -> None:
    try:
        with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
            await asyncio.wait_for(_tell(child, type="quit"), _BYE)
            await asyncio.wait_for(child.wait(), _BYE)
    finally:
        await child.end()
