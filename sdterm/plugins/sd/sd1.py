"""Stable Diffusion 1.x: one text encoder, OpenAI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Components, ModelFamily, ModelMatch, WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd import folder
from sdterm.plugins.sd.approximations import SD_APPROXIMATIONS
from sdterm.plugins.sd.architecture import Usual
from sdterm.plugins.sd.keys import UNET, VAE
from sdterm.plugins.sd.recognition import complete, has, other, predicts_v
from sdterm.plugins.sd.statement import stated
from sdterm.plugins.sd.tokens import TOKENS, tokenize

if TYPE_CHECKING:
    import torch

TEXT_FOLDER = "text_encoder"
TEXT = "cond_stage_model.transformer."
USUAL = Usual(heads=8)
_OTHERS = ("conditioner.embedders.", "cond_stage_model.model.")


def detect(reader: WeightsReader) -> ModelMatch | None:
    shapes = reader.shapes()
    if folder.is_folder(shapes):
        act = folder.part(reader, TEXT_FOLDER).get("hidden_act")
        others = has(shapes, "text_encoder_2.") or act != "quick_gelu"
        return None if others else complete(reader, {message("text encoder"): f"{TEXT_FOLDER}."}, 512)
    if any(has(shapes, prefix) for prefix in _OTHERS):
        return None
    if not (has(shapes, VAE) and has(shapes, TEXT)) and (refused := other(reader)):
        return refused
    if not any(has(shapes, prefix) for prefix in (f"{UNET}input_blocks.", VAE, TEXT)):
        return None
    return complete(reader, {message("text encoder"): TEXT}, 512)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Components:
    """Raises PluginError if the checkpoint's tensors do not fit together."""
    from sdterm.modelling.predictions import from_eps, from_v
    from sdterm.plugins.sd import building
    from sdterm.plugins.sd.components import SDComponents
    from sdterm.plugins.sd.text import Clip

    source, shapes = building.Source(reader, device, dtype, message("an SD 1.x model"), USUAL), reader.shapes()
    whole = folder.is_folder(shapes)
    text = building.text_of_folder(source, TEXT_FOLDER) if whole else building.clip(source, TEXT)
    return SDComponents(
        reader,
        {"text_encoder": text, "unet": building.unet(source), "vae": building.vae(source)},
        [Clip(text.module, device, final=True)],
        from_v if predicts_v(stated(reader)) else from_eps,
        device,
        dtype,
    )


SD1 = ModelFamily(
    id="sd1",
    label="SD 1.x",
    detect=detect,
    build=build,
    tokens=TOKENS,
    tokenize=tokenize,
    approximations=SD_APPROXIMATIONS,
)
