"""A real Chromium without a window, driven by its own protocol."""

import asyncio
import base64
import contextlib
import itertools
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")

KEYS = {"F5": 116, "F2": 113, "F3": 114, "F10": 121, "Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37}


_CODES = re.compile(r"\x1b\[[0-9;:?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]")


class Page:
    """One tab."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.opened: list[str] = []
        """Addresses of other tabs that it opened."""
        self.drawn = ""
        """What its terminal was given to draw, without the codes."""
        self._name = self._password = ""
        self._telling: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            given = message.json()
            match given.get("method"):
                case "Page.windowOpen":
                    self.opened.append(given["params"]["url"])
                case "Network.webSocketFrameReceived":
                    frame = given["params"]["response"]
                    if frame["opcode"] == 2:
                        drawn = base64.b64decode(frame["payloadData"]).decode("utf-8", "replace")
                        self.drawn += _CODES.sub("", drawn)
                case "Fetch.requestPaused":
                    self._tell("Fetch.continueRequest", requestId=given["params"]["requestId"])
                case "Fetch.authRequired":
                    login = {"response": "ProvideCredentials", "username": self._name, "password": self._password}
                    wanted = given["params"]["requestId"]
                    self._tell("Fetch.continueWithAuth", requestId=wanted, authChallengeResponse=login)
            if waiting := self._answers.pop(given.get("id", 0), None):
                waiting.set_result(given)

    def _tell(self, method: str, **parameters: Any) -> None:
        """Without waiting for an answer."""
        said = {"id": next(self._numbers), "method": method, "params": parameters}
        task = asyncio.create_task(self._socket.send_json(said))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._answers[number], 60)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str, login: str = "") -> None:
        """login: `NAME:PASSWORD`, as the user types it when the browser asks."""
        if login:
            self._name, _, self._password = login.partition(":")
            await self.do("Fetch.enable", handleAuthRequests=True)
        await self.do("Page.navigate", url=url)
        if login:
            await self.until("document.readyState == 'complete'")
            await self.do("Fetch.disable")

    async def value(self, script: str) -> Any:
        found = await self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    async def until(self, script: str, limit: float = 60.0) -> Any:
        """Look again and again until a script says something that counts."""
        end = asyncio.get_running_loop().time() + limit
        while not (found := await self.value(script)):
            assert asyncio.get_running_loop().time() < end, f"not so after {limit:.0f} s: {script}"
            await asyncio.sleep(0.1)
        return found

    async def until_drawn(self, text: str, limit: float = 60.0) -> None:
        """Wait until its terminal was given a text since the last such wait."""
        end = asyncio.get_running_loop().time() + limit
        while text not in self.drawn:
            assert asyncio.get_running_loop().time() < end, f"not there after {limit:.0f} s: {text}\n{self.drawn}"
            await asyncio.sleep(0.05)
        self.drawn = ""

    async def type(self, text: str) -> None:
        await self.do("Input.insertText", text=text)

    async def press(self, key: str, modifiers: int = 0) -> None:
        """modifiers: 1 is Alt, 2 Ctrl."""
        code = KEYS.get(key) or ord(key.upper())
        text = {} if key in KEYS and key != "Enter" else {"text": "\r" if key == "Enter" else key}
        facts = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers, **(text if not modifiers else {})}
        await self.do("Input.dispatchKeyEvent", type="keyDown", **facts)
        await self.do("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in facts.items() if k != "text"})

    async def picture(self, path: Path) -> bytes:
        """What it looks like, as PNG."""
        await self.do("Page.bringToFront")
        data = base64.b64decode((await self.do("Page.captureScreenshot"))["data"])
        path.write_bytes(data)
        return data


@contextlib.asynccontextmanager
async def browser(folder: Path, width: int = 1100, height: int = 700) -> AsyncIterator[Page]:
    """Its one tab. folder: for its profile."""
    import aiohttp

    assert CHROMIUM
    process = subprocess.Popen(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"),
            *(f"--window-size={width},{height}", "about:blank"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = folder / "profile" / "DevToolsActivePort"
        end = asyncio.get_running_loop().time() + 60
        while not (told.is_file() and told.read_text().strip()):
            assert asyncio.get_running_loop().time() < end and process.poll() is None, "Chromium does not start"
            await asyncio.sleep(0.1)
        port = told.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                address = next(tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                for part in ("Page", "Network", "Runtime"):
                    await page.do(f"{part}.enable")
                yield page
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
