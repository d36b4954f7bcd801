"""Stable Diffusion 2.x: one text encoder, OpenCLIP's. Some of its models predict noise, some v."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sdterm.hooks import Components, ModelFamily, ModelMatch, WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd import folder
from sdterm.plugins.sd.approximations import SD_APPROXIMATIONS
from sdterm.plugins.sd.architecture import Usual
from sdterm.plugins.sd.recognition import complete, has, predicts_v
from sdterm.plugins.sd.statement import stated
from sdterm.plugins.sd.tokens import TOKENS, tokenize_open

if TYPE_CHECKING:
    import torch

TEXT_FOLDER = "text_encoder"
TEXT = "cond_stage_model.model."
TEXT_TURBO = "conditioner.embedders.0.model."
"""Of SD 2.1 turbo, whose keys are as SDXL's."""
_WIDTH = 1024
USUAL = Usual()
_SIZE, _V_SIZE = 512, 768


def detect(reader: WeightsReader) -> ModelMatch | None:
    if folder.is_folder(reader.shapes()):
        act, alone = folder.part(reader, TEXT_FOLDER).get("hidden_act"), not has(reader.shapes(), "text_encoder_2.")
        return (
            complete(reader, {message("text encoder"): f"{TEXT_FOLDER}."}, _SIZE) if act == "gelu" and alone else None
        )
    if not (prefix := _prefix(reader)):
        return None
    if has(reader.shapes(), "embedder.model.visual.") or has(reader.shapes(), "noise_augmentor."):
        said = message("{file} is an SD 2 unCLIP checkpoint, which sdterm does not support.", file=reader.path.name)
        return ModelMatch(refusal=said)
    return complete(reader, {message("text encoder"): prefix}, _V_SIZE if predicts_v(stated(reader)) else _SIZE)


def _prefix(reader: WeightsReader) -> str | None:
    shapes = reader.shapes()
    if has(shapes, TEXT):
        return TEXT
    return TEXT_TURBO if shapes.get(f"{TEXT_TURBO}ln_final.weight") == (_WIDTH,) else None


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Components:
    from sdterm.modelling.predictions import from_eps, from_v
    from sdterm.plugins.sd import building
    from sdterm.plugins.sd.components import SDComponents
    from sdterm.plugins.sd.text import OpenClip

    source, shapes = building.Source(reader, device, dtype, message("an SD 2 model"), USUAL), reader.shapes()
    prefix, said = _prefix(reader) or TEXT, stated(reader)
    whole = folder.is_folder(shapes)
    text = building.text_of_folder(source, TEXT_FOLDER) if whole else building.open_clip(source, prefix, pools=False)
    unet = building.unet(source)
    plain = cast(Any, unet.module).config.in_channels == 4
    is_v = predicts_v(said) if said.prediction or not plain else seems_v(unet.module)
    return SDComponents(
        reader,
        {"text_encoder": text, "unet": unet, "vae": building.vae(source)},
        [OpenClip(text.module, device, final=True, whole=not whole)],
        from_v if is_v else from_eps,
        device,
        dtype,
    )


def seems_v(unet: Any) -> bool:
    """Whether a UNet seems to predict v, which no tensor's name or shape tells: what it makes of half-grey at the
    noisiest timestep (A1111 sd_models_config.is_using_v_parameterization_for_sd2)."""
    import torch

    weight = next(unet.parameters())
    x = torch.full((1, 4, 8, 8), 0.5, device=weight.device, dtype=weight.dtype)
    context = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, device=weight.device, dtype=weight.dtype)
    with torch.inference_mode():
        out = unet(x, torch.tensor([999], device=weight.device), encoder_hidden_states=context, return_dict=False)[0]
    return bool((out.float() - x.float()).mean() < -1)


SD2 = ModelFamily(
    id="sd2",
    label="SD 2.x",
    detect=detect,
    build=build,
    tokens=TOKENS,
    tokenize=tokenize_open,
    approximations=SD_APPROXIMATIONS,
)
