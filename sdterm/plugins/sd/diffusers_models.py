"""diffusers' models without what it imports beside them, which costs three times what they do: every other model,
loaders (with peft and transformers), and torch's compiler, which it can do without. None of that is used here."""

import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

# Both print advice to stderr, which spoils a terminal interface, and both may ask a hub for files they are given.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_PACKAGES = ("diffusers.models.transformers", "diffusers.models.unets", "diffusers.models.autoencoders")
_MIXINS = {
    "diffusers.loaders": ("PeftAdapterMixin", "UNet2DConditionLoadersMixin"),
    "diffusers.loaders.single_file_model": ("FromOriginalModelMixin",),
}
_COMPILER = "torch._dynamo"


class Models(NamedTuple):
    """diffusers' classes."""

    unet: Any
    vae: Any


@cache
def models() -> Models:
    with _bare(_PACKAGES, {} if "diffusers.loaders" in sys.modules else _MIXINS, _COMPILER):
        unet = importlib.import_module("diffusers.models.unets.unet_2d_condition").UNet2DConditionModel
        vae = importlib.import_module("diffusers.models.autoencoders.autoencoder_kl").AutoencoderKL
    # Around each call it looks for LoRAs of peft, and imports that to do so. Ours are in the weights.
    return Models(type(unet.__name__, (unet,), {"forward": inspect.unwrap(unet.forward)}), vae)


@contextmanager
def _bare(packages: Sequence[str], mixins: Mapping[str, Sequence[str]], absent: str) -> Iterator[None]:
    """Let modules of packages be imported without the front doors of these, with empty classes for mixins, and as if
    a module were not installed. What was imported before is taken as it is. What is imported so is ours: afterwards,
    who asks for it gets it whole."""
    before = {*sys.modules}
    made: dict[str, Any] = {
        name: _module(name, **{each: type(each, (), {}) for each in names}) for name, names in mixins.items()
    }
    made |= {name: None for name in (absent,) if name not in before}
    sys.modules.update(made)
    try:
        for name in packages:
            if name not in before:
                parent, _, leaf = name.rpartition(".")
                paths = [os.path.join(path, leaf) for path in importlib.import_module(parent).__path__]
                made[name] = sys.modules[name] = _module(name, __path__=paths)
        yield
    finally:
        for name in {*sys.modules} - before:
            if name in made or name.startswith(tuple(f"{package}." for package in packages)):
                del sys.modules[name]


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module
