"""What a checkpoint says of itself beyond its tensors' shapes.

It says so in its header, and in the `.yaml` beside it, which counts more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from sdterm.hooks import PluginError, WeightsReader
from sdterm.messages import message
from sdterm.plugins.sd import folder

_DEMO = Path(__file__).parents[2] / "models" / "sdterm-demo.safetensors"
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"

Prediction = Literal["epsilon", "v"]


class UNetStatement(BaseModel):
    attention_head_dim: int | None = Field(None, ge=1, le=128)
    """Heads of every attention."""
    head_width: int | None = Field(None, ge=1, le=1024)
    """Channels of a head, where their number is not said."""
    norm_num_groups: int = Field(32, ge=1, le=1024)


class VaeStatement(BaseModel):
    norm_num_groups: int = Field(32, ge=1, le=1024)
    scaling_factor: float | None = Field(None, gt=0, allow_inf_nan=False)


class TextStatement(BaseModel):
    num_attention_heads: int | None = Field(None, ge=1, le=128)
    hidden_act: Literal["quick_gelu", "gelu"] | None = None


class ScheduleStatement(BaseModel):
    linear_start: float = Field(0.00085, gt=0, lt=1)
    linear_end: float = Field(0.012, gt=0, lt=1)
    timesteps: int = Field(1000, ge=10, le=10_000)


class Statement(BaseModel):
    """None: the file does not say; its family knows what is usual."""

    prediction: str | None = None
    zero_terminal_snr: bool = False
    """Whether it was trained up to noise without any signal."""
    native_size: int | None = Field(None, ge=64, le=4096, multiple_of=8)
    unet: UNetStatement = UNetStatement()
    vae: VaeStatement = VaeStatement()
    text_encoder: TextStatement = TextStatement()
    schedule: ScheduleStatement = ScheduleStatement()


def stated(reader: WeightsReader) -> Statement:
    """What the file or its `.yaml` says of itself. Raises PluginError if it makes no sense."""
    try:
        if folder.is_folder(reader.shapes()):
            return Statement.model_validate(folder.said_of(reader))
        said = _from_header(reader)
        if architecture := reader.metadata.get("sdterm.architecture") or _of_the_demo_model(reader.shapes()):
            said = _over(said, json.loads(architecture))
        if reader.config is not None:
            said = _over(said, _from_yaml(reader.config["model"]["params"]))
        return Statement.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise PluginError(
            message(
                "{file} describes its architecture incorrectly: {field}: {problem}.",
                file=reader.path.name,
                field=where,
                problem=first["msg"],
            )
        ) from error
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise PluginError(
            message("{file} describes its architecture incorrectly ({problem}).", file=reader.path.name, problem=error)
        ) from error


def _over(said: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both, the second where they differ."""
    both = {key: {**said.get(key, {}), **value} for key, value in more.items() if isinstance(value, Mapping)}
    return {**said, **more, **both}


def _from_yaml(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """LDM's configuration, or that of Stability's generative models (sgm), in our words."""
    unet = params["network_config" if "network_config" in params else "unet_config"]["params"]
    heads = {"attention_head_dim": unet["num_heads"]} if "num_heads" in unet else {}
    if unet.get("num_head_channels", -1) != -1:
        heads = {"head_width": unet["num_head_channels"]}
    text = params.get("cond_stage_config", {}).get("params") or {}
    first_stage = params.get("first_stage_config", {}).get("params", {}).get("ddconfig", {})
    vae = {"scaling_factor": params["scale_factor"]} if "scale_factor" in params else {}
    said = {
        "unet": heads,
        "vae": vae | ({"norm_num_groups": first_stage["num_groups"]} if "num_groups" in first_stage else {}),
        "text_encoder": {key: text[key] for key in ("num_attention_heads", "hidden_act") if key in text},
        "schedule": {key: params[key] for key in ("linear_start", "linear_end", "timesteps") if key in params},
    }
    scaling = params.get("denoiser_config", {}).get("params", {}).get("scaling_config", {}).get("target", "")
    if "parameterization" in params or "denoiser_config" not in params:
        asked = params.get("parameterization", "eps")
        return said | {"prediction": {"eps": "epsilon"}.get(asked, asked)}
    kind = str(scaling).rpartition(".")[2].removesuffix("Scaling")
    return said | {"prediction": {"Eps": "epsilon", "V": "v"}.get(kind, kind)}


def _of_the_demo_model(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What the demo model says of itself, for copies that another tool changed or merged: their headers have lost it,
    and their shapes, but for the input channels of an inpainting copy, are no other model's."""
    known, architecture = _demo()
    return architecture if known | {_FIRST: shapes.get(_FIRST, ())} == dict(shapes) else None


@cache
def _demo() -> tuple[dict[str, tuple[int, ...]], str]:
    """The demo model's shapes and what it says of itself, from its header."""
    with _DEMO.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    architecture: str = header.pop("__metadata__")["sdterm.architecture"]
    return {key: tuple(tensor["shape"]) for key, tensor in header.items()}, architecture


def _from_header(reader: WeightsReader) -> Mapping[str, Any]:
    """Marks that people put into files: the model specification's metadata, and tensors named for nothing else."""
    shapes, said = reader.shapes(), dict[str, Any]()
    prediction = reader.metadata.get("modelspec.prediction_type", "").lower()
    if prediction or "v_pred" in shapes:
        said["prediction"] = "v" if prediction.startswith("v") or "v_pred" in shapes else "epsilon"
    return said | ({"zero_terminal_snr": True} if "ztsnr" in shapes else {})
