"""Which card a device is. The cards are a stand-in: this is about telling them apart, not about drawing."""

import pytest

from sdterm.host.cards import Reading, seen_as

TWO = (Reading("RTX 4090", 1, 24, 40, "GPU-aaaa"), Reading("RTX 3060", 2, 12, 50, "GPU-bbbb"))
ALIKE = (Reading("RTX 4090", 1, 24, 40, "GPU-aaaa"), Reading("RTX 4090", 2, 24, 50, "GPU-bbbb"))


@pytest.mark.parametrize(
    ("number", "cards", "environ", "uuid"),
    [
        (0, TWO, {}, None),  # CUDA sorts by speed, the driver by slot: nobody knows before a process has looked
        (1, TWO, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "GPU-bbbb"),
        (0, TWO, {"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, "GPU-bbbb"),
        (0, ALIKE, {"CUDA_VISIBLE_DEVICES": "1"}, "GPU-bbbb"),
        (1, ALIKE, {"CUDA_VISIBLE_DEVICES": "1"}, None),
        (0, ALIKE, {"CUDA_VISIBLE_DEVICES": ""}, None),
        (1, ALIKE, {}, "GPU-bbbb"),
        (0, (), {}, None),
    ],
)
def test_a_number_of_cuda_is_a_card_where_that_is_certain(
    number: int, cards: tuple[Reading, ...], environ: dict[str, str], uuid: str | None
) -> None:
    found = seen_as(number, cards, environ)
    assert (found.uuid if found else None) == uuid
