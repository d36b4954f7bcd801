"""Checkpoints that are folders as diffusers saves them.

A part's keys begin with the part, which has a configuration of its own. Each function gives what a module is built
with, and {key in the file: its names in the module}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdterm.hooks import PluginError, WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd.keys import Names, Shapes

_UNET = (
    *(
        "in_channels",
        "out_channels",
        "block_out_channels",
        "layers_per_block",
        "cross_attention_dim",
        "norm_num_groups",
    ),
    *("attention_head_dim", "use_linear_projection", "transformer_layers_per_block", "down_block_types"),
    *("mid_block_type", "up_block_types", "reverse_transformer_layers_per_block"),
)
_VAE = (
    *("block_out_channels", "layers_per_block", "latent_channels", "norm_num_groups", "scaling_factor"),
    *("down_block_types", "up_block_types", "sample_size", "force_upcast"),
)
_TEXT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("max_position_embeddings", "hidden_act", "projection_dim", "layer_norm_eps"),
)
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Of VAEs that were saved before diffusers 0.15."""


def is_folder(shapes: Shapes) -> bool:
    return "unet.conv_in.weight" in shapes


def part(reader: WeightsReader, name: str) -> Mapping[str, Any]:
    """A part's configuration; empty if there is none."""
    found = (reader.config or {}).get(name, {})
    if not isinstance(found, Mapping):
        raise PluginError(
            message("The configuration of {part} in {model} is not a table.", part=name, model=reader.path.name)
        )
    return found


def unet(reader: WeightsReader) -> tuple[dict[str, Any], Names]:
    """What a text's size and pooled vector become is the same with diffusers' two ways to embed them; ours is the one
    that takes the vector as a whole."""
    said = part(reader, "unet")
    config = {key: said[key] for key in _UNET if said.get(key) is not None}
    if said.get("addition_embed_type") == "text_time":
        config["class_embed_type"] = "projection"
        config["projection_class_embeddings_input_dim"] = said.get("projection_class_embeddings_input_dim")
    renamed = {key: own.replace("add_embedding.", "class_embedding.", 1) for key, own in _own(reader, "unet").items()}
    return config, {key: (own,) for key, own in renamed.items()}


def vae(reader: WeightsReader) -> tuple[dict[str, Any], Names]:
    said = part(reader, "vae")
    names: dict[str, tuple[str, ...]] = {}
    for key, own in _own(reader, "vae").items():
        parts = own.split(".")
        if "attentions" in parts:
            own = ".".join(_OLD_ATTENTION.get(each, each) for each in parts)
        names[key] = (own,)
    return {key: said[key] for key in _VAE if said.get(key) is not None}, names


def text(reader: WeightsReader, name: str) -> tuple[dict[str, Any], Names]:
    said = part(reader, name)
    names = {key: (own.removeprefix("text_model."),) for key, own in _own(reader, name).items()}
    return {key: said[key] for key in _TEXT if said.get(key) is not None}, names


def said_of(reader: WeightsReader) -> Mapping[str, Any]:
    """In the words of `statement.Statement`."""
    scheduler, size = part(reader, "scheduler"), part(reader, "unet").get("sample_size")
    prediction = scheduler.get("prediction_type", "epsilon")
    schedule = {"linear_start": "beta_start", "linear_end": "beta_end", "timesteps": "num_train_timesteps"}
    return {
        "prediction": {"v_prediction": "v"}.get(prediction, prediction),
        "zero_terminal_snr": bool(scheduler.get("rescale_betas_zero_snr")),
        "native_size": size * 8 if isinstance(size, int) else None,
        "schedule": {ours: scheduler[theirs] for ours, theirs in schedule.items() if theirs in scheduler},
    }


def _own(reader: WeightsReader, name: str) -> dict[str, str]:
    """Key → the name of the tensor within its part."""
    return {key: key.removeprefix(f"{name}.") for key in reader.shapes() if key.startswith(f"{name}.")}
