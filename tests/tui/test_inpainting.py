"""Inpaint a detail, draw its hires version, upscale that: by keys alone, in a real terminal (tmux) of 80x24."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.api import Picture
from tests.host.running import Running, running
from tests.tui.test_terminal import Tmux

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "data") as found:
        yield found


@pytest.fixture
def tmux(tmp_path: Path, host: Running) -> Iterator[Tmux]:
    found = Tmux(tmp_path, host, TERM="xterm-256color", COLORTERM="truecolor")
    yield found
    found.close()


def newest(host: Running) -> Picture:
    return host.client.pictures(limit=1).pictures[0]


def test_inpaint_hires_and_upscale(tmux: Tmux, host: Running) -> None:
    tmux.open()
    tmux.write("red house, lake, sunset")
    tmux.press("F5")
    tmux.until(r"#1 done in .*\.png")

    # a mask over the sky
    tmux.press("M-r")
    shown = tmux.until("i img2img  m Mask")
    assert "h Hires  u Upscale" in shown
    tmux.press("m")
    shown = tmux.until("0.0% covered")
    assert "Enter Use  b Brush  r Rect  e Oval  o Lasso  u Undo" in shown and "Mask of #1  128x128" in shown
    tmux.press("Home", "PPage")
    tmux.press("r")
    tmux.until("r ends it, Esc drops it")
    tmux.press("End")
    tmux.press("S-Down")
    tmux.press("r")
    covered = tmux.until(r"[1-9]\d?\.\d% covered")
    assert re.search(r"2\d\.\d% covered", covered)
    tmux.press("Enter")
    tmux.until("#1 has a mask: write what belongs there, F5 inpaints it")
    assert "With Init image, Mask" in tmux.screen()

    # what belongs there, and how strongly
    tmux.write(", snow")
    tmux.press("M-m")
    tmux.until(r"(?s)▾ Init image  #1.*Denoising strength")
    tmux.press("F5")
    tmux.until(r"#2 done in .*\.png")
    inpainted = newest(host)
    assert "snow" in inpainted.infotext and "Mask blur: 4" in inpainted.infotext
    tmux.press("M-r")
    tmux.until("┏━ Recent")
    tmux.press("a")
    tmux.until(rf"(?s)2/2  {inpainted.id}  128x128.*What differs")
    tmux.press("Space")
    tmux.until("source  128x128")
    tmux.press("Escape")
    tmux.press("Escape")
    tmux.until("┏━ Recent")

    # twice as large, with more detail
    tmux.press("h")
    tmux.until(r"#3 done in .*\.png")
    assert (newest(host).width, newest(host).height) == (256, 256)

    # and larger still
    tmux.press("u")
    tmux.until("Upscale #3")
    tmux.write("lanczos")
    tmux.press("Enter")
    tmux.until("How many times as large")
    tmux.press("Enter")
    tmux.until(r"#4 done in .*\.png")
    assert (newest(host).width, newest(host).height) == (512, 512)
    assert "Postprocess upscaler: Lanczos" in newest(host).infotext
