"""sdterm: a Stable Diffusion workstation for the terminal.

The names below are the public door: what a script, the command line and the tests use. They are looked up on first
use, so that `import sdterm` costs nothing and front ends that never draw never import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdterm.core.output import Saving, save_images
    from sdterm.core.registry import PluginSet, load_plugins
    from sdterm.engine import Engine
    from sdterm.hooks import hookimpl
    from sdterm.request import GenerationRequest

__version__ = "0.1.0"
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
    "PluginSet": "sdterm.core.registry",
    "Saving": "sdterm.core.output",
    "hookimpl": "sdterm.hooks",
    "load_plugins": "sdterm.core.registry",
    "save_images": "sdterm.core.output",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdterm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
