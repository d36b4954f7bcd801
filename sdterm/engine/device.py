"""Devices: which to use, how much memory they have, what they hold."""

import gc
import platform
from dataclasses import dataclass

import psutil
import torch

from sdterm.fields import Precision
from sdterm.messages import message
from sdterm.request import RequestError


class DeviceError(RequestError):
    """The device asked for is not there."""


@dataclass(frozen=True)
class MemoryUse:
    """Bytes. active, reserved: peaks of this process on the device; a CPU has no reserve."""

    active: int
    reserved: int | None
    used: int
    total: int


def pick_device(name: str | None) -> torch.device:
    """The named device (`cpu`, `cuda`, `cuda:1`, `mps`), else the best there is. `cpu:1` is the CPU, too: one process
    of several that draw on it. Raises DeviceError."""
    if name is None:
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(message("There is no device '{name}': use cpu, cuda, cuda:1 … or mps.", name=name)) from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            message(
                "There is no device {name}: torch sees {number} CUDA devices.",
                name=name,
                number=torch.cuda.device_count(),
            )
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(message("There is no device mps: torch sees no Apple GPU."))
    return device


def pick_dtype(device: torch.device, precision: Precision, *, wide: bool = False) -> torch.dtype:
    """float16 on a GPU and float32 on a CPU, unless another precision is asked for. wide: of a model whose numbers are
    too large for float16: then bfloat16, if the GPU has units for it."""
    if precision == "auto" and device.type == "cpu":
        precision = "full"
    elif precision == "auto":
        precision = "bf16" if wide and has_bf16_units(device) else "half"
    return {"full": torch.float32, "half": torch.float16, "bf16": torch.bfloat16}[precision]


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device itself computes in bfloat16; elsewhere torch imitates that, which is slow."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine() in ("x86_64", "AMD64"):
        return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
    return device.type == "mps" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def set_deterministic() -> None:
    """The same numbers on every run: no autotuned kernels."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def device_name(device: torch.device) -> str:
    """What a tape is bound to: the hardware that computed it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def hardware(device: torch.device) -> str:
    """What computes there: two devices of the same compute the same bits."""
    if device.type != "cpu":
        return device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread" + "s" * (threads > 1)


def card_id(device: torch.device) -> str | None:
    """The UUID by which NVIDIA's driver knows a card, whatever its number here; None if it is none."""
    if device.type != "cuda":
        return None
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", "")) or None


def free_unused(device: torch.device) -> None:
    """Give back what nobody uses any more: errors hold what they passed in circles, and torch keeps what was freed."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def memory_use(device: torch.device) -> MemoryUse:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        active, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return MemoryUse(active, reserved, total - free, total)
    machine = psutil.virtual_memory()
    return MemoryUse(psutil.Process().memory_info().rss, None, machine.total - machine.available, machine.total)
