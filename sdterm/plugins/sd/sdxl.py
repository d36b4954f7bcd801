"""SDXL: two text encoders side by side, and a vector of the pooled text and of sizes.

Its refiner has the second encoder alone, and is told how good a picture is to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Components, ModelFamily, ModelMatch, TextOptions, WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd import folder
from sdterm.plugins.sd.approximations import SDXL_APPROXIMATIONS
from sdterm.plugins.sd.architecture import Usual
from sdterm.plugins.sd.recognition import complete, has, predicts_v
from sdterm.plugins.sd.statement import stated
from sdterm.plugins.sd.tokens import TOKENS, tokenize, tokenize_open

if TYPE_CHECKING:
    import torch

TEXT_L, TEXT_G = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
TEXT_REFINER = "conditioner.embedders.0.model."
USUAL = Usual(scaling_factor=0.13025)
_NUMBER_WIDTH = 256


def detect(reader: WeightsReader) -> ModelMatch | None:
    if folder.is_folder(reader.shapes()):
        both: dict[str, str] = {
            message("first text encoder"): "text_encoder.",
            message("second text encoder"): "text_encoder_2.",
        }
        there = all(has(reader.shapes(), prefix) for prefix in both.values())
        return complete(reader, both, 1024) if there else None
    if f"{TEXT_G}ln_final.weight" not in reader.shapes():
        return None
    encoders: dict[str, str] = {message("first text encoder"): TEXT_L, message("second text encoder"): TEXT_G}
    if "edm_mean" in reader.shapes() or "edm_vpred.sigma_max" in reader.shapes():
        kind = message("an SDXL checkpoint with its own noise levels")
        return ModelMatch(
            refusal=message("{file} is {kind}, which sdterm does not support.", file=reader.path.name, kind=kind)
        )
    return complete(reader, encoders, 1024)


def detect_refiner(reader: WeightsReader) -> ModelMatch | None:
    if folder.is_folder(reader.shapes()):
        alone = has(reader.shapes(), "text_encoder_2.") and not has(reader.shapes(), "text_encoder.")
        return complete(reader, {message("text encoder"): "text_encoder_2."}, 1024) if alone else None
    width = reader.shapes().get(f"{TEXT_REFINER}ln_final.weight")
    if width is None or width == (1024,):  # SD 2.1 turbo
        return None
    return complete(reader, {message("text encoder"): TEXT_REFINER}, 1024)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Components:
    from sdterm.modelling.predictions import from_eps, from_v
    from sdterm.plugins.sd import building
    from sdterm.plugins.sd.components import SDXL_LATENT_RGB, SDComponents
    from sdterm.plugins.sd.text import Clip, OpenClip

    source, shapes = building.Source(reader, device, dtype, message("an SDXL model"), USUAL), reader.shapes()
    if folder.is_folder(shapes):
        text_l = building.text_of_folder(source, "text_encoder")
        text_g = building.text_of_folder(source, "text_encoder_2", pools=True)
    else:
        text_l, text_g = building.clip(source, TEXT_L), building.open_clip(source, TEXT_G)
    return SDComponents(
        reader,
        {
            "text_encoder": text_l,
            "text_encoder_2": text_g,
            "unet": building.unet(source),
            "vae": building.vae(source),
        },
        [Clip(text_l.module, device, final=False), OpenClip(text_g.module, device, final=False)],
        from_v if predicts_v(stated(reader)) else from_eps,
        device,
        dtype,
        latent_rgb=SDXL_LATENT_RGB,
        vector=_base_vector,
        empty_negative=True,
    )


def build_refiner(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Components:
    from sdterm.modelling.predictions import from_eps, from_v
    from sdterm.plugins.sd import building
    from sdterm.plugins.sd.components import SDXL_LATENT_RGB, SDComponents
    from sdterm.plugins.sd.text import OpenClip

    source, shapes = building.Source(reader, device, dtype, message("an SDXL refiner"), USUAL), reader.shapes()
    if folder.is_folder(shapes):
        text = building.text_of_folder(source, "text_encoder_2", pools=True)
    else:
        text = building.open_clip(source, TEXT_REFINER)
    return SDComponents(
        reader,
        {"text_encoder": text, "unet": building.unet(source), "vae": building.vae(source)},
        [OpenClip(text.module, device, final=False)],
        from_v if predicts_v(stated(reader)) else from_eps,
        device,
        dtype,
        latent_rgb=SDXL_LATENT_RGB,
        vector=_refiner_vector,
        empty_negative=True,
    )


def _base_vector(pooled: torch.Tensor, options: TextOptions) -> torch.Tensor:
    size, crop = (options.height, options.width), (options.crop_top, options.crop_left)
    return _with_numbers(pooled, (*size, *crop, *size))


def _refiner_vector(pooled: torch.Tensor, options: TextOptions) -> torch.Tensor:
    size, crop = (options.height, options.width), (options.crop_top, options.crop_left)
    score = options.negative_aesthetic_score if options.negative else options.aesthetic_score
    return _with_numbers(pooled, (*size, *crop, score))


def _with_numbers(pooled: torch.Tensor, numbers: tuple[float, ...]) -> torch.Tensor:
    """Each number as a timestep is embedded: cosines, then sines (sgm ConcatTimestepEmbedderND)."""
    import math

    import torch

    half = _NUMBER_WIDTH // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = torch.tensor(numbers, dtype=torch.float32)[:, None] * frequencies
    embedded = torch.cat([angles.cos(), angles.sin()], dim=1).flatten().to(pooled.device)
    return torch.cat([pooled.float(), embedded.expand(len(pooled), -1)], dim=1)


SDXL = ModelFamily(
    id="sdxl",
    label="SDXL",
    detect=detect,
    build=build,
    tokens=TOKENS,
    tokenize=tokenize,
    approximations=SDXL_APPROXIMATIONS,
)
REFINER = ModelFamily(
    id="sdxl_refiner",
    label="SDXL refiner",
    detect=detect_refiner,
    build=build_refiner,
    tokens=TOKENS,
    tokenize=tokenize_open,
    approximations=SDXL_APPROXIMATIONS,
)
