"""The architecture of an SD 1.x checkpoint, as configurations for diffusers and transformers.

Sizes come from tensor shapes. What shapes cannot tell (head counts, group-norm groups, scaling factor, noise schedule)
comes from the file's `sdterm.architecture` metadata, else from the `.yaml` beside it, else it is SD 1.5's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from sdterm.hooks import PluginError, WeightsReader
from sdterm.plugins.sd1.keys import TEXT, UNET, VAE, levels

if TYPE_CHECKING:
    from numpy.typing import NDArray


class UNetStatement(BaseModel):
    attention_head_dim: int = Field(8, ge=1, le=128)
    norm_num_groups: int = Field(32, ge=1, le=1024)


class VaeStatement(BaseModel):
    norm_num_groups: int = Field(32, ge=1, le=1024)
    scaling_factor: float = Field(0.18215, gt=0, allow_inf_nan=False)


class TextStatement(BaseModel):
    num_attention_heads: int | None = Field(None, ge=1, le=128)
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"


class ScheduleStatement(BaseModel):
    linear_start: float = Field(0.00085, gt=0, lt=1)
    linear_end: float = Field(0.012, gt=0, lt=1)
    timesteps: int = Field(1000, ge=10, le=10_000)


class Statement(BaseModel):
    """What a checkpoint says of itself beyond its shapes. The defaults are SD 1.5's."""

    prediction: str = "epsilon"
    native_size: int = Field(512, ge=64, le=4096, multiple_of=8)
    unet: UNetStatement = UNetStatement()
    vae: VaeStatement = VaeStatement()
    text_encoder: TextStatement = TextStatement()
    schedule: ScheduleStatement = ScheduleStatement()


def stated(reader: WeightsReader) -> Statement:
    """What the file or its `.yaml` says of itself. Raises PluginError if it makes no sense."""
    try:
        if "sdterm.architecture" in reader.metadata:
            return Statement.model_validate_json(reader.metadata["sdterm.architecture"])
        if reader.config is not None:
            return Statement.model_validate(_from_yaml(reader.config["model"]["params"]))
        return Statement()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise PluginError(
            f"What {reader.path.name} says of its architecture is wrong: {where}: {first['msg']}."
        ) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise PluginError(f"What is said of {reader.path.name}'s architecture makes no sense ({error!r}).") from error


def _from_yaml(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """LDM's configuration in our words."""
    unet = params["unet_config"]["params"]
    heads = {"attention_head_dim": unet["num_heads"]} if "num_heads" in unet else {}
    text = params.get("cond_stage_config", {}).get("params") or {}
    return {
        "prediction": {"eps": "epsilon"}.get(params.get("parameterization", "eps"), params.get("parameterization")),
        "unet": heads,
        "vae": {"scaling_factor": params.get("scale_factor", 0.18215)},
        "text_encoder": {key: text[key] for key in ("num_attention_heads", "hidden_act") if key in text},
        "schedule": {key: params[key] for key in ("linear_start", "linear_end", "timesteps") if key in params},
    }


def unet_config(reader: WeightsReader) -> dict[str, Any]:
    """For UNet2DConditionModel. Its `attention_head_dim` is, by an old mistake of names, the number of heads."""
    shapes, said = reader.shapes(), stated(reader).unet
    down = levels(shapes)
    attends = [f"{UNET}input_blocks.{blocks[0]}.1.norm.weight" in shapes for blocks in down]
    context = next((s for key, s in shapes.items() if key.startswith(UNET) and key.endswith("attn2.to_k.weight")), None)
    if context is None:
        raise ValueError("it has no cross-attention")
    return {
        "block_out_channels": [shapes[f"{UNET}input_blocks.{b[-1]}.0.out_layers.3.weight"][0] for b in down],
        "layers_per_block": len(down[0]),
        "cross_attention_dim": context[1],
        "attention_head_dim": said.attention_head_dim,
        "norm_num_groups": said.norm_num_groups,
        "down_block_types": ["CrossAttnDownBlock2D" if attends_here else "DownBlock2D" for attends_here in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if attends_here else "UpBlock2D" for attends_here in reversed(attends)],
    }


def vae_config(reader: WeightsReader) -> dict[str, Any]:
    """For AutoencoderKL."""
    shapes, said = reader.shapes(), stated(reader).vae
    channels: list[int] = []
    while (key := f"{VAE}encoder.down.{len(channels)}.block.0.conv1.weight") in shapes:
        channels.append(shapes[key][0])
    layers = sum(f"{VAE}encoder.down.0.block.{layer}.conv1.weight" in shapes for layer in range(8))
    return {
        "block_out_channels": channels,
        "layers_per_block": layers,
        "latent_channels": shapes[VAE + "post_quant_conv.weight"][0],
        "norm_num_groups": said.norm_num_groups,
        "scaling_factor": said.scaling_factor,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "sample_size": 512,
    }


def text_config(reader: WeightsReader) -> dict[str, Any]:
    """For CLIPTextModel."""
    shapes = {key.removeprefix(TEXT).removeprefix("text_model."): s for key, s in reader.shapes().items()}
    said = stated(reader).text_encoder
    vocabulary, hidden = shapes["embeddings.token_embedding.weight"]
    layers = 0
    while f"encoder.layers.{layers}.mlp.fc1.weight" in shapes:
        layers += 1
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": layers,
        "num_attention_heads": said.num_attention_heads or max(1, hidden // 64),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "hidden_act": said.hidden_act,
        "projection_dim": hidden,
    }


def alphas_cumprod(reader: WeightsReader) -> NDArray[Any]:
    """float32 [T], LDM's "scaled linear" schedule: sqrt(beta) rises evenly (ldm make_beta_schedule, in float64)."""
    import numpy as np  # 12 MB, which whoever only recognises files does not owe

    said = stated(reader).schedule
    betas = np.linspace(said.linear_start**0.5, said.linear_end**0.5, said.timesteps, dtype=np.float64) ** 2
    return np.cumprod(1.0 - betas).astype(np.float32)
