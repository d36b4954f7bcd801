"""A model is added from the Models screen, in a few keys."""

import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from textual.pilot import Pilot

from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.tui.app import Workstation
from sdterm.tui.screens.pick import Ask, Type
from tests.core.library.serving import File, serving
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, until, write

WEIGHT = np.random.default_rng(1).random((40000, 32), np.float32)
LORA = save({"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": WEIGHT})


@pytest.mark.heavy
def test_a_checkpoint_of_this_machine_is_shown_asked_about_and_added(host: Running, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(EMBEDDED_MODEL.read_bytes())

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+l", "a")
        await until(pilot, lambda: isinstance(app.screen, Type))
        await write(pilot, str(tmp_path / "mine.safetensors"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await until(pilot, lambda: "Licence: not known" in screen_text(app), "what it is")  # long paths are wrapped
        await pilot.press("y")
        await until(pilot, lambda: "mine.safetensors is there." in screen_text(app))
        await until(pilot, lambda: screen_text(app).count("mine") > 1)  # it is in the list, too

    drive(host, act)
    assert (host.settings.root / CHECKPOINTS / "mine.safetensors").is_file()


@pytest.mark.heavy
def test_how_far_it_is_can_be_seen_and_it_can_be_stopped(host: Running) -> None:
    go_on = threading.Event()
    file = File(LORA, held=go_on)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+l", "a")
        await until(pilot, lambda: isinstance(app.screen, Type))
        await write(pilot, f"{url}/style.safetensors")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("y")
        await until(pilot, lambda: "Adding style.safetensors" in screen_text(app))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("y")
        go_on.set()
        await until(pilot, lambda: "style.safetensors is not added." in screen_text(app))

    with serving({"/style.safetensors": file}) as url:
        try:
            drive(host, act)
        finally:
            go_on.set()


@pytest.mark.heavy
def test_what_is_no_model_is_said(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+l", "a")
        await until(pilot, lambda: isinstance(app.screen, Type))
        await write(pilot, f"{url}/page")
        await pilot.press("enter")
        await until(pilot, lambda: "is a web page, not a model" in screen_text(app))

    with serving({"/page": File(b"<html></html>", headers={"Content-Type": "text/html"})}) as url:
        drive(host, act)
