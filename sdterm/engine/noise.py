"""Noise: one generator per image, so that image k of a batch equals the single image with its seed.

Follows A1111's modules/rng.py (ImageRNG, slerp), oddities included. Noise is made on the CPU, so that a picture does
not depend on the device, unless torch's generator on the GPU is asked for.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Literal

import torch

from sdterm.core.planning.plan import ImagePlan
from sdterm.engine import philox
from sdterm.hooks import Noise
from sdterm.modelling.transfer import sent
from sdterm.request import GenerationRequest

Source = Literal["NV", "CPU", "GPU"]
Shape = tuple[int, ...]
Draw = Callable[[Shape], torch.Tensor]
"""Shape → the next numbers of one generator, standard normal float32."""

_64_BITS = 2**64 - 1


def generator(seed: int, source: Source, device: torch.device) -> Draw:
    """The numbers that A1111 draws for a seed. `device` is where GPU draws; NV and CPU always draw on the CPU.

    torch's CPU generator looks at the low 32 bits of a seed, Philox and a GPU's at 64.
    """
    if source == "NV":
        draws = count()
        return lambda shape: torch.from_numpy(philox.normal(seed, next(draws), shape))
    where = noise_device(source, device)
    numbers = torch.Generator(where).manual_seed(seed & _64_BITS)
    return lambda shape: torch.randn(shape, generator=numbers, device=where)


def noise_device(source: Source, device: torch.device) -> torch.device:
    """Where noise is made. A1111 draws on the CPU for Apple's GPUs too."""
    return device if source == "GPU" and device.type != "mps" else torch.device("cpu")


def batch_noise(
    images: Sequence[ImagePlan], request: GenerationRequest, shape: Shape, downscale: int, device: torch.device
) -> tuple[torch.Tensor, Noise]:
    """A batch's first noise, float32 [B, C, h, w], and the function that draws its later noise: each image's next
    numbers. With an ENSD those come from generators that start anew at seed + ENSD.

    shape: of one image's latents [C, h, w]; downscale: pixels per cell.
    """

    def fresh(seed: int) -> Draw:
        return generator(seed, request.noise_source, device)

    draws = [fresh(image.seed) for image in images]
    first = [_first(image, request, shape, downscale, draw, fresh) for image, draw in zip(images, draws, strict=True)]
    if request.ensd:
        draws = [fresh(image.seed + request.ensd) for image in images]

    def noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        return sent(torch.stack([draw(shape) for draw in draws]), device)

    return torch.stack(first).to(device), noise


def _first(
    image: ImagePlan, request: GenerationRequest, shape: Shape, downscale: int, draw: Draw, fresh: Callable[[int], Draw]
) -> torch.Tensor:
    """One image's first noise [C, h, w]: the seed's, varied, and pasted from the size it was made for."""
    before = (shape[0], request.seed_resize_height // downscale, request.seed_resize_width // downscale)
    resized = request.seed_resize_height > 0 and request.seed_resize_width > 0 and before != shape
    noise = fresh(image.seed)(before) if resized else draw(shape)
    if request.variation_strength:
        noise = slerp(request.variation_strength, noise, fresh(image.variation_seed)(noise.shape))
    return pasted(noise, draw(shape)) if resized else noise


def slerp(strength: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """From `low` [C, h, w] at strength 0 along a great circle to `high` at 1.

    As A1111 does it: each column of each channel is a vector of its own (norms along h), and noises that point the
    same way are mixed in a straight line with the weights exchanged.
    """
    low_norm = low / torch.norm(low, dim=1, keepdim=True)
    high_norm = high / torch.norm(high, dim=1, keepdim=True)
    dot = (low_norm * high_norm).sum(1)
    if dot.mean() > 0.9995:
        return low * strength + high * (1 - strength)
    omega = torch.acos(dot)
    so = torch.sin(omega)
    low_weight, high_weight = torch.sin((1.0 - strength) * omega) / so, torch.sin(strength * omega) / so
    return low_weight.unsqueeze(1) * low + high_weight.unsqueeze(1) * high


def pasted(noise: torch.Tensor, canvas: torch.Tensor) -> torch.Tensor:
    """`noise` [C, h, w] laid over the middle of `canvas` [C, H, W]; what stands out is cut off."""
    (rows, from_rows), (columns, from_columns) = map(_overlap, noise.shape[1:], canvas.shape[1:])
    result = canvas.clone()
    result[:, rows, columns] = noise[:, from_rows, from_columns]
    return result


def _overlap(size: int, onto: int) -> tuple[slice, slice]:
    """Where a side of `size` cells lands on one of `onto`, and which of its cells do. Of a larger one with an odd
    surplus a cell more than needed is cut off, as in A1111."""
    offset = (onto - size) // 2
    kept = size if offset >= 0 else size + 2 * offset
    start, from_start = max(offset, 0), max(-offset, 0)
    return slice(start, start + kept), slice(from_start, from_start + kept)
