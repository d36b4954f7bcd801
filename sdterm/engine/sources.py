"""What images start from: init images read, prepared and encoded, each once a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sdterm.core.extensions.registry import ContractError
from sdterm.core.inputs import Inputs
from sdterm.core.pictures.masks import latent_mask
from sdterm.core.pictures.resizing import Enlarge, stretched
from sdterm.core.pictures.source import LATENT, Source, source_of
from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.decode import vae_in
from sdterm.engine.enlarge import upscaling_of
from sdterm.engine.loading import Model
from sdterm.engine.noise import generator
from sdterm.engine.run import Run
from sdterm.engine.upscale import enlarged
from sdterm.hooks import SeesInit
from sdterm.messages import message

_TOLD = "told: "


@dataclass(frozen=True)
class Init:
    """What a pass starts from that does not start from noise."""

    latents: torch.Tensor
    """[B, C, h, w]"""
    mask: torch.Tensor | None = None
    """[B, 1, h, w], 1 where it is drawn anew."""
    told: Sequence[Mapping[str, torch.Tensor]] = ()
    """Of each image, tensors for its `Conditioning`."""
    from_image: bool = True
    """Whether it is an init image, not the pass before."""

    def parted(self) -> "Iterator[Init]":
        """Of each image by itself."""
        for index in range(len(self.latents)):
            one = slice(index, index + 1)
            mask = None if self.mask is None else self.mask[one]
            yield replace(self, latents=self.latents[one], mask=mask, told=self.told[one])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Of one image by itself, by name."""
        told = {_TOLD + name: tensor for each in self.told for name, tensor in each.items()}
        return {"latents": self.latents} | ({} if self.mask is None else {"mask": self.mask}) | told

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, torch.Tensor], device: torch.device, *, from_image: bool) -> "Init":
        """The opposite of `tensors`."""
        there = {name: tensor.to(device) for name, tensor in tensors.items()}
        told = {name.removeprefix(_TOLD): tensor for name, tensor in there.items() if name.startswith(_TOLD)}
        return cls(there["latents"], there.get("mask"), [told], from_image)

    @classmethod
    def joined(cls, each: "Sequence[Init]") -> "Init":
        """Of images that are drawn together."""
        masks = [one.mask for one in each if one.mask is not None]
        return replace(
            each[0],
            latents=torch.cat([one.latents for one in each]),
            mask=torch.cat(masks) if masks else None,
            told=[told for one in each for told in one.told],
        )


@dataclass(frozen=True)
class _Encoded:
    latents: torch.Tensor
    mask: torch.Tensor | None
    told: Mapping[str, torch.Tensor]


@dataclass
class Sources:
    """The init images of a run, by their digests, as far as they were asked for."""

    inputs: Inputs
    _sources: dict[str, Source] = field(default_factory=dict)
    _encoded: dict[str, _Encoded] = field(default_factory=dict)

    def of(self, run: Run, image: ImagePlan) -> Source:
        """An image's. Raises InputError, and what its upscaler raises."""
        digest, request, planned = image.init_image, run.request, run.plan.passes[0]
        plain = (planned.width, planned.height) if request.mask else planned.told_size  # as A1111, which rounds later
        if digest not in self._sources:
            self._sources[digest] = source_of(
                self.inputs.read(digest),
                self.inputs.read(request.mask) if request.mask else None,
                request,
                *plain,
                rounded=_rounded(run),
                enlarge=_enlarge(run),
            )
        return self._sources[digest]

    def init(self, run: Run, model: Model, images: Sequence[ImagePlan]) -> Init:
        """Of images that are drawn together."""
        run.pulse.phase = "decode"
        each = [self._of(run, model, image) for image in images]
        latents = torch.stack([self._with_content(run, image, one) for image, one in zip(images, each, strict=True)])
        masks = [one.mask for one in each if one.mask is not None]
        return Init(latents, torch.stack(masks) if masks else None, [one.told for one in each])

    def _of(self, run: Run, model: Model, image: ImagePlan) -> _Encoded:
        if image.init_image not in self._encoded:
            self._encoded[image.init_image] = _encode(run, model, self.of(run, image))
        return self._encoded[image.init_image]

    def _with_content(self, run: Run, image: ImagePlan, encoded: _Encoded) -> torch.Tensor:
        """What is masked as noise or as nothing: the noise is the first that the seed gives."""
        latents, mask, content = encoded.latents, encoded.mask, run.request.masked_content
        if mask is None or content not in ("latent noise", "latent nothing"):
            return latents
        kept = latents * (1 - mask)
        if content == "latent nothing":
            return kept
        noise = generator(image.seed, run.request.noise_source, latents.device)(tuple(latents.shape))
        return kept + noise.to(latents.device) * mask


def _rounded(run: Run) -> bool:
    return run.request.mask_rounded and not any(each.of.soft_mask for each in run.choices.hooks)


def _enlarge(run: Run) -> Enlarge:
    chosen = run.choices.first.upscaler
    if not chosen:
        return stretched
    upscaling = upscaling_of(run)

    def enlarge(picture: Image.Image, width: int, height: int) -> Image.Image:
        return Image.fromarray(enlarged(upscaling, chosen, np.asarray(picture), width, height))

    return enlarge


def _encode(run: Run, model: Model, source: Source) -> _Encoded:
    planned, components = run.plan.passes[0], model.components
    pixels = encodable(np.asarray(source.picture)).to(components.device)
    latents = encoded_picture(run, model, pixels)
    size = (planned.height // components.downscale, planned.width // components.downscale)
    if run.request.resize_mode == LATENT:
        latents = torch.nn.functional.interpolate(latents, size=size, mode="bilinear")
    mask = None
    if source.mask:
        shown = torch.from_numpy(latent_mask(source.mask, size[1], size[0], rounded=_rounded(run)))
        mask = shown[None].to(components.device)
    return _Encoded(latents[0], mask, told_of(run, model, pixels, source.mask))


def encodable(picture: NDArray[Any]) -> torch.Tensor:
    """uint8 [H, W, 3] → [1, 3, H, W], -1..1, in this order in memory, too, since convolutions round by it."""
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous() * 2 - 1


def encoded_picture(run: Run, model: Model, pixels: torch.Tensor) -> torch.Tensor:
    """A picture [1, 3, H, W] as latents [1, C, h, w], by itself, so that its batch never changes it: by the VAE, or by
    what stands in for it. In float32 where the run's precision has no numbers for them; whether a pass has become one
    of float32 makes no difference. Raises PluginError."""
    components = model.components
    if encode := run.approximations.encode:
        with run.plugins.guard(model.family):
            return encode(pixels.float()).float()
    wanted = (1, components.latent_channels, *(side // components.downscale for side in pixels.shape[2:]))
    for dtype in dict.fromkeys((run.dtype, torch.float32)):
        with run.plugins.guard(model.family), vae_in(components, dtype):
            latents = components.encode_image(pixels.to(dtype), None).float()
            if latents.shape != wanted:
                raise ContractError(
                    message(
                        "it encoded an image to latents of shape {found}, not {wanted}",
                        found=tuple(latents.shape),
                        wanted=wanted,
                    )
                )
        if torch.isfinite(latents).all():
            return latents
    raise run.plugins.failure(model.family, ContractError(message("it encoded an image to NaN values")))


def told_of(
    run: Run, model: Model, pixels: torch.Tensor, mask: Image.Image | None = None
) -> Mapping[str, torch.Tensor]:
    """What the network itself is told of a picture [1, 3, H, W] that it starts from; of all of it as masked where there
    is no mask."""
    if not isinstance(model.components, SeesInit):
        return {}
    hidden = torch.ones_like(pixels[:, :1])
    if mask:
        hidden = torch.from_numpy(np.asarray(mask).astype(np.float32) / 255)[None, None].to(pixels.device)
        hidden = hidden.round() if _rounded(run) else hidden
        if hidden.shape[2:] != pixels.shape[2:]:  # a picture encoded in its own size
            hidden = torch.nn.functional.interpolate(hidden, size=pixels.shape[2:])
    with run.plugins.guard(model.family):
        return model.components.of_init(pixels, hidden, run.request.conditional_mask_weight)
