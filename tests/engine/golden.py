"""A1111's runs with the tiny checkpoint, as requests, and how far a picture is from one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdterm import GenerationRequest
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.planning.choices import choose
from sdterm.core.planning.plan import Plan, prepare
from sdterm.engine import Engine
from sdterm.engine.decode import decode_image
from sdterm.fields import FIELDS
from tests.tiny_checkpoint import GOLDEN

RUNS: dict[str, dict[str, Any]] = {
    **json.loads((GOLDEN / "samplers.json").read_text()),
    **json.loads((GOLDEN / "http.json").read_text()),
}
_ARRAYS = [np.load(GOLDEN / "samplers.npz"), np.load(GOLDEN / "http.npz")]

_FIELDS = {row.api: row.name for row in FIELDS.values() if row.api}
_SETTINGS = {row.a1111: row.name for row in FIELDS.values() if row.a1111}
_VARIATION = {"subseed", "subseed_strength"}
_NOT_OURS = {"eta", "do_not_save_samples", "do_not_save_grid"}


def array(run: str, part: str) -> np.ndarray:
    """`latent`, `image`, `sigmas` or `init_noise` of a run."""
    return next(arrays[f"{run}/{part}"] for arrays in _ARRAYS if f"{run}/{part}" in arrays)


def has(run: str, part: str) -> bool:
    return any(f"{run}/{part}" in arrays for arrays in _ARRAYS)


def as_request(run: str, **changes: object) -> GenerationRequest:
    """What A1111 was asked for, in sdterm's words."""
    asked, options = RUNS[run]["request"], RUNS[run].get("opts", {})
    fields: dict[str, object] = {"noise_source": "CPU"}
    for name, value in asked.items():
        if name not in _NOT_OURS and (name not in _VARIATION or "subseed_strength" in asked):
            fields[_FIELDS.get(name, name)] = value
    eta = asked.get("eta", options.get("eta_ancestral"))
    fields |= {} if eta is None else {"sampler_options": {"eta": eta}}
    fields |= {_SETTINGS[name]: value for name, value in options.items() if name in _SETTINGS}
    fields |= {"pad_conds": "v0"} if options.get("pad_cond_uncond_v0") else {}
    return GenerationRequest.model_validate(fields | changes)


def as_plan(request: GenerationRequest, engine: Engine, plugins: PluginSet) -> Plan:
    return prepare(request, choose(request, plugins, engine.library), plugins, engine.library, {})


@contextmanager
def final_latents(engine: Engine) -> Iterator[list[np.ndarray]]:
    """The latents [C, h, w] of each image that the engine finishes, before they are decoded."""
    seen: list[np.ndarray] = []

    def seeing(components: Any, latents: torch.Tensor, dtype: torch.dtype) -> Any:
        seen.append(latents.numpy())
        return decode_image(components, latents, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sdterm.engine.finish.decode_image", seeing)
        yield seen


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise ratio in dB; the same pixels give infinity."""
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to b's largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())
