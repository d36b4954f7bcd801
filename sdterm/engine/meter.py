"""How much of a device's memory is in use, and was at most."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from sdterm.core.planning.memory import Measurements
from sdterm.engine.limit import Limit

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # of the resident memory; see proc(5)
_PROCESS = psutil.Process()


@dataclass
class Meter:
    """Of this process on a device: tensors on a GPU, and on a CPU where those are counted; else what is resident."""

    device: torch.device
    limit: Limit
    measurements: Measurements
    """Of earlier runs."""
    highest: int = 0
    """Bytes: the most that were read."""
    base: int = field(init=False, default=0)
    """Bytes that this process has without any model."""

    def __post_init__(self) -> None:
        if self.device.type != "cuda" and not self.limit.counted:
            self.base = int(_PROCESS.memory_info().rss)

    def start(self) -> int:
        """Bytes in use; their peak counts from here on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device)
        if counted := self.limit.counted:
            counted.peak = counted.live
            return counted.live
        with suppress(OSError):  # a system without it keeps the peak of the whole process
            _CLEAR.write_text(_RESET_PEAK)
        return int(_PROCESS.memory_info().rss)

    def read(self) -> int:
        """Bytes: the most that were in use since the start."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
        elif counted := self.limit.counted:
            peak = counted.peak
        else:
            peak = max(int(_PROCESS.memory_info().rss), _resident_peak())
        self.highest = max(self.highest, peak)
        return peak

    def room(self) -> tuple[int, int]:
        """(bytes that this process may have now, those there would be if nobody else had any)."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            room = free + torch.cuda.memory_reserved(self.device)
        else:
            machine = psutil.virtual_memory()
            room, total = machine.available + int(_PROCESS.memory_info().rss), machine.total
        most = self.limit.bytes or total
        return min(room, most), min(total, most)


def _resident_peak() -> int:
    """0 where the system does not tell."""
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
