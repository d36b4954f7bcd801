"""The pages in a real Chromium: one, and one host, for the file."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.core.settings.tokens import new_token, revoke_token
from tests.host.pages.browser import Page, browser, needs_chromium
from tests.host.running import Running, running, wait_until

pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
pytestmark = [needs_chromium, pytest.mark.heavy]

ALT = 1
GUEST = "guest"  # whose token the browser has
HOSTILE = "<img src=x onerror=\"document.title='caught'\"> a lake\nSteps: 3, Sampler: Euler a, Seed: 1, Size: 8x8"


class Shown:
    """A host, and a browser with one tab."""

    def __init__(self, host: Running, page: Page, token: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.host, self.page, self.do = host, page, run
        self.url = str(host.client.health().address)
        self.login = f"anybody:{token}"

    async def workstation(self) -> Page:
        """It, in the page."""
        self.page.drawn = ""
        await self.page.open(f"{self.url}/", self.login)
        await self.page.until("document.body.classList.contains('-first-byte')", 120)
        await self.page.until_drawn("sdterm-demo", 120)
        return self.page


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    given = {"SDTERM_SERVE": "true", "SDTERM_CREDENTIALS_ALWAYS": "true", "SDTERM_FREEZE_SPECIFIC_SETTINGS": "theme"}
    data = tmp_path_factory.mktemp("data")
    make_private(run_folder_of(data))
    token = new_token(run_folder_of(data).tokens, GUEST, "generate", time.time())
    with running(data, **given) as host, asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        try:
            page = runner.run(stack.enter_async_context(browser(tmp_path_factory.mktemp("chromium"))))
            yield Shown(host, page, token, runner.run)
        finally:
            runner.run(stack.aclose())


def test_what_is_typed_into_the_page_is_drawn_and_opens_at_full_size(shown: Shown) -> None:
    async def act() -> None:
        page, client = await shown.workstation(), shown.host.client
        await page.type("sunset, lake")
        await page.until_drawn("sunset, lake")
        await page.press("F5")
        await asyncio.to_thread(wait_until, lambda: client.pictures(limit=1).pictures, 120.0)
        (picture,) = client.pictures(limit=1).pictures
        assert picture.infotext.startswith("sunset, lake")
        await page.until_drawn(f"seed {picture.seed}")
        await page.press("F3")
        await page.until_drawn("New tab")
        await page.press("n")
        while not page.opened:
            await asyncio.sleep(0.05)
        assert page.opened == [f"{shown.url}/pictures/{picture.id}"]
        kind = await page.value(f"fetch('{page.opened[0]}').then(answer => answer.headers.get('content-type'))")
        assert kind == "image/png"
        await page.do("Page.bringToFront")  # a tab behind another draws nothing

    shown.do(act())


def test_nothing_of_the_hosts_machine_is_to_be_had_in_the_page(shown: Shown, tmp_path: Path) -> None:
    said = PngInfo()
    said.add_text("parameters", HOSTILE)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png", pnginfo=said)

    async def act() -> None:
        page = await shown.workstation()
        await page.press("e", ALT)
        await page.press("z", ALT)
        await page.press("i", ALT)
        await page.until_drawn("An infotext")
        await page.type(str(tmp_path / "secret.png"))
        await page.press("Enter")
        await page.until_drawn("no files can be read")
        await page.press("x", ALT)
        await page.until_drawn("Extensions  ")
        await page.press("i")
        await page.press("F10")
        await page.until_drawn("Settings  ")
        assert "outdir" not in page.drawn and "Install" not in page.drawn
        for words, answer in (("models_dir", "No setting matches"), ("theme", "theme is locked")):
            await page.press("/")
            await page.type(words)
            await page.press("Enter")
            await page.until_drawn(answer)
            await page.press("F2")
            await page.until_drawn("Negative prompt")
            await page.press("F10")
            await page.until_drawn("Settings  ")

    shown.do(act())


def test_the_gallery_lists_pages_filters_and_shows_pictures_with_their_infotext(shown: Shown) -> None:
    outputs = shown.host.settings.root / "outputs"
    for number in range(61):
        said = PngInfo()
        said.add_text(
            "parameters", HOSTILE if number == 60 else f"picture {number}\nSteps: 3, Seed: {number}, Size: 8x8"
        )
        Image.new("RGB", (8, 8), (number, 0, 0)).save(outputs / f"found{number:02}.png", pnginfo=said)
    shown.host.client.rescan_pictures()
    wait_until(lambda: (shown.host.client.pictures(limit=1).total or 0) > 60)

    async def act() -> None:
        page = shown.page
        await page.open(f"{shown.url}/gallery/", shown.login)
        await page.until("document.querySelectorAll('li img').length === 60")
        await page.value("document.querySelector('.more').click()")
        await page.until("document.querySelectorAll('li').length > 60 && document.querySelector('.more').hidden")
        await page.press("/")
        await page.type("onerror")
        await page.until("document.querySelectorAll('li').length === 1")
        await page.until("document.querySelector('li img').naturalWidth > 0")
        await page.value("document.activeElement.blur()")
        await page.press("ArrowRight")
        await page.press("Enter")
        await page.until(
            "document.querySelector('dialog').open && document.querySelector('dialog img').naturalWidth === 8"
        )
        assert await page.value("document.querySelector('pre').textContent") == HOSTILE
        assert await page.value("document.title") == "sdterm: Gallery", "no text is taken for HTML"
        address = await page.value("document.querySelector('dialog a').href")
        assert address.startswith(f"{shown.url}/pictures/")
        await page.press("Escape")
        await page.until("!document.querySelector('dialog').open")

    shown.do(act())


def test_a_revoked_token_closes_the_page(shown: Shown) -> None:
    async def act() -> None:
        page = await shown.workstation()
        revoke_token(run_folder_of(shown.host.settings.root).tokens, GUEST)
        await page.until("document.body.classList.contains('-closed')", 30)

    shown.do(act())
