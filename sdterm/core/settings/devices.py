"""Which devices a host draws on: one process each."""

import os
import re
from collections.abc import Mapping, Sequence

import psutil

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

MOST = 64


class DeviceNameError(SdtermError, ValueError):
    """A device's name cannot be read."""

    code = BAD_REQUEST


def devices_of(setting: str | None, environ: Mapping[str, str]) -> tuple[str | None, ...]:
    """The setting's devices, `cuda:0,cuda:1`; unset, whatever torch finds best (None) and every further card that the
    driver knows and CUDA_VISIBLE_DEVICES shows. torch may see fewer: those are left out once that is found. `cpu,cpu`
    are two processes on the CPU, named `cpu:0` and `cpu:1`. Raises DeviceNameError."""
    if setting:
        names = [name.strip() for name in setting.split(",")]
        if len(names) > MOST or not all(re.fullmatch(r"[a-z]+(:[0-9]{1,3})?", name) for name in names):
            raise DeviceNameError(
                message(
                    "device is '{value}', but it must be cpu, cuda, cuda:1 … or several of them.", value=setting[:60]
                )
            )
        if names.count("cpu") > 1:
            numbers = iter(range(len(names)))
            names = [f"cpu:{next(numbers)}" if name == "cpu" else name for name in names]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DeviceNameError(
                message("device is '{value}', which names {device} twice.", value=setting[:60], device=twice)
            )
        return tuple(names)
    cards = _cards()
    if (visible := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        shown = [name.strip() for name in visible.split(",")]
        until = next((k for k, name in enumerate(shown) if name in ("", "-1")), len(shown))
        cards = min(cards, until)
    return (None, *(f"cuda:{number}" for number in range(1, cards)))


def first_device(setting: str | None, environ: Mapping[str, str]) -> str | None:
    """The one for who draws on one alone. Raises DeviceNameError."""
    return devices_of(setting, environ)[0]


def threads_each(devices: Sequence[str | None], environ: Mapping[str, str]) -> int | None:
    """How many threads each process has where several draw on the CPU: an equal share of its cores. None: as many as
    torch takes by itself, or OMP_NUM_THREADS says."""
    together = sum((name or "").partition(":")[0] == "cpu" for name in devices)
    if together < 2 or environ.get("OMP_NUM_THREADS"):
        return None
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or ours, ours) // together)


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
