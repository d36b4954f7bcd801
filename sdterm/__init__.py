"""sdterm: a Stable Diffusion workstation for the terminal.

The names below are the public door: what a script, the command line and the tests use. They are looked up on first
use, so that `import sdterm` costs nothing and front ends that never draw never import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from sdterm.version import __version__

if TYPE_CHECKING:
    from sdterm.core.extensions.registry import PluginSet, load_plugins
    from sdterm.core.output.saving import Saving, save_images
    from sdterm.engine import Engine
    from sdterm.hooks import hookimpl
    from sdterm.request import GenerationRequest

__all__ = [
    "Engine",
    "GenerationRequest",
    "PluginSet",
    "Saving",
    "__version__",
    "hookimpl",
    "load_plugins",
    "save_images",
]

_HOMES = {
    "Engine": "sdterm.engine",
    "GenerationRequest": "sdterm.request",
    "PluginSet": "sdterm.core.extensions.registry",
    "Saving": "sdterm.core.output.saving",
    "hookimpl": "sdterm.hooks",
    "load_plugins": "sdterm.core.extensions.registry",
    "save_images": "sdterm.core.output.saving",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdterm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
