"""Stable Diffusion 1.x: single-file checkpoints in the original (LDM) key names.

The modules are diffusers' and transformers' own, built empty and filled from the file.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sdterm.hooks import ModelFamily, ModelMatch, PluginError, TokenRules, WeightsReader, hookimpl
from sdterm.plugins.sd1 import architecture, keys

if TYPE_CHECKING:
    import torch

    from sdterm.plugins.sd1.components import SD1Components

TOKENS = TokenRules(start=49406, end=49407, pad=49407, comma=267)

_FOR_NOW = "sdterm draws with SD 1.x text-to-image checkpoints for now"
_REFUSALS = {
    "conditioner.embedders.": f"is an SDXL checkpoint; {_FOR_NOW}",
    "cond_stage_model.model.": f"is an SD 2 checkpoint; {_FOR_NOW}",
    "model.diffusion_model.joint_blocks.": f"is an SD 3 checkpoint; {_FOR_NOW}",
    "lora_": "is a LoRA, not a checkpoint; those go to models/Lora",
    "down_blocks.": f"is a single part in diffusers' key names; {_FOR_NOW}, as one file in the original names",
}


def detect(reader: WeightsReader) -> ModelMatch | None:
    """SD 1.x by its key names; its relatives by theirs, to refuse them with a sentence."""
    shapes, name = reader.shapes(), reader.path.name
    for prefix, sentence in _REFUSALS.items():
        if any(key.startswith(prefix) for key in shapes):
            return ModelMatch(refusal=f"{name} {sentence}.")
    parts = {"UNet": keys.UNET, "VAE": keys.VAE, "text encoder": keys.TEXT}
    missing = [part for part, prefix in parts.items() if not any(key.startswith(prefix) for key in shapes)]
    if len(missing) == len(parts):
        return None
    if missing:
        return ModelMatch(refusal=f"{name} has no {missing[0]}; sdterm needs a complete checkpoint.")
    channels = shapes.get(keys.UNET + "input_blocks.0.0.weight", (0, 0))[1]
    if channels != 4:
        kind = {9: "an inpainting", 8: "an instruct-pix2pix"}.get(channels, "an unusual")
        return ModelMatch(refusal=f"{name} is {kind} checkpoint; {_FOR_NOW}.")
    stated = architecture.stated(reader)
    if stated.prediction != "epsilon":
        return ModelMatch(refusal=f"{name} predicts {stated.prediction}, not noise; {_FOR_NOW}.")
    return ModelMatch(native_size=stated.native_size, downscale=8)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> SD1Components:
    """Read the checkpoint into modules. Raises PluginError if its tensors do not fit together."""
    import torch

    # Both print advice to stderr, which spoils a terminal interface, and both may ask a hub for files they are given.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with _bare_packages("diffusers.models.transformers", "diffusers.models.unets", "diffusers.models.autoencoders"):
        unet_2d = importlib.import_module("diffusers.models.unets.unet_2d_condition")
        autoencoder = importlib.import_module("diffusers.models.autoencoders.autoencoder_kl")
    clip = importlib.import_module("transformers.models.clip.modeling_clip")
    from sdterm.plugins.sd1.components import SD1Components
    from sdterm.plugins.sd1.layers import layers_of

    try:
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            unet = unet_2d.UNet2DConditionModel(**architecture.unet_config(reader))
            vae = autoencoder.AutoencoderKL(**architecture.vae_config(reader))
            text_config = clip.CLIPTextConfig(**architecture.text_config(reader), attn_implementation="sdpa")
            text_encoder = clip.CLIPTextModel(text_config)
    except Exception as error:  # two libraries' many ways to refuse sizes that do not go together
        reason = str(error).strip().split("\n")[-1].strip()
        raise PluginError(f"{reader.path.name} is not built like an SD 1.x model: {reason}") from error
    shapes = reader.shapes()
    modules = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
    sources = {"unet": keys.unet_keys(shapes), "vae": keys.vae_keys(shapes), "text_encoder": keys.text_keys(shapes)}
    for part, module in modules.items():
        _fill(module, sources[part], reader, device, dtype)
    positions = torch.arange(text_config.max_position_embeddings, device=device)
    text_encoder.embeddings.position_ids = positions[None]  # a buffer that no checkpoint needs to hold
    names = {part: {key: (name,) for key, name in own.items()} for part, own in sources.items()}
    return SD1Components(reader, text_encoder, unet, vae, layers_of(modules, names), device, dtype)


def tokenize(text: str) -> list[int]:
    """CLIP's token ids, without start, end and padding."""
    from sdterm.plugins.sd1.tokenizer import tokenize

    return tokenize(text)


def _fill(
    module: torch.nn.Module,
    names: Mapping[str, str],
    reader: WeightsReader,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Put a checkpoint's tensors in place of the module's empty ones. names: key in the file → name in the module."""
    state = dict(module.state_dict())
    name = reader.path.name
    if absent := sorted(state.keys() - set(names.values())):
        raise PluginError(f"{name} lacks {len(absent)} tensors that an SD 1.x model needs, {absent[0]} among them.")
    wanted = {key: own for key, own in names.items() if own in state}
    tensors = reader.read(list(wanted), device, dtype)
    loaded: dict[str, torch.Tensor] = {}
    for key, own in wanted.items():
        tensor = tensors.pop(key)
        if tensor.dim() == 4 and state[own].dim() == 2:
            tensor = tensor[:, :, 0, 0]  # LDM's 1x1 convolutions of the VAE's attention are diffusers' linear layers
        if tensor.shape != state[own].shape:
            have, need = tuple(tensor.shape), tuple(state[own].shape)
            raise PluginError(f"{name} has {key} of shape {have} where an SD 1.x model of its kind has {need}.")
        loaded[own] = tensor
    module.load_state_dict(loaded, assign=True)
    module.requires_grad_(False).eval()


@contextmanager
def _bare_packages(*names: str) -> Iterator[None]:
    """Let a module be imported without the front door of its package. Three of diffusers' front doors import every
    model there is, which costs half a second; what is imported later goes through them again."""
    bare: dict[str, ModuleType] = {}
    for name in names:
        if name not in sys.modules:
            parent, _, leaf = name.rpartition(".")
            module: Any = ModuleType(name)
            module.__path__ = [os.path.join(path, leaf) for path in importlib.import_module(parent).__path__]
            bare[name] = sys.modules[name] = module
    try:
        yield
    finally:
        for name, module in bare.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@hookimpl
def sdterm_model_families() -> list[ModelFamily]:
    return [ModelFamily(id="sd1", label="SD 1.x", detect=detect, build=build, tokens=TOKENS, tokenize=tokenize)]
