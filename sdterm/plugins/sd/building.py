"""diffusers' modules and CLIP's, built without memory and filled from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch.overrides import TorchFunctionMode

import sdterm.modelling.offline  # noqa: F401 before what it is about
from sdterm.hooks import PluginError, WeightsReader
from sdterm.messages import message, plural
from sdterm.plugins.sd import architecture, folder, keys
from sdterm.plugins.sd.architecture import Usual
from sdterm.plugins.sd.clip_text import ClipTextModel, TextConfig
from sdterm.plugins.sd.diffusers_models import models
from sdterm.plugins.sd.keys import VAE, Names
from sdterm.plugins.sd.recognition import has


class Part(NamedTuple):
    """A module of a checkpoint, filled."""

    module: torch.nn.Module
    names: Names
    """Key in the file → the module's own names for it."""


@dataclass(frozen=True)
class Source:
    """Where modules are read from, and how."""

    reader: WeightsReader
    device: torch.device
    dtype: torch.dtype
    kind: str
    """What error messages call such a model: `an SD 1.x model`."""
    usual: Usual

    def __post_init__(self) -> None:
        """What takes long to import is imported before the first tensor is read, from when on progress is told."""
        models()


def unet(source: Source) -> Part:
    reader = source.reader
    if folder.is_folder(reader.shapes()):
        config, names = folder.unet(reader)
    else:
        config, names = None, keys.unet_keys(reader.shapes())

    def empty() -> torch.nn.Module:
        made: torch.nn.Module = models().unet(**(config or architecture.unet_config(reader, source.usual)))
        for layer in made.modules():
            if type(layer).__name__ == "Upsample2D":  # of a module that is imported here alone
                layer.__class__ = _upsampling(cast(Any, type(layer)))
        return made

    return Part(_built(source, empty, names), names)


@cache
def _upsampling(upsample: Any) -> Any:
    """diffusers' class of upsampling, but odd sides are fitted after its convolution, as A1111 does it, not before."""

    class Doubling(upsample):  # type: ignore[misc]  # known at run time only
        def forward(self, hidden: torch.Tensor, output_size: Any = None, *more: Any) -> torch.Tensor:
            doubled: torch.Tensor = super().forward(hidden, None, *more)
            if output_size is None or doubled.shape[2:] == tuple(output_size):
                return doubled
            return torch.nn.functional.interpolate(doubled, size=output_size, mode="nearest")

    return Doubling


def vae(source: Source) -> Part:
    """The separate VAE that was asked for, else the checkpoint's own."""
    reader = source.reader.vae or source.reader
    config: dict[str, Any] | None = None
    prefix = VAE if reader is source.reader or has(reader.shapes(), VAE) else ""
    if reader is source.reader and folder.is_folder(reader.shapes()):
        config, names = folder.vae(reader)
    else:
        names = keys.vae_keys(reader.shapes(), prefix)

    def empty() -> torch.nn.Module:
        made: torch.nn.Module = models().vae(
            **(config or architecture.vae_config(source.reader, source.usual, reader.shapes(), prefix))
        )
        return made

    kind = source.kind if reader is source.reader else message("the VAE of {kind}", kind=source.kind)
    return Part(_built(replace(source, reader=reader, kind=kind), empty, names), names)


def text_of_folder(source: Source, part: str, *, pools: bool = False) -> Part:
    """A text encoder of a folder. pools: it has a `text_projection`."""
    config, names = folder.text(source.reader, part)
    encoder = _text_encoder(source, lambda: config, names)
    if pools:
        _add_projection(encoder.module, source, f"{part}.text_projection.weight", turned=True)
    return encoder


def clip(source: Source, prefix: str) -> Part:
    """A text encoder in transformers' layout."""
    names = keys.clip_keys(source.reader.shapes(), prefix)
    return _text_encoder(source, lambda: architecture.clip_config(source.reader, prefix), names)


def open_clip(source: Source, prefix: str, *, pools: bool = True) -> Part:
    """A text encoder in OpenCLIP's layout. pools: it has a `text_projection` [hidden, pooled]."""
    reader, names = source.reader, keys.open_clip_keys(source.reader.shapes(), prefix)
    encoder = _text_encoder(source, lambda: architecture.open_clip_config(reader, prefix), names)
    if pools:
        _add_projection(encoder.module, source, f"{prefix}text_projection")
    return encoder


def _add_projection(module: torch.nn.Module, source: Source, key: str, *, turned: bool = False) -> None:
    """The matrix [hidden, pooled] that makes a pooled text of a state; as a linear layer's weight it is `turned`."""
    if key not in source.reader.shapes():
        raise PluginError(
            message(
                "{file} lacks {tensor}, which {kind} needs.", file=source.reader.path.name, tensor=key, kind=source.kind
            )
        )
    matrix = source.reader.read([key], source.device, source.dtype)[key]
    projection = matrix.T.contiguous() if turned else matrix
    module.register_parameter("text_projection", torch.nn.Parameter(projection, requires_grad=False))


def _text_encoder(source: Source, config: Callable[[], dict[str, Any]], names: Names) -> Part:
    return Part(_built(source, lambda: ClipTextModel(TextConfig(**config())), names), names)


def _built(source: Source, empty: Callable[[], torch.nn.Module], names: Names) -> torch.nn.Module:
    """Raises PluginError if the tensors do not fit together."""
    try:
        with torch.device("meta"), _Unfilled():  # no memory for weights that are replaced at once
            module = empty()
    except PluginError:
        raise
    except Exception as error:  # many ways to refuse sizes that do not go together
        reason = str(error).strip().split("\n")[-1].strip()
        raise PluginError(
            message(
                "{file} is not built like {kind}: {problem}",
                file=source.reader.path.name,
                kind=source.kind,
                problem=reason,
            )
        ) from error
    _fill(module, names, source)
    return module


class _Unfilled(TorchFunctionMode):
    """Nothing is filled with random numbers. Without memory, that would import torch's compiler."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return function(*args, **given)


def _fill(module: torch.nn.Module, names: Names, source: Source) -> None:
    """Put a checkpoint's tensors in place of the module's empty ones."""
    state, name, kind = dict(module.state_dict()), source.reader.path.name, source.kind
    if absent := sorted(state.keys() - {own for owns in names.values() for own in owns}):
        raise PluginError(
            plural(
                "{file} lacks the tensor {tensor}, which {kind} needs.",
                "{file} lacks {number} tensors that {kind} needs, for example {tensor}.",
                len(absent),
                file=name,
                kind=kind,
                tensor=absent[0],
            )
        )
    wanted = {key: owns for key, owns in names.items() if any(own in state for own in owns)}
    tensors = source.reader.read(list(wanted), source.device, source.dtype)
    loaded: dict[str, torch.Tensor] = {}
    for key, owns in wanted.items():
        tensor = tensors.pop(key)
        shares = tensor.chunk(len(owns)) if len(owns) > 1 else (tensor,)
        if len(shares) != len(owns):
            raise PluginError(
                message(
                    "{file} has {tensor} with shape {shape}, which cannot be split into {number}.",
                    file=name,
                    tensor=key,
                    shape=tuple(tensor.shape),
                    number=len(owns),
                )
            )
        for own, part in zip(owns, shares, strict=True):
            if part.dim() == 4 and state[own].dim() == 2:
                part = part[:, :, 0, 0]  # LDM's 1x1 convolutions of the VAE's attention are diffusers' linear layers
            if part.shape != state[own].shape:
                have, need = tuple(part.shape), tuple(state[own].shape)
                raise PluginError(
                    message(
                        "{file} has {tensor} with shape {have}, but {kind} needs {need}.",
                        file=name,
                        tensor=key,
                        have=have,
                        kind=kind,
                        need=need,
                    )
                )
            loaded[own] = part
    module.load_state_dict(loaded, assign=True)
    module.requires_grad_(False).eval()
