"""Stable Diffusion's models: single-file checkpoints in the original (LDM) key names.

The modules are diffusers' and transformers' own, built empty and filled from the file.
"""

from sdterm.hooks import ModelFamily, hookimpl
from sdterm.plugins.sd.sd1 import SD1
from sdterm.plugins.sd.sd2 import SD2
from sdterm.plugins.sd.sdxl import REFINER, SDXL


@hookimpl
def sdterm_model_families() -> list[ModelFamily]:
    return [SD1, SD2, SDXL, REFINER]
