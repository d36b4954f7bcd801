"""The architecture of a checkpoint in LDM's layout, as configurations for diffusers and transformers.

Sizes come from tensor shapes, the rest from what the file says of itself and what its family knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdterm.hooks import WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd.keys import UNET, VAE, Shapes, levels
from sdterm.plugins.sd.statement import stated

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Usual:
    """What shapes cannot tell and files mostly do not say, as it is in a family's own checkpoints."""

    scaling_factor: float = 0.18215
    heads: int | None = None
    """Of every attention of the UNet; None: as many as are 64 channels wide."""


HEAD_WIDTH = 64


def unet_config(reader: WeightsReader, usual: Usual) -> dict[str, Any]:
    """For UNet2DConditionModel. Its `attention_head_dim` is, by an old mistake of names, the number of heads."""
    shapes, said = reader.shapes(), stated(reader).unet
    down = levels(shapes)
    channels = [shapes[f"{UNET}input_blocks.{blocks[-1]}.0.out_layers.3.weight"][0] for blocks in down]
    depths = [_even([_depth(shapes, f"input_blocks.{number}.1") for number in blocks]) for blocks in down]
    middle = _depth(shapes, "middle_block.1")
    context = next((s for key, s in shapes.items() if key.startswith(UNET) and key.endswith("attn2.to_k.weight")), None)
    if context is None:
        raise ValueError(message("it has no cross-attention"))
    heads = said.attention_head_dim or (None if said.head_width else usual.heads)
    projections = (s for key, s in shapes.items() if key.startswith(UNET) and key.endswith("1.proj_in.weight"))
    vector = shapes.get(f"{UNET}label_emb.0.0.weight")
    return {
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": len(down[0]),
        "cross_attention_dim": context[1],
        "attention_head_dim": heads or [max(1, c // (said.head_width or HEAD_WIDTH)) for c in channels],
        "norm_num_groups": said.norm_num_groups,
        "use_linear_projection": len(next(projections, ())) == 2,
        # Where a level has no transformers its depth is not looked at, but the middle takes the last level's.
        "transformer_layers_per_block": [depth or 1 for depth in depths[:-1]] + [middle or depths[-1] or 1],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        **(
            {"class_embed_type": "projection", "projection_class_embeddings_input_dim": vector[1]}
            if vector is not None
            else {}
        ),
    }


def _depth(shapes: Shapes, block: str) -> int:
    """How many transformer blocks are in one attention of the UNet."""
    depth = 0
    while f"{UNET}{block}.transformer_blocks.{depth}.norm1.weight" in shapes:
        depth += 1
    return depth


def _even(depths: list[int]) -> int:
    if len(set(depths)) > 1:
        raise ValueError(
            message(
                "its transformers have different depths in one level ({depths})", depths=", ".join(map(str, depths))
            )
        )
    return depths[0]


def vae_config(reader: WeightsReader, usual: Usual, shapes: Shapes, prefix: str = VAE) -> dict[str, Any]:
    """For AutoencoderKL. reader: of the checkpoint that says what shapes cannot tell; shapes: of the file that the VAE
    is in."""
    said = stated(reader).vae
    channels: list[int] = []
    while (key := f"{prefix}encoder.down.{len(channels)}.block.0.conv1.weight") in shapes:
        channels.append(shapes[key][0])
    layers = sum(f"{prefix}encoder.down.0.block.{layer}.conv1.weight" in shapes for layer in range(8))
    return {
        "block_out_channels": channels,
        "layers_per_block": layers,
        "latent_channels": shapes[prefix + "post_quant_conv.weight"][0],
        "norm_num_groups": said.norm_num_groups,
        "scaling_factor": said.scaling_factor or usual.scaling_factor,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "sample_size": 512,
    }


def clip_config(reader: WeightsReader, prefix: str) -> dict[str, Any]:
    """For CLIPTextModel, of a text encoder in transformers' layout."""
    shapes = {key.removeprefix(prefix).removeprefix("text_model."): s for key, s in reader.shapes().items()}
    said = stated(reader).text_encoder
    vocabulary, hidden = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, "encoder.layers.{}.mlp.fc1.weight"),
        "num_attention_heads": said.num_attention_heads or max(1, hidden // HEAD_WIDTH),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "hidden_act": said.hidden_act or "quick_gelu",
        "projection_dim": hidden,
    }


def open_clip_config(reader: WeightsReader, prefix: str) -> dict[str, Any]:
    """For CLIPTextModel, of a text encoder in OpenCLIP's layout."""
    shapes = {key.removeprefix(prefix): s for key, s in reader.shapes().items() if key.startswith(prefix)}
    vocabulary, hidden = shapes["token_embedding.weight"]
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        "num_hidden_layers": _count(shapes, "transformer.resblocks.{}.mlp.c_fc.weight"),
        "num_attention_heads": max(1, hidden // HEAD_WIDTH),
        "max_position_embeddings": shapes["positional_embedding"][0],
        "hidden_act": "gelu",
        "projection_dim": shapes.get("text_projection", (hidden, hidden))[1],
    }


def _count(shapes: Shapes, layer: str) -> int:
    layers = 0
    while layer.format(layers) in shapes:
        layers += 1
    return layers


def alphas_cumprod(reader: WeightsReader) -> NDArray[Any]:
    """float32 [T], LDM's "scaled linear" schedule: sqrt(beta) rises evenly (ldm make_beta_schedule, in float64)."""
    import numpy as np  # 12 MB, which whoever only recognises files does not owe

    said = stated(reader).schedule
    betas = np.linspace(said.linear_start**0.5, said.linear_end**0.5, said.timesteps, dtype=np.float64) ** 2
    return np.cumprod(1.0 - betas).astype(np.float32)
