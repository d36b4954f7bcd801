"""A screen that nobody sees: Xvfb's, which keeps its pixels in a file."""

import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

WIDTH, HEIGHT = 1280, 800
_WITHIN = 30.0  # seconds

_SWAY = """
output * bg #000000 solid_color
default_border none
seat * hide_cursor 100
for_window [app_id=".*"] floating enable
"""


class Screen:
    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / "Xvfb_screen0"
        # What a terminal is told of the machine; all else it must find out or say itself.
        kept = ("PATH", "HOME", "TMPDIR")
        self.environ = {key: os.environ[key] for key in kept if key in os.environ}
        self.environ |= {
            "DISPLAY": name,
            "LANG": "C.UTF-8",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }

    def picture(self) -> Image.Image:
        """What is on it now. The file is an X window dump of 32 bits a pixel."""
        content = self._file.read_bytes()
        header = struct.unpack(">25I", content[:100])
        width, height, line, start = header[4], header[5], header[12], header[0] + 12 * header[19]
        pixels = np.frombuffer(content, np.uint8, line * height, start).reshape(height, line // 4, 4)
        return Image.fromarray(pixels[:, :width, 2::-1].copy())


@contextmanager
def screen(folder: Path) -> Iterator[Screen]:
    """An X server of its own, and what it needs in that folder."""
    folder.mkdir(mode=0o700, parents=True)
    reading, writing = os.pipe()
    size = f"{WIDTH}x{HEIGHT}x24"
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-fbdir", str(folder), "-nolisten", "tcp"]
    with (folder / "Xvfb.log").open("w") as log:
        server = subprocess.Popen(command, pass_fds=[writing], stdout=log, stderr=log)
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            number = said.readline().strip() if select.select([said], [], [], _WITHIN)[0] else ""
        assert number, (folder / "Xvfb.log").read_text()
        yield Screen(folder, f":{number}")
    finally:
        server.terminate()
        server.wait()


@contextmanager
def window(command: Sequence[str], environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program with a window; it and all that it has started is gone afterwards."""
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environ, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.terminate()
        for each in psutil.wait_procs(family, timeout=5)[1]:
            each.kill()
        process.wait()


@contextmanager
def compositor(screen: Screen) -> Iterator[dict[str, str]]:
    """Sway in the X server: the environment of what is to have windows there."""
    folder = Path(screen.environ["XDG_RUNTIME_DIR"])
    config = folder / "sway.conf"
    config.write_text(_SWAY)
    command = ["sway", "-c", str(config)]
    if os.geteuid() == 0:  # sway turns root away, so it gets a namespace in which root has another name
        command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]
    environ = screen.environ | {"WLR_BACKENDS": "x11", "WLR_RENDERER": "pixman"}
    with window(command, environ, folder / "sway.log") as sway:
        end = time.monotonic() + _WITHIN
        while not (sockets := [*folder.glob("wayland-?")]):
            assert sway.poll() is None and time.monotonic() < end, (folder / "sway.log").read_text()
            time.sleep(0.1)
        yield screen.environ | {"WAYLAND_DISPLAY": sockets[0].name}
