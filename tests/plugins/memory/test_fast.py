"""The fast plan: compiled in the background, nearly the same picture, and as it was once it is off."""

import time

import numpy as np
import pytest
import torch

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.events import Image, Warning
from sdterm.hooks import Components, ModelFacts
from sdterm.plugins.memory import fast
from tests.engine.conftest import images, request
from tests.engine.test_tape import only_image, pixels

LIMIT = 900.0  # seconds in which torch compiles the demo model's network and decoder on a busy machine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(library=Library(tmp_path_factory.mktemp("data")), device="cpu")


@pytest.fixture(scope="module")
def plugins() -> PluginSet:
    return load_plugins()


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # of torch, in its compiler
def test_a_picture_is_drawn_at_once_and_later_ones_by_compiled_code(engine: Engine, plugins: PluginSet) -> None:
    usable, reason = fast.supports(engine.device, ModelFacts("sd1", torch.float32))
    if not usable:
        pytest.skip(reason)
    plain = only_image(list(engine.run(request(), plugins)))
    first = only_image(list(engine.run(request(memory=["fast"]), plugins)))
    assert engine.model
    components = engine.model.components
    assert np.abs(pixels(first.data).astype(int) - pixels(plain.data)).max() <= 2
    end = time.monotonic() + LIMIT
    while not fast.is_settled(components):
        assert time.monotonic() < end
        time.sleep(0.1)
    calls = _compiled_calls(components)
    events = list(engine.run(request(memory=["fast"]), plugins))
    assert [e.message for e in events if isinstance(e, Warning)] == []
    assert all(after > before for before, after in zip(calls, _compiled_calls(components), strict=True))
    assert np.abs(pixels(only_image(events).data).astype(int) - pixels(plain.data)).max() <= 2
    assert only_image(list(engine.run(request(), plugins))).pixel_hash == plain.pixel_hash


def _compiled_calls(components: Components) -> list[int]:
    return [module.forward.compiled_calls for module in fast.compilable(components)]


def test_where_torch_cannot_compile_the_picture_is_drawn_without_and_the_reason_is_told(
    engine: Engine, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(fast, "_failures", {})
    plain = only_image(list(engine.run(request(), plugins)))
    events = list(engine.run(request(memory=["fast"]), plugins))
    (said,) = [event.message for event in events if isinstance(event, Warning)]
    assert said == (
        "Fast cannot be used here: torch needs a C++ compiler to compile for a CPU, and no-such-compiler is "
        "not installed. "
        "The job continues without it."
    )
    assert only_image(events).pixel_hash == plain.pixel_hash


def test_what_fails_while_it_is_compiled_is_told_from_then_on(
    engine: Engine, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no kernel for this\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(fast, "_missing", lambda device: "")  # here something may be
    monkeypatch.setattr(fast, "_failures", {})
    assert images(list(engine.run(request(memory=["fast"]), plugins)))
    assert engine.model
    end = time.monotonic() + LIMIT
    while not fast.is_settled(engine.model.components):
        assert time.monotonic() < end
        time.sleep(0.01)
    events = list(engine.run(request(memory=["fast"]), plugins))
    (said,) = [event.message for event in events if isinstance(event, Warning)]
    assert "torch could not compile the model (RuntimeError: no kernel for this). The job continues without it." in said
    assert isinstance(events[-2], Image) or images(events)
