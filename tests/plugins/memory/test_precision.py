"""Weights in 8 bits, the VAE in float32, weights channels last: how they are kept, and what is drawn with them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sdterm.core.extensions.registry import load_plugins
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.library.checkpoints import Library
from sdterm.engine import Engine
from sdterm.events import Done, Image, ModelLoading
from sdterm.request import GenerationRequest

PLUGINS = load_plugins(None)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(library=Library(tmp_path), device="cpu")


def drawn(engine: Engine, **fields: object) -> tuple[Image, bool]:
    """An image, and whether the model was read for it."""
    small = {"prompt": "red circle", "seed": 7, "steps": 2, "width": 64, "height": 64, "model": "sdterm-demo"}
    events = [*engine.run(GenerationRequest.model_validate(small | fields), PLUGINS)]
    assert isinstance(events[-1], Done), events[-1]
    (image,) = (event for event in events if isinstance(event, Image))
    return image, any(isinstance(event, ModelLoading) for event in events)


def pixels(image: Image) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(image.data)).convert("RGB")).astype(int)


def modules(engine: Engine) -> dict[str, torch.nn.Module]:
    assert engine.model
    return engine.model.components.modules


@pytest.mark.heavy
def test_8_bits_are_for_storing_alone_and_are_said(engine: Engine) -> None:
    plain, _ = drawn(engine)
    whole = sum(weight.nbytes for weight in modules(engine)["unet"].parameters())
    stored, _ = drawn(engine, memory=("fp8",))
    assert sum(weight.nbytes for weight in modules(engine)["unet"].parameters()) < 0.3 * whole
    kinds = {layer.weight.dtype for layer in modules(engine)["unet"].modules() if isinstance(layer, torch.nn.Conv2d)}
    assert kinds == {torch.float8_e4m3fn}
    assert {weight.dtype for weight in modules(engine)["vae"].parameters()} == {torch.float32}
    assert "FP8 weight: Enable," in stored.infotext
    assert np.abs(pixels(stored) - pixels(plain)).max() > 0
    assert np.abs(pixels(stored) - pixels(plain)).mean() < 12, "much the same picture"
    again, _ = drawn(engine, **{**read(parse(stored.infotext), PLUGINS).fields, "model": "sdterm-demo"})
    assert again.pixel_hash == stored.pixel_hash
    with_network, _ = drawn(engine, memory=("fp8",), prompt="red circle <lora:sdterm-blueprint:1>")
    assert with_network.pixel_hash != stored.pixel_hash
    assert drawn(engine, memory=("fp8",))[0].pixel_hash == stored.pixel_hash, "the network left nothing behind"
    after, loaded = drawn(engine)
    assert after.pixel_hash == plain.pixel_hash and loaded, "what was lost is read again"


def test_8_bits_for_sdxl_leave_other_models_alone(engine: Engine) -> None:
    plain, _ = drawn(engine)
    assert drawn(engine, memory=("fp8", "fp8.storage=Enable for SDXL"))[0].pixel_hash == plain.pixel_hash
    asked = drawn(engine, memory=("fp8.storage=Enable",))[0]
    assert asked.pixel_hash == plain.pixel_hash, "an option among the names asks for nothing by itself"


@pytest.mark.heavy
def test_a_vae_alone_in_float32(engine: Engine) -> None:
    half: dict[str, object] = {"precision": "half", "steps": 1}
    drawn(engine, **half)
    mixed, _ = drawn(engine, **half, memory=("VAE in float32",))
    kinds = {name: {weight.dtype for weight in module.parameters()} for name, module in modules(engine).items()}
    assert kinds["vae"] == {torch.float32} and kinds["unet"] == {torch.float16}
    plain, loaded = drawn(engine, **half)
    assert not loaded and np.abs(pixels(mixed) - pixels(plain)).max() <= 8
    assert {weight.dtype for weight in modules(engine)["vae"].parameters()} == {torch.float16}
    again, _ = drawn(engine, memory=("vae-float32",), init_images=(), **half)
    assert again.pixel_hash == mixed.pixel_hash


def test_channels_last_is_a_layout_and_no_other_picture(engine: Engine) -> None:
    plain, _ = drawn(engine)
    changed, _ = drawn(engine, memory=("channels-last",))
    conv = modules(engine)["unet"].conv_in
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]
    assert np.abs(pixels(changed) - pixels(plain)).max() <= 1
    after, loaded = drawn(engine)
    assert after.pixel_hash == plain.pixel_hash and not loaded
