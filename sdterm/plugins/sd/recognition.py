"""Which of Stable Diffusion's models a checkpoint is, from its header; its relatives by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from sdterm.hooks import ModelMatch, WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd import folder
from sdterm.plugins.sd.keys import UNET, VAE, Shapes
from sdterm.plugins.sd.statement import Statement, stated

_PREDICTIONS = ("epsilon", "v")
_EXTRA = {8: message("an instruct-pix2pix checkpoint"), 5: message("a depth-to-image checkpoint")}
"""Channels of a UNet's input → what such a checkpoint is."""
_NAMES = ("unet", "vae", "text_encoder", "text_encoder_2")
"""A model's parts, as its components name them."""


def has(shapes: Shapes, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in shapes)


def complete(reader: WeightsReader, encoders: Mapping[str, str], native_size: int) -> ModelMatch:
    """A match for a checkpoint in LDM's layout, or its refusal: it needs a UNet that sdterm can give what it wants, a
    VAE and text encoders. encoders: what each is called → the prefix of its keys."""
    shapes, name = reader.shapes(), reader.path.name
    whole = folder.is_folder(shapes)
    parts = {"UNet": "unet." if whole else UNET, "VAE": "vae." if whole else VAE, **encoders}
    there = {VAE, "vae."} if reader.vae else set[str]()
    if missing := [part for part, prefix in parts.items() if prefix not in there and not has(shapes, prefix)]:
        return ModelMatch(
            refusal=message("{file} has no {part}; sdterm needs a complete checkpoint.", file=name, part=missing[0])
        )
    channels = shapes.get("unet.conv_in.weight" if whole else f"{UNET}input_blocks.0.0.weight", (0, 0))[1]
    if channels not in (4, 9):
        kind = _EXTRA.get(channels, message("an unusual checkpoint"))
        return ModelMatch(refusal=message("{file} is {kind}, which sdterm does not support.", file=name, kind=kind))
    said = stated(reader)
    if said.prediction not in (None, *_PREDICTIONS):
        return ModelMatch(
            refusal=message(
                "{file} predicts {prediction}, which sdterm does not support.", file=name, prediction=said.prediction
            )
        )
    return ModelMatch(
        native_size=said.native_size or native_size,
        downscale=8,
        inpainting=channels == 9,
        numbers=_numbers(reader, parts),
    )


def _numbers(reader: WeightsReader, parts: Mapping[str, str]) -> dict[str, int]:
    """How many weights each part has. parts: UNet, VAE and text encoders in this order → the prefix of its keys."""
    shapes = reader.shapes()
    numbers = {
        name: sum(math.prod(shape) for key, shape in shapes.items() if key.startswith(prefix))
        for name, prefix in zip(_NAMES, parts.values(), strict=False)
    }
    return numbers if reader.vae is None else {**numbers, "vae": sum(map(math.prod, reader.vae.shapes().values()))}


def predicts_v(said: Statement) -> bool:
    return said.prediction == "v"


_OTHERS: Sequence[tuple[str, str]] = (
    (r"txt_in\.individual_token_refiner\.", message("a HunyuanVideo checkpoint")),
    (r"double_stream_blocks\.", message("a HiDream checkpoint")),
    (r"(clip_txt_pooled_mapper|clip_txt_mapper|effnet_mapper)\.", message("a Stable Cascade checkpoint")),
    (r"(mlp_t5|text_embedding_padding)", message("a Hunyuan-DiT checkpoint")),
    (r"(patchify_proj|scale_shift_table$)", message("an LTX-Video or PixArt checkpoint")),
    (r"(t_block\.1|adaln_single)\.", message("a PixArt checkpoint")),
    (r"blocks\.\d+\.(cross_attn\.norm_k|cross_attn\.k)\.", message("a Wan video checkpoint")),
    (r"t5_yproj|y_embedder\.y_proj", message("a video or PixArt checkpoint")),
    (r"encoder_hid_proj\.", message("a Kolors checkpoint")),
    (r".*\.time_(stack|mixer)\.", message("a Stable Video Diffusion checkpoint")),
    (r".*motion_modules\.", message("an AnimateDiff motion module")),
    (r"(control_model|zero_convs|controlnet_cond_embedding)\.", message("a ControlNet")),
    (r"(image_proj|ip_adapter)\.", message("an IP-Adapter")),
    (
        r"(lora_|lycoris_)|.*\.(lora_A|lora_B|lora_up|lora_down)\.",
        message("a LoRA, not a checkpoint; LoRAs belong in models/Lora"),
    ),
    (
        r"(emb_params|clip_l|clip_g|string_to_param)$",
        message("an embedding, not a checkpoint; embeddings belong in embeddings"),
    ),
    (
        r"(model\.0|conv_first|body\.0\.rdb1\.conv1)\.",
        message("an upscaler, not a checkpoint; upscalers belong in models/ESRGAN"),
    ),
    (r"(encoder|decoder)\.(conv_in|mid)\.", message("a VAE, not a checkpoint; VAEs belong in models/VAE")),
    (
        r"down_blocks\.",
        message("a single component in the key names of diffusers; sdterm needs a complete checkpoint"),
    ),
    (r"(text_model|transformer\.text_model|encoder\.block\.\d+)\.", message("a text encoder alone")),
)
"""How the keys of a model begin, under the prefixes that files have → what it is. The first that fits counts."""

_PREFIXES = r"(model\.diffusion_model\.|diffusion_model\.|model\.|net\.|transformer\.)?"
_PATTERNS = tuple((re.compile(_PREFIXES + pattern), what) for pattern, what in _OTHERS)


def other(reader: WeightsReader) -> ModelMatch | None:
    """The refusal of a file that sdterm knows but does not draw with. A folder says itself what it is."""
    shapes = {} if reader.path.is_dir() else reader.shapes()
    for pattern, what in _PATTERNS:
        if any(pattern.match(key) for key in shapes):
            if ";" in what:
                return ModelMatch(refusal=message("{file} is {kind}.", file=reader.path.name, kind=what))
            said = message("{file} is {kind}, which sdterm does not support.", file=reader.path.name, kind=what)
            return ModelMatch(refusal=said)
    return None
