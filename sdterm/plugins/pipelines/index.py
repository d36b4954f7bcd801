"""What a diffusers folder is made of, checked before a class that it names is looked at.

Its `model_index.json` names the pipeline's class, and each part's library and class there. A name is all it takes to
have a module imported, so only those of diffusers and transformers count.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdterm.hooks import CheckpointReader, PluginError
from sdterm.messages import message
from sdterm.modelling.pipelines.classes import PipelineClass, is_of, pipeline_class

INDEX = "model_index.json"
UNUSED = "safety_checker"
"""The part that is neither read nor called, and need not be there."""
_LIBRARIES = ("diffusers", "transformers")
_PACKAGES: Mapping[str, tuple[str, str]] = {
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "torchao": ("torchao", "torchao"),
    "quanto": ("optimum", "optimum-quanto"),
    "gguf": ("gguf", "gguf"),
}
"""How a part's weights may be quantized → the module that reads such, and the package that has it."""
DENOISERS = ("transformer", "unet", "prior", "decoder")
"""What the part that predicts is called."""


@dataclass(frozen=True)
class Index:
    """What a folder says it is. parts: part → library and class; absent: parts that it is to do without."""

    kind: PipelineClass
    parts: Mapping[str, tuple[str, str]]
    absent: tuple[str, ...]

    @property
    def denoiser(self) -> str:
        """The name of the part that predicts."""
        return next((name for name in DENOISERS if name in self.parts), "")


def index_of(reader: CheckpointReader) -> Index | None:
    """What a diffusers folder is made of; None for a single file. Raises PluginError if it names what is not loaded."""
    said, name = reader.content, reader.path.name
    if not isinstance(said, Mapping) or not reader.parts:
        return None
    kind = said.get("_class_name")
    if not isinstance(kind, str):
        raise PluginError(
            message("{model} contains its own pipeline as Python code, which sdterm does not run.", model=name)
        )
    known = pipeline_class(kind)
    if known is None:
        raise PluginError(
            message(
                "{model} needs the pipeline {kind}, which the installed diffusers does not have. A newer "
                "diffusers may have it.",
                model=name,
                kind=kind,
            )
        )
    parts, absent = {}, []
    for part, value in said.items():
        match value:
            case [None, None]:
                absent.append(part)
            case [str(library), str(class_name)]:
                if library not in _LIBRARIES and not is_of(library, class_name):
                    raise PluginError(
                        message(
                            "{model} is not loaded: for {part} its {file} asks for {kind} from {library}, "
                            "and sdterm only loads code from diffusers and transformers.",
                            model=name,
                            part=part,
                            file=INDEX,
                            kind=class_name,
                            library=library,
                        )
                    )
                parts[part] = library, class_name
    return Index(known, parts, tuple(absent))


def missing_package(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """(how a part is quantized, the package that reads such and is not there), by the part's configuration."""
    said = config.get("quantization_config")
    method = str(said.get("quant_method", "")) if isinstance(said, Mapping) else ""
    for known, (module, package) in _PACKAGES.items():
        if method.startswith(known) and importlib.util.find_spec(module) is None:
            return method, package
    return None
