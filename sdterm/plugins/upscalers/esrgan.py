"""ESRGAN and its kin with RRDB networks, in all the layouts in which users have them: ESRGAN, Real-ESRGAN, BSRGAN, and
most of what was trained since."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sdterm.hooks import LoadedUpscaler, PluginError, Upscaler, WeightsReader, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_BOXES = ("params_ema.", "params.", "module.", "model.", "")
"""What may stand before a network's keys; of several the first counts: weights averaged over the training."""
_LAYERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"conv_first", "first"),
        (r"(?:body|RRDB_trunk)\.(\d+)\.(?:rdb|RDB)(\d)\.conv(\d|1x1)", r"block.\1.\2.\3"),
        (r"conv_body|trunk_conv", "trunk"),
        (r"(?:conv_up|upconv)(\d)", r"up.\1"),
        (r"conv_hr|HRconv", "fine"),
        (r"conv_last", "last"),
        (r"model\.0", "first"),  # the oldest layout numbers its layers
        (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d|1x1)(?:\.0)?", r"block.\1.\2.\3"),
        (r"model\.1\.sub\.\d+", "trunk"),
        (r"model\.(\d+)", r"numbered.\1"),
    )
)
"""A layer in the layouts of BasicSR, of ESRGAN's authors, and of its first version → its name here."""
_NEEDED = {"first.weight", "block.0.1.1.weight", "block.0.3.5.weight", "trunk.weight", "last.weight"}


def matches(reader: WeightsReader) -> bool:
    return keys_of(reader.shapes()).keys() >= _NEEDED


def keys_of(keys: Iterable[str]) -> dict[str, str]:
    """Name here → key of the file, of all weights of its network; empty if it has none such."""
    there = set(keys)
    for box in _BOXES:
        if not there.isdisjoint((f"{box}conv_first.weight", f"{box}model.0.weight")):
            named = {_name(key.removeprefix(box)): key for key in there if key.startswith(box)}
            numbers = sorted({int(name.split(".")[1]) for name in named if name.startswith("numbered.")})
            plain = [*(f"up.{number}" for number in range(1, len(numbers) - 1)), "fine", "last"]
            names = {f"numbered.{number}": name for number, name in zip(numbers, plain, strict=False)}
            return {_renamed(name, names): key for name, key in named.items()}
    return {}


def _name(key: str) -> str:
    layer, dot, part = key.rpartition(".")
    for pattern, name in _LAYERS:
        if found := pattern.fullmatch(layer):
            return found.expand(name) + dot + part
    return key


def _renamed(name: str, names: Mapping[str, str]) -> str:
    layer, dot, part = name.rpartition(".")
    return names.get(layer, layer) + dot + part


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> LoadedUpscaler:
    """Raises PluginError for a network of another structure."""
    from sdterm.plugins.upscalers.rrdb import RRDBNet, structure_of  # it needs torch, which recognising does not

    shapes, keys = reader.shapes(), keys_of(reader.shapes())
    structure = structure_of({name: shapes[key] for name, key in keys.items()})
    if not structure:
        raise PluginError(
            message("{file} looks like ESRGAN, but sdterm does not support its layers.", file=reader.path.name)
        )
    read = reader.read(list(keys.values()), device, dtype)
    network = RRDBNet(structure, {name: read[key] for name, key in keys.items()})
    return LoadedUpscaler(structure.scale, lambda pixels: network(pixels.flip(1)).flip(1))  # blue first, as in A1111


@hookimpl
def sdterm_upscalers() -> list[Upscaler]:
    return [Upscaler("esrgan", "ESRGAN", matches=matches, build=build)]
