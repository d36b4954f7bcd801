"""How others reach the host, as the workstation shows it."""

import pytest
from textual.pilot import Pilot

from sdterm.api import Health, Queue
from sdterm.core.qr_code import qr_code
from sdterm.tui.app import Workstation
from sdterm.tui.screens.plain import Plain
from sdterm.tui.screens.share import shared_by
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, until

TOKEN = "sdterm_" + "a" * 43


def health(address: str | None, *notices: str, token: str | None = None, share: str | None = None) -> Health:
    return Health(
        version="1", pid=1, data="/data", started=0, settings={"share": share}, workers=(),
        queue=Queue(paused=False, counts={}), last_event=0, watching=0, notices=notices, address=address,
        share_token=token,
    )  # fmt: skip


def test_only_an_address_that_others_reach_is_shown() -> None:
    for address in (None, "http://127.0.0.1:7860", "http://[::1]:7860/sd", "http://localhost:7861", "http://["):
        told = shared_by(health(address))
        assert isinstance(told, str) and "`sdterm --share`" in told, address
    why = "The ssh tunnel cannot be opened: no route to host."
    told = shared_by(health("http://127.0.0.1:7860", why, share="me@server"))
    assert isinstance(told, str) and why in told
    for address in ("https://odd-words-here.trycloudflare.com", "http://192.0.2.7:7860", "https://" + "a" * 5000):
        assert isinstance(shared_by(health(address)), Plain)


@pytest.mark.few(1)
@pytest.mark.parametrize(("token", "said"), [(TOKEN, TOKEN), (None, "`sdterm token new NAME`")])
def test_address_credentials_and_code_have_room_in_80_by_24_and_escape_closes_them(
    host: Running, token: str | None, said: str
) -> None:
    address = "https://odd-words-here-again.trycloudflare.com"
    shown = shared_by(health(address, f"Shared at {address}", token=token))
    assert isinstance(shown, Plain)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.push_screen(shown)
        await until(pilot, lambda: app.screen is shown and said in screen_text(app))
        lines = [line.rstrip() for line in screen_text(app).splitlines()]
        assert f"Others reach sdterm at {address}" in lines and "Esc goes back" in lines[-1]
        code = [row.rstrip() for row in qr_code(address)]
        assert lines[: len(code)] == code
        await pilot.press("escape")
        assert app.screen is app.desk

    drive(host, act)


@pytest.mark.heavy
def test_the_palette_leads_to_it_and_says_where_nobody_else_reaches_the_host(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up")
        await pilot.press("ctrl+p", *"gradio link", "enter")
        await until(pilot, lambda: "No other machine reaches this host." in screen_text(app))

    drive(host, act)
