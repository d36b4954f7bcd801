"""What files say of themselves, and people of them: a safetensors header, A1111's user metadata beside a file."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sdterm.core.files import regular
from sdterm.core.library.scan import ModelFile
from sdterm.core.text import printable
from sdterm.messages import message

_LONGEST_HEADER = 100 * 2**20  # bytes
_LONGEST_NOTES = 2**20  # bytes
_CONTEXT = {768: "SD1", 1024: "SD2", 2048: "SDXL"}
"""How wide the texts are that a model's attention layers read."""


@dataclass(frozen=True)
class HeaderFacts:
    """What the library needs of a safetensors header."""

    alias: str = ""
    """What its maker called it (`ss_output_name`): prompts may call it so, too."""
    base: str = ""
    """The models it is for: SD1, SD2 or SDXL; empty if it does not say."""
    model_hash: str = ""
    """The hash that kohya's trainer wrote, which A1111 takes on trust."""
    vectors: int = 0
    width: int = 0
    """Of an embedding: how many vectors it has, and how many numbers each."""


@dataclass(frozen=True)
class Notes:
    """What a user wrote of a file: A1111's user metadata."""

    description: str = ""
    base: str = ""
    """`sd version`: SD1, SD2 or SDXL."""
    activation: str = ""
    """`activation text`: words for the prompt."""
    negative: str = ""
    """`negative text`: words for the negative prompt."""
    weight: float | None = None
    """`preferred weight`."""


def header_of(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, unchecked. Raises OSError, ValueError."""
    with open(path, "rb", opener=regular) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(message("its header is too long"))
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(message("its header is not a table"))
    return header


def metadata_of(path: Path) -> dict[str, str]:
    """What a safetensors header has beside its tensors; nothing of a file without such a header."""
    try:
        metadata = header_of(path).get("__metadata__") if path.suffix.lower() == ".safetensors" else None
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def header_facts(path: Path) -> dict[str, str | int]:
    """`HeaderFacts` by their names, those that there are; none of a file without such a header."""
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        header = header_of(path)
    except (OSError, ValueError, RecursionError):
        return {}
    metadata = header.pop("__metadata__", None)
    metadata = metadata if isinstance(metadata, dict) else {}
    vectors, width = _shape(header.get("emb_params")) or (0, 0)
    facts = HeaderFacts(
        _text(metadata.get("ss_output_name")),
        _base(metadata, header),
        _text(metadata.get("sshs_model_hash")),
        vectors,
        width,
    )
    return {name: value for name, value in vars(facts).items() if value}


def _base(metadata: Mapping[str, Any], tensors: Mapping[str, Any]) -> str:
    """By the trainer's word, as A1111 has it, else by the width of the texts that it is for."""
    version = f"{metadata.get('ss_base_model_version', '')} {metadata.get('modelspec.architecture', '')}"
    if "sdxl" in version or "stable-diffusion-xl" in version:
        return "SDXL"
    if str(metadata.get("ss_v2")) == "True" or "stable-diffusion-v2" in version:
        return "SD2"
    if "sd_v1" in version or "stable-diffusion-v1" in version:
        return "SD1"
    for key, tensor in tensors.items():
        if key.endswith(("attn2_to_k.lora_down.weight", "attn2.to_k.lora_A.weight", "emb_params")):
            shape = _shape(tensor)
            return _CONTEXT.get(shape[1], "") if shape else ""
    return "SDXL" if {"clip_l", "clip_g"} <= {*tensors} else ""


def _shape(tensor: Any) -> tuple[int, int] | None:
    """Of a matrix, as a header has it."""
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(size, int) for size in shape)):
        return None
    return shape[0], shape[1]


def licence_of(path: Path, metadata: Mapping[str, str]) -> str:
    """The licence that a model says it has: a diffusers folder in the head of its `README.md`, a file in its header's
    `metadata`. Empty if it does not say."""
    if not path.is_dir():
        return _text(metadata.get("modelspec.license"), 60)
    try:
        with open(path / "README.md", encoding="utf-8", errors="replace", opener=regular) as file:
            head = re.match(r"---\s*\n(.*?)\n---\s*\n", file.read(_LONGEST_NOTES), re.DOTALL)
        said = yaml.safe_load(head[1]) if head else None
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return ""
    named = (said.get("license_name") or said.get("license")) if isinstance(said, dict) else ""
    return _text(named, 60)


def notes_of(file: ModelFile) -> Notes:
    """What stands in the `.json` beside a file, as far as it makes sense."""
    try:
        return _notes(file.notes, os.stat(file.notes).st_mtime_ns) if file.notes else Notes()
    except OSError:
        return Notes()


@lru_cache(maxsize=20_000)
def _notes(path: str, modified: int) -> Notes:
    """`modified` is there for the cache."""
    try:
        with open(path, encoding="utf-8", errors="replace", opener=regular) as file:
            told = json.loads(file.read(_LONGEST_NOTES))
    except (OSError, ValueError, RecursionError):
        return Notes()
    if not isinstance(told, dict):
        return Notes()
    weight = told.get("preferred weight")
    return Notes(
        description=_text(told.get("description"), 2000),
        base=told["sd version"] if told.get("sd version") in _CONTEXT.values() else "",
        activation=_text(told.get("activation text"), 2000),
        negative=_text(told.get("negative text"), 2000),
        weight=float(weight)
        if isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight) and weight
        else None,
    )


def _text(value: Any, longest: int = 300) -> str:
    return printable(" ".join(value.split()), longest) if isinstance(value, str) else ""
