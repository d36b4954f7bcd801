"""What every sampler must keep, ours and a stranger's: each one that is registered is drawn with.

That a stopped run goes on from its tape is in test_tape.py.
"""

import random

import numpy as np
import pytest
import torch

from sdterm import Engine, PluginSet, load_plugins
from sdterm.events import Event, Image, Step
from sdterm.hooks import Sampler
from sdterm.request import GenerationRequest
from tests.engine.conftest import EXTENSIONS, images, request
from tests.engine.golden import pixels
from tests.engine.stopping import cancel_in_call

SAMPLERS = [sampler.label for sampler in load_plugins(EXTENSIONS).all(Sampler)]
STEPS = 3
QUICKER = {"DPM adaptive": {"rtol": 0.5}}  # or it would make dozens of calls


def asked(name: str, **fields: object) -> GenerationRequest:
    return request(sampler=name, sampler_options=QUICKER.get(name, {}), **fields)


@pytest.mark.few(10)
@pytest.mark.parametrize("name", SAMPLERS)
def test_image_k_of_a_batch_is_the_single_image_with_that_seed_and_all_steps_are_told(
    name: str, engine: Engine, plugins: PluginSet
) -> None:
    """Whatever the process's random numbers are, which stay as they are."""
    together = images(drawn(engine, plugins, asked(name, steps=STEPS, batch_size=2), process_seed=1))
    events = drawn(engine, plugins, asked(name, steps=STEPS, seed=together[1].seed), process_seed=2)
    (alone,) = images(events)
    difference = pixels(together[1].data).astype(int) - pixels(alone.data)
    assert np.abs(difference).max() <= 1
    steps = [event for event in events if isinstance(event, Step)]
    assert len({event.steps for event in steps}) == 1
    assert [event.step for event in steps] == list(range(1, steps[0].steps + 1))


def drawn(engine: Engine, plugins: PluginSet, request: GenerationRequest, process_seed: int) -> list[Event]:
    torch.manual_seed(process_seed)
    np.random.seed(process_seed)
    random.seed(process_seed)
    before = _global_states()
    events = list(engine.run(request, plugins))
    assert _global_states() == before
    return events


def _global_states() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_run_is_cancelled_within_a_step(name: str, engine: Engine, plugins: PluginSet) -> None:
    events = cancel_in_call(engine, plugins, asked(name, steps=8), 2)
    assert not any(isinstance(event, Image) for event in events)
