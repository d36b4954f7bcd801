"""Which torch, driver and card fit together, told without loading torch."""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from sdterm.messages import message

Version = tuple[int, int]

OLDEST_CARDS: dict[int, Version] = {11: (3, 7), 12: (5, 0), 13: (7, 5)}
"""CUDA's first number → the oldest compute capability that torch's builds for it have kernels for."""
NEW_CARDS: tuple[tuple[Version, Version], ...] = (((10, 0), (12, 8)), ((8, 9), (11, 8)))
"""(compute capability, the CUDA from which on there are kernels for it), the newest first."""
LEAST_DRIVERS: dict[int, str] = {11: "450", 12: "525", 13: "580"}
"""CUDA's first number → the first driver of NVIDIA's that runs it."""


@dataclass(frozen=True)
class TorchBuild:
    """The torch that is installed, and what it is built for."""

    version: str
    cuda: str = ""
    rocm: str = ""

    @property
    def runs_on(self) -> str:
        return f"CUDA {self.cuda}" if self.cuda else f"ROCm {self.rocm}" if self.rocm else message("CPUs alone")


@dataclass(frozen=True)
class Card:
    """A card of NVIDIA's. capability: its compute capability."""

    name: str
    capability: Version | None = None


def installed_torch() -> TorchBuild | None:
    """The torch of this environment, as its own file tells; None if there is none."""
    try:
        spec, found = find_spec("torch"), version("torch")
    except (PackageNotFoundError, ValueError):
        return None
    if not spec or not spec.origin:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        text = ""
    values = dict(re.findall(r"""(?m)^(cuda|hip)\b[^=\n]*=\s*['"]([^'"]+)['"]""", text))
    return TorchBuild(found, values.get("cuda", ""), values.get("hip", ""))


def misfit(torch: TorchBuild, driver: str, driver_cuda: Version, card: Card) -> tuple[str, str]:
    """Why this torch cannot use a card of NVIDIA's with that driver, and what repairs it; empty if it can."""
    if not torch.cuda:
        why = message("torch {version} is built for {what}", version=torch.version, what=torch.runs_on)
        return why, _other_torch(driver_cuda[0])
    wanted = _number(torch.cuda)
    if driver_cuda[0] < wanted[0]:
        why = message(
            "torch {version} needs a driver for CUDA {cuda}, and driver {driver} knows CUDA {known} at most",
            version=torch.version,
            cuda=wanted[0],
            driver=driver,
            known=f"{driver_cuda[0]}.{driver_cuda[1]}",
        )
        other = _other_torch(driver_cuda[0])
        if least := LEAST_DRIVERS.get(wanted[0]):
            return why, message("Update NVIDIA's driver ({least} or newer), or: {other}", least=least, other=other)
        return why, message("Update NVIDIA's driver, or: {other}", other=other)
    named = {"card": card.name, "version": torch.version, "cuda": torch.cuda}
    if card.capability and card.capability < OLDEST_CARDS.get(wanted[0], (0, 0)):
        return message("{card} is too old for torch {version} (CUDA {cuda})", **named), _other_torch(wanted[0] - 1)
    for capability, cuda in NEW_CARDS:
        if card.capability and card.capability >= capability and wanted < cuda:
            why = message("{card} is newer than torch {version} (CUDA {cuda})", **named)
            return why, _other_torch(f"{cuda[0]}.{cuda[1]}")
    return "", ""


def _number(text: str) -> Version:
    found = re.findall(r"\d+", text)
    return int(found[0]), int(found[1]) if len(found) > 1 else 0


def _other_torch(cuda: object) -> str:
    return message(
        "Set TORCH_COMMAND to what installs a torch for CUDA {cuda} (https://pytorch.org/get-started names it), and "
        "start launch.py --reinstall-torch.",
        cuda=cuda,
    )
