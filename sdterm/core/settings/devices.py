"""Which devices a host draws on: one process each."""

import re
from collections.abc import Mapping

from sdterm.errors import BAD_REQUEST, SdtermError

MOST = 64


class DeviceNameError(SdtermError, ValueError):
    """A device's name cannot be read."""

    code = BAD_REQUEST


def devices_of(setting: str | None, environ: Mapping[str, str]) -> tuple[str | None, ...]:
    """The setting's devices, `cuda:0,cuda:1`; unset, whatever torch finds best (None) and every further card that the
    driver knows and CUDA_VISIBLE_DEVICES shows. torch may see fewer: those are left out once that is found. Raises
    DeviceNameError."""
    if setting:
        names = [name.strip() for name in setting.split(",")]
        if len(names) > MOST or not all(re.fullmatch(r"[a-z]+(:[0-9]{1,3})?", name) for name in names):
            raise DeviceNameError(f"device is {setting[:60]!r}, but it must be cpu, cuda, cuda:1 … or several of them.")
        return tuple(names)
    cards = _cards()
    if (visible := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        shown = [name.strip() for name in visible.split(",")]
        until = next((k for k, name in enumerate(shown) if name in ("", "-1")), len(shown))
        cards = min(cards, until)
    return (None, *(f"cuda:{number}" for number in range(1, cards)))


def _cards() -> int:
    """How many cards NVIDIA's driver knows."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
