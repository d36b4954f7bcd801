"""Stable Diffusion 1.x: one text encoder, OpenAI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Components, ModelFamily, ModelMatch, WeightsReader
from sdterm.plugins.sd.architecture import Usual
from sdterm.plugins.sd.keys import UNET, VAE, clip_keys, unet_keys, vae_keys
from sdterm.plugins.sd.recognition import complete, has, other, predicts_v
from sdterm.plugins.sd.statement import stated
from sdterm.plugins.sd.tokens import TOKENS, tokenize

if TYPE_CHECKING:
    import torch

TEXT = "cond_stage_model.transformer."
USUAL = Usual(heads=8)
_OTHERS = ("conditioner.embedders.", "cond_stage_model.model.")


def detect(reader: WeightsReader) -> ModelMatch | None:
    shapes = reader.shapes()
    if any(has(shapes, prefix) for prefix in _OTHERS):
        return None
    if (refused := other(reader)) and not (has(shapes, VAE) and has(shapes, TEXT)):
        return refused
    if not any(has(shapes, prefix) for prefix in (f"{UNET}input_blocks.", VAE, TEXT)):
        return None
    return complete(reader, {"text encoder": TEXT}, 512)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Components:
    """Raises PluginError if the checkpoint's tensors do not fit together."""
    from sdterm.modelling.predictions import from_eps, from_v
    from sdterm.plugins.sd import building
    from sdterm.plugins.sd.components import SDComponents
    from sdterm.plugins.sd.text import Clip

    source, shapes = building.Source(reader, device, dtype, "an SD 1.x model", USUAL), reader.shapes()
    unet, vae, text = building.unet(source), building.vae(source), building.clip(source, TEXT)
    return SDComponents(
        reader,
        {"text_encoder": text, "unet": unet, "vae": vae},
        {"text_encoder": clip_keys(shapes, TEXT), "unet": unet_keys(shapes), "vae": vae_keys(shapes)},
        [Clip(text, device, final=True)],
        from_v if predicts_v(stated(reader)) else from_eps,
        device,
        dtype,
    )


SD1 = ModelFamily(id="sd1", label="SD 1.x", detect=detect, build=build, tokens=TOKENS, tokenize=tokenize)
