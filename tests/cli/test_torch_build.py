"""Which torch, driver and card fit together: by their numbers, since here is no card."""

import re
from importlib.metadata import version

import pytest

from sdterm.cli.torch_build import Card, TorchBuild, installed_torch, misfit

PASCAL, ADA, BLACKWELL = Card("GTX 1080", (6, 1)), Card("RTX 4090", (8, 9)), Card("RTX 5090", (12, 0))


@pytest.mark.parametrize(
    ("torch", "driver_cuda", "card", "why", "mend"),
    [
        (TorchBuild("2.7.0+cu126", "12.6"), (12, 2), ADA, "", ""),  # NVIDIA's drivers run all of one first number
        (TorchBuild("2.13.0", "13.0"), (13, 0), ADA, "", ""),
        (TorchBuild("2.13.0", "13.0"), (12, 4), ADA, "needs a driver for CUDA 13", r"580 or newer.*for CUDA 12 "),
        (TorchBuild("2.13.0", "13.0"), (13, 0), PASCAL, "GTX 1080 is too old", "for CUDA 12 "),
        (TorchBuild("2.6.0", "12.4"), (12, 8), BLACKWELL, "RTX 5090 is newer than torch 2.6.0", "for CUDA 12.8 "),
        (TorchBuild("2.7.0+cpu"), (12, 4), ADA, "built for CPUs alone", "for CUDA 12 "),
        (TorchBuild("2.7.0+rocm6.3", rocm="6.3"), (12, 4), ADA, "built for ROCm 6.3", "for CUDA 12 "),
    ],
)
def test_what_does_not_fit_is_named_with_what_mends_it(
    torch: TorchBuild, driver_cuda: tuple[int, int], card: Card, why: str, mend: str
) -> None:
    found = misfit(torch, "550.54", driver_cuda, card)
    assert bool(found[0]) == bool(why) and why in found[0] and re.search(mend, found[1])


def test_the_torch_that_is_installed_is_read_without_loading_it() -> None:
    import torch

    found = installed_torch()
    assert found == TorchBuild(version("torch"), torch.version.cuda or "", getattr(torch.version, "hip", None) or "")
