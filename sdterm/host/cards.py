"""What the devices have: memory and temperature, as NVIDIA's driver or the system tells."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from sdterm.host.threads import in_thread

EVERY = 2.0
"""Seconds between two looks, while somebody wants to know."""


@dataclass(frozen=True)
class Reading:
    """A device, as it was a moment ago. Bytes, by all processes; degrees Celsius."""

    name: str
    used: int
    total: int
    temperature: int | None = None
    uuid: str = ""

    @property
    def free(self) -> int:
        return max(0, self.total - self.used)


class Cards:
    """The last readings. wanted: whether anybody wants to know."""

    def __init__(self, wanted: Callable[[], bool], environ: Mapping[str, str]) -> None:
        self._wanted, self._environ = wanted, environ
        self._cards: Sequence[Reading] = ()

    async def run(self) -> None:
        """Look again and again; for good if there is no card."""
        while cards := await in_thread(read_cards):
            self._cards = cards
            await asyncio.sleep(EVERY)
            while not self._wanted():
                await asyncio.sleep(EVERY)

    def of(self, device: str, uuid: str | None) -> Reading | None:
        """What is known of a device. uuid: of its card, as its process told it."""
        kind, _, number = device.partition(":")
        if kind == "cpu" or (kind == "auto" and not self._cards):
            machine = psutil.virtual_memory()
            return Reading("", machine.total - machine.available, machine.total)
        if kind not in ("cuda", "auto"):
            return None
        if uuid:
            return next((card for card in self._cards if uuid in card.uuid), None)
        return seen_as(int(number or 0), self._cards, self._environ)


def seen_as(number: int, cards: Sequence[Reading], environ: Mapping[str, str]) -> Reading | None:
    """The card that CUDA calls by that number, where that is certain before a process has looked: CUDA sorts cards by
    their speed, unless it is told otherwise, and the driver by their slots."""
    shown = environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in shown.split(",")] if shown is not None else [str(k) for k in range(len(cards))]
    if not 0 <= number < len(names) or not names[number]:
        return None
    name = names[number]
    if not name.isdecimal():
        return next((card for card in cards if card.uuid.startswith(name)), None)
    is_in_order = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(cards) == 1
    alike = len({card.name for card in cards}) == 1
    return cards[int(name)] if (is_in_order or alike) and int(name) < len(cards) else None


def read_cards() -> Sequence[Reading]:
    """NVIDIA's cards, in the driver's order; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    found = []
    try:
        for number in range(int(pynvml.nvmlDeviceGetCount())):
            card = pynvml.nvmlDeviceGetHandleByIndex(number)
            memory = pynvml.nvmlDeviceGetMemoryInfo(card)
            temperature = None
            with contextlib.suppress(pynvml.NVMLError):  # a part of a card (MIG) has none
                temperature = int(pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU))
            name, uuid = str(pynvml.nvmlDeviceGetName(card)), str(pynvml.nvmlDeviceGetUUID(card))
            found.append(Reading(name, int(memory.used), int(memory.total), temperature, uuid))
    except pynvml.NVMLError:  # the driver was lost
        return found
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return found
