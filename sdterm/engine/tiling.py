"""Tiling: pictures whose opposite edges meet."""

from collections.abc import Iterable

import torch


def set_tiling(modules: Iterable[torch.nn.Module], on: bool) -> None:
    """Let each 2D convolution go on at the opposite edge where it ends at zeros otherwise, or again at zeros: A1111's
    StableDiffusionModelHijack.apply_circular."""
    for module in modules:
        for layer in module.modules():
            if type(layer) is torch.nn.Conv2d:
                layer.padding_mode = "circular" if on else "zeros"
