"""DeepCache: fewer calls of the deep blocks, nearly the same picture, and the same one over any stop."""

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.engine import Engine
from sdterm.engine.run import PauseAt
from sdterm.events import Done, Event, Image, ModelLoading, Paused, Step
from sdterm.request import GenerationRequest

PLUGINS = load_plugins(None)
CACHED: dict[str, Any] = {"options": {"deep-cache.interval": 3}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(library=Library(tmp_path_factory.mktemp("library")), device="cpu")


def run(engine: Engine, tape: Path | None = None, stop_at: int | None = None, **fields: object) -> list[Event]:
    small = {"prompt": "red circle", "seed": 7, "steps": 8, "width": 64, "height": 64, "model": "sdterm-demo"}
    request = GenerationRequest.model_validate(small | fields)
    seen = [*engine.run(request, PLUGINS, tape=tape, pause_at=PauseAt(stop_at) if stop_at else None)]
    assert isinstance(seen[-1], Paused if stop_at else Done), seen[-1]
    return seen


def only_image(events: list[Event]) -> Image:
    (image,) = (event for event in events if isinstance(event, Image))
    return image


def pixels(image: Image) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(image.data)).convert("RGB")).astype(int)


@pytest.mark.few(1)
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
def test_the_deep_blocks_are_computed_every_third_call(together: bool, engine: Engine) -> None:
    plain = only_image(run(engine))
    only_image(run(engine, steps=1, **CACHED))
    assert engine.model
    unet: Any = engine.model.components.modules["unet"]
    counted: Counter[str] = Counter()
    inner = {"deep": unet.mid_block.resnets[0], "outer": unet.down_blocks[0].resnets[0]}
    handles = [m.register_forward_hook(lambda *_, name=name: counted.update([name])) for name, m in inner.items()]
    cached = only_image(run(engine, batch_cond_uncond=together, **CACHED))
    for handle in handles:
        handle.remove()
    calls = 8 if together else 16
    assert counted == {"outer": calls, "deep": calls * 3 // 8}
    assert "DeepCache interval: 3" in cached.infotext
    difference = np.abs(pixels(cached) - pixels(plain)).mean()
    assert 0 < difference < 20, "much the same picture"
    after = run(engine)
    assert only_image(after).pixel_hash == plain.pixel_hash
    assert not [event for event in after if isinstance(event, ModelLoading)]


@pytest.mark.parametrize(("stop_at", "goes_on_at"), [(5, 4), (6, 7)])
def test_a_stopped_job_goes_on_from_where_all_was_computed(
    stop_at: int, goes_on_at: int, engine: Engine, tmp_path: Path
) -> None:
    whole = only_image(run(engine, **CACHED))
    run(engine, tmp_path / "tape", stop_at, **CACHED)
    again = Engine(library=engine.library, device="cpu")
    gone_on = run(again, tmp_path / "tape", **CACHED)
    assert only_image(gone_on).pixel_hash == whole.pixel_hash
    first = next(event.step for event in gone_on if isinstance(event, Step))
    assert first == goes_on_at, "a call that computes all"


def test_an_image_of_a_batch_is_the_single_image(engine: Engine) -> None:
    both = [event for event in run(engine, seed=6, batch_size=2, **CACHED) if isinstance(event, Image)]
    assert np.abs(pixels(both[1]) - pixels(only_image(run(engine, **CACHED)))).max() <= 1
