"""The network as samplers see it: noisy latents and sigma in, guided prediction of the clean latents out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from sdterm.core.extensions.registry import ContractError
from sdterm.engine.conditioning import Conditioner, Part, Reading
from sdterm.engine.rows import joined, lengths, padded, repeated, shape
from sdterm.hooks import Components, Conditioning, Denoised, ModelSampling
from sdterm.messages import message
from sdterm.modelling.transfer import sent
from sdterm.request import GenerationRequest

_GROUPINGS = 8  # kept; of prompts that change with every call each may be different


class Network(Protocol):
    """`network(x, sigma, call)`: a `Denoise` that is told which call of the run this is, from 0, since some are
    answered without it and prompts change on the way."""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, call: int) -> Denoised: ...


@dataclass(frozen=True)
class _Rows:
    """Rows of a call that the network computes together, having conditionings of one shape."""

    rows: list[int]
    images: torch.Tensor
    """Of each row, on the device."""
    cond: Conditioning


def guided_denoiser(
    components: Components,
    sampling: ModelSampling,
    condition: Conditioner,
    how: Reading,
    prompts: Sequence[Sequence[Part]],
    negatives: Sequence[Part],
    request: GenerationRequest,
    *,
    cfg_scale: float,
    needs_uncond: bool,
    counts_timesteps: bool = False,
) -> Network:
    """Classifier-free guidance around a model (A1111's CFGDenoiser, in its order of float operations): uncond + the sum
    of (cond - uncond) * (weight * cfg_scale) over the parts of an image's prompt.

    prompts: an image's parts, for each image, as `how` had them read. Texts of unequal length run as separate calls;
    those of one length in one, prompts and negative prompts together if the request wants that. At cfg_scale 1 the
    negative prompt of a plain prompt has no weight, so it is run only for a sampler that needs it. counts_timesteps:
    NGMS is compared with the timestep, as A1111 does for samplers on variance-preserving latents.
    """
    scale, batch = cfg_scale, len(prompts)
    parts = [part for image_parts in prompts for part in image_parts]
    image_of = [image for image, image_parts in enumerate(prompts) for _ in image_parts]
    first_of = [image_of.index(image) for image in range(batch)]
    plain = all(len(image_parts) == 1 and image_parts[0].weight == 1 for image_parts in prompts)
    guide = scale != 1 or needs_uncond or not plain
    asked = [*parts, *negatives]
    groups: dict[tuple[bool, tuple[int, ...]], list[_Rows]] = {}

    def grouped(call: int, with_uncond: bool) -> list[_Rows]:
        """The rows of a call: every part of every image, then the images' negative prompts. These pad the prompts also
        where they are left out, as in A1111."""
        active = tuple(part.at(call) for part in asked)
        key = (with_uncond, active)
        if key not in groups:
            if len(groups) >= _GROUPINGS:
                groups.clear()
            conds = [part.texts[index] for part, index in zip(asked, active, strict=True)]
            texts = _same_length_within_images(conds[: len(parts)], image_of)
            for image, uncond in enumerate(conds[len(parts) :]):
                mine = [row for row, owner in enumerate(image_of) if owner == image]
                padded, uncond = _padded([texts[row] for row in mine], uncond, request, condition, how)
                for row, text in zip(mine, padded, strict=True):
                    texts[row] = text
                texts.append(uncond)
            used = texts if with_uncond else texts[: len(parts)]
            groups[key] = _rows(used, [*image_of, *range(batch)], len(parts), request, components.device)
        return groups[key]

    def denoise(x: torch.Tensor, sigma: torch.Tensor, call: int) -> Denoised:
        level = sampling.sigma_to_t(sigma[:1])[0] if counts_timesteps else sigma[0]
        skipped = call % 2 == 1 and request.ngms > 0 and bool(level < request.ngms) and not needs_uncond
        x0: list[torch.Tensor] = [x] * (len(parts) + batch)
        for group in grouped(call, guide and not skipped):
            noisy = x[group.images]
            clean = components.denoise(noisy, sigma[:1].expand(len(group.rows)), group.cond, sampling).float()
            if clean.shape != noisy.shape:
                raise ContractError(
                    message(
                        "it predicted shape {found} for latents of shape {wanted}",
                        found=tuple(clean.shape),
                        wanted=tuple(noisy.shape),
                    )
                )
            for row, x0_row in zip(group.rows, clean, strict=True):
                x0[row] = x0_row
        if not guide:
            return Denoised(torch.stack(x0[:batch]), None)
        # Where negative guidance is left out, the first part stands in for it, at a scale of 1.
        unconds = torch.stack([x0[row] for row in first_of] if skipped else x0[len(parts) :])
        if plain:
            guided = unconds + (torch.stack(x0[:batch]) - unconds) * scale
        else:
            guided, cfg = unconds.clone(), 1.0 if skipped else scale
            for row, (part, image) in enumerate(zip(parts, image_of, strict=True)):
                guided[image] += (x0[row] - unconds[image]) * (part.weight * cfg)
        return Denoised(guided, unconds if needs_uncond else None)

    return denoise


def _rows(
    texts: Sequence[Conditioning],
    image_of: Sequence[int],
    conds: int,
    request: GenerationRequest,
    device: torch.device,
) -> list[_Rows]:
    calls: dict[object, list[int]] = {}
    for row, text in enumerate(texts):
        calls.setdefault((shape(text), row >= conds and not request.batch_cond_uncond), []).append(row)
    return [
        _Rows(rows, sent(torch.tensor([image_of[row] for row in rows]), device), joined([texts[row] for row in rows]))
        for rows in calls.values()
    ]


def _same_length_within_images(conds: Sequence[Conditioning], image_of: Sequence[int]) -> list[Conditioning]:
    """In a composition, shorter texts repeat their last vector (A1111 reconstruct_multicond_batch)."""
    longest: list[dict[str, int]] = [{} for _ in range(max(image_of) + 1)]
    for cond, image in zip(conds, image_of, strict=True):
        for name, length in lengths(cond).items():
            longest[image][name] = max(longest[image].get(name, 0), length)
    return [repeated(cond, longest[image]) for cond, image in zip(conds, image_of, strict=True)]


def _padded(
    conds: list[Conditioning],
    uncond: Conditioning,
    request: GenerationRequest,
    condition: Conditioner,
    how: Reading,
) -> tuple[list[Conditioning], Conditioning]:
    """Prompt and negative prompt of one image made equally long, if the request wants that: with empty texts, or as
    before 1.6 by repeating or cutting the negative prompt (A1111 pad_cond_uncond, pad_cond_uncond_v0)."""
    wanted, there = lengths(conds[0]), lengths(uncond)
    if request.pad_conds == "off" or wanted == there:
        return conds, uncond
    if request.pad_conds == "v0":
        return conds, repeated(uncond, wanted, cut=True)
    empty = condition.empty(how)
    return [padded(cond, there, empty) for cond in conds], padded(uncond, wanted, empty)
