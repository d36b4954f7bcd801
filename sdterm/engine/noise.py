"""Noise: one generator per image, so that image k of a batch equals the single image with its seed."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from sdterm.core.plan import ImagePlan
from sdterm.engine import philox
from sdterm.request import GenerationRequest

Source = Literal["NV", "CPU", "GPU"]
Shape = tuple[int, ...]


class Generator:
    """The random numbers of one seed: each draw is the next. NV and CPU draw on the CPU, GPU on the device; float32."""

    def __init__(self, seed: int, source: Source, device: torch.device) -> None:
        self._draw: Callable[[Shape], torch.Tensor]
        if source == "NV":
            self._seed, self._offset = seed, 0
            self._draw = self._philox
        else:
            place = device if source == "GPU" else torch.device("cpu")
            generator = torch.Generator(place).manual_seed(seed % 2**64)
            self._draw = lambda shape: torch.randn(shape, generator=generator, device=place)

    def draw(self, shape: Shape) -> torch.Tensor:
        return self._draw(shape)

    def _philox(self, shape: Shape) -> torch.Tensor:
        values = torch.from_numpy(philox.normal(self._seed, self._offset, shape))
        self._offset += 1
        return values


class BatchNoise:
    """A sampler's `noise(sigma, sigma_next)`: the next draw of each image, stacked on the device. The first one, with
    variation and resizing, is `first`. Source: A1111 modules/rng.py, ImageRNG."""

    def __init__(
        self,
        images: Sequence[ImagePlan],
        request: GenerationRequest,
        shape: Shape,
        downscale: int,
        device: torch.device,
    ) -> None:
        source = request.noise_source
        generators = [Generator(image.seed, source, device) for image in images]
        self._shape, self._device = shape, device
        self.first = torch.stack(
            [
                _first(image, generator, request, shape, downscale, device)
                for image, generator in zip(images, generators, strict=True)
            ]
        ).to(device)
        """float32 [B, C, h, w]."""
        if request.ensd:
            generators = [Generator(image.seed + request.ensd, source, device) for image in images]
        self._generators = generators

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        return torch.stack([generator.draw(self._shape) for generator in self._generators]).to(self._device)


def _first(
    image: ImagePlan,
    generator: Generator,
    request: GenerationRequest,
    shape: Shape,
    downscale: int,
    device: torch.device,
) -> torch.Tensor:
    """The noise that an image starts from, [C, h, w]."""
    resized = request.seed_resize_width > 0 and request.seed_resize_height > 0
    drawn = (
        (shape[0], request.seed_resize_height // downscale, request.seed_resize_width // downscale)
        if resized
        else shape
    )
    # Noise of another size comes from a generator of its own, as in A1111: the image's is still at its first draw then.
    own = generator if drawn == shape else Generator(image.seed, request.noise_source, device)
    noise = own.draw(drawn)
    if request.variation_strength > 0:
        variation = Generator(image.variation_seed, request.noise_source, device).draw(drawn)
        noise = slerp(request.variation_strength, noise, variation)
    return noise if drawn == shape else pasted(noise, generator.draw(shape))


def slerp(strength: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """From `low` [C, h, w] to `high` on the sphere: A1111's rng.slerp. It takes the vectors to run along the height,
    and where they are nearly one, mixes them straight and the other way round."""
    low_norm = low / torch.norm(low, dim=1, keepdim=True)
    high_norm = high / torch.norm(high, dim=1, keepdim=True)
    dot = (low_norm * high_norm).sum(1)
    if dot.mean() > 0.9995:
        return low * strength + high * (1 - strength)
    omega = torch.acos(dot)
    so = torch.sin(omega)
    low_weight = (torch.sin((1.0 - strength) * omega) / so).unsqueeze(1)
    high_weight = (torch.sin(strength * omega) / so).unsqueeze(1)
    return low_weight * low + high_weight * high


def pasted(noise: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
    """`noise` [C, h, w] in the middle of `onto`, its edges cut off where it is larger."""
    (height, width), (old_height, old_width) = onto.shape[1:], noise.shape[1:]
    dx, dy = (width - old_width) // 2, (height - old_height) // 2
    w = old_width if dx >= 0 else old_width + 2 * dx
    h = old_height if dy >= 0 else old_height + 2 * dy
    tx, ty = max(dx, 0), max(dy, 0)
    dx, dy = max(-dx, 0), max(-dy, 0)
    result = onto.clone()
    result[:, ty : ty + h, tx : tx + w] = noise[:, dy : dy + h, dx : dx + w]
    return result
