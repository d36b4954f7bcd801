"""LDM's tensor names → diffusers' and transformers'.

The layout is regular: with L levels of n layers, LDM's running block numbers follow from counting. Each function
returns {key in the file: names in the module}; of several names each is an equal share of the tensor's rows.
"""

import re
from collections.abc import Mapping

UNET, VAE = "model.diffusion_model.", "first_stage_model."

Names = Mapping[str, tuple[str, ...]]
Shapes = Mapping[str, tuple[int, ...]]

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "class_embedding.linear_1",
    "label_emb.0.2": "class_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_OPEN_CLIP = {
    "ln_1": ("layer_norm1",),
    "ln_2": ("layer_norm2",),
    "mlp.c_fc": ("mlp.fc1",),
    "mlp.c_proj": ("mlp.fc2",),
    "attn.in_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.out_proj": ("self_attn.out_proj",),
}
_OPEN_CLIP_ENDS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_VAE_PARTS = {
    "nin_shortcut": "conv_shortcut",
    "norm_out": "conv_norm_out",
    "mid.block_1": "mid_block.resnets.0",
    "mid.block_2": "mid_block.resnets.1",
    "mid.attn_1.norm": "mid_block.attentions.0.group_norm",
    "mid.attn_1.q": "mid_block.attentions.0.to_q",
    "mid.attn_1.k": "mid_block.attentions.0.to_k",
    "mid.attn_1.v": "mid_block.attentions.0.to_v",
    "mid.attn_1.proj_out": "mid_block.attentions.0.to_out.0",
}


def levels(shapes: Shapes) -> list[list[int]]:
    """The UNet's input blocks by resolution: block numbers of the layers, level by level."""
    found: list[list[int]] = [[]]
    number = 1
    while any(key.startswith(f"{UNET}input_blocks.{number}.") for key in shapes):
        if f"{UNET}input_blocks.{number}.0.op.weight" in shapes:
            found.append([])
        else:
            found[-1].append(number)
        number += 1
    return found


def unet_keys(shapes: Shapes) -> Names:
    names = dict(_UNET_ENDS)
    down = levels(shapes)
    layers = len(down[0])
    for level, blocks in enumerate(down):
        for layer, number in enumerate(blocks):
            names[f"input_blocks.{number}.0"] = f"down_blocks.{level}.resnets.{layer}"
            names[f"input_blocks.{number}.1"] = f"down_blocks.{level}.attentions.{layer}"
        names[f"input_blocks.{blocks[-1] + 1}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
        for layer in range(layers + 1):
            number = level * (layers + 1) + layer
            names[f"output_blocks.{number}.0"] = f"up_blocks.{level}.resnets.{layer}"
            names[f"output_blocks.{number}.1"] = f"up_blocks.{level}.attentions.{layer}"
            for position in (1, 2):  # behind the attention, if the level has one
                names[f"output_blocks.{number}.{position}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    return {key: (_renamed(key.removeprefix(UNET), names, _RESNET),) for key in shapes if key.startswith(UNET)}


def vae_keys(shapes: Shapes, prefix: str = VAE) -> Names:
    own = [key for key in shapes if key.startswith(prefix)]
    count = 1 + max((int(m[1]) for key in own if (m := re.search(r"encoder\.down\.(\d+)\.", key))), default=0)
    names: dict[str, str] = {}
    for level in range(count):
        names |= {f"encoder.down.{level}.block": f"encoder.down_blocks.{level}.resnets"}
        names |= {f"encoder.down.{level}.downsample": f"encoder.down_blocks.{level}.downsamplers.0"}
        up = f"decoder.up_blocks.{count - 1 - level}"  # LDM counts the decoder's levels from the image, not from z
        names |= {f"decoder.up.{level}.block": f"{up}.resnets", f"decoder.up.{level}.upsample": f"{up}.upsamplers.0"}
    names |= {f"{half}.{ldm}": f"{half}.{ours}" for half in ("encoder", "decoder") for ldm, ours in _VAE_PARTS.items()}
    return {key: (_renamed(key.removeprefix(prefix), names, _VAE_PARTS),) for key in own}


def clip_keys(shapes: Shapes, prefix: str) -> Names:
    """Of a text encoder that is in transformers' layout already."""
    own = (key for key in shapes if key.startswith(prefix))
    return {key: (key.removeprefix(prefix).removeprefix("text_model."),) for key in own}


def open_clip_keys(shapes: Shapes, prefix: str) -> Names:
    """Of a text encoder in OpenCLIP's layout, which has query, key and value in one tensor."""
    names: dict[str, tuple[str, ...]] = {}
    for key in (key for key in shapes if key.startswith(prefix)):
        own = key.removeprefix(prefix)
        if own in _OPEN_CLIP_ENDS:
            names[key] = (_OPEN_CLIP_ENDS[own],)
        elif layer := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.*)[._](weight|bias)", own):
            number, part, kind = layer.groups()
            parts = _OPEN_CLIP.get(part, ())
            names[key] = tuple(f"encoder.layers.{number}.{each}.{kind}" for each in parts)
    return names


def _renamed(key: str, prefixes: Mapping[str, str], inner: Mapping[str, str]) -> str:
    """Replace the longest known prefix of a key, then the one inner part that has another name."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:length])) in prefixes:
            key = ".".join([prefixes[prefix], *parts[length:]])
            break
    for ldm, ours in inner.items():
        if f".{ldm}." in key:
            return key.replace(f".{ldm}.", f".{ours}.")
    return key
