"""A pipeline that runs its own loop is drawn, stopped, resumed and told of like a model of a native family."""

import copy
import platform
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.engine.device import pick_dtype
from sdterm.engine.run import PauseAt, Resume
from sdterm.engine.tape import read_records
from sdterm.engine.tapped.tap import tapped
from sdterm.events import Cancelled, Done, Event, Failed, Image, Paused, Preview, Resumed, Started, Step, Warning
from tests.engine.conftest import images
from tests.engine.stopping import cancel_in_call, stop_at_step
from tests.engine.tapped.tiny import KEY, build
from tests.engine.test_tape import only_image, pixels

STEPS, CALLS = 6, 12
SEED = 7
SCHEDULERS = ("FlowMatchHeunDiscreteScheduler", "UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler")
Ask = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("tapped")
    (data / "extensions").mkdir()
    shutil.copy(Path(__file__).with_name("tiny.py"), data / "extensions")
    (data / CHECKPOINTS).mkdir(parents=True)
    for name in ("tiny", *SCHEDULERS):
        said = {"scheduler": name} if name in SCHEDULERS else {}
        save_file({KEY: torch.tensor([0])}, data / CHECKPOINTS / f"{name}.safetensors", said)
    return data


@pytest.fixture(scope="module")
def plugins(root: Path) -> PluginSet:
    found = load_plugins(root / "extensions")
    assert not found.problems
    return found


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")


def asked(quirk: str = "", **fields: Any) -> GenerationRequest:
    options = fields.pop("pipeline_options", {}) | ({"quirk": quirk} if quirk else {})
    small = {"prompt": "a red house", "negative_prompt": "fog", "model": "tiny", "seed": SEED, "steps": STEPS}
    return GenerationRequest.model_validate({**small, "pipeline_options": options, "width": 80, "height": 64, **fields})


def own(seed: int = SEED, dtype: torch.dtype = torch.float32, pipe: Any = None, **more: Any) -> np.ndarray:
    """The pixels of the pipeline's own call."""
    call = {"prompt": "a red house", "negative_prompt": "fog", "width": 80, "height": 64, "num_inference_steps": STEPS}
    (image,) = (pipe or build(0, dtype))(**call | more, generator=torch.Generator().manual_seed(seed)).images
    return np.asarray(image).astype(int)


def pipe_of(engine: Engine) -> Any:
    assert engine.model
    return engine.model.components.pipe  # type: ignore[attr-defined]


def warnings(events: list[Event], code: str = "") -> list[str]:
    return [event.message for event in events if isinstance(event, Warning) and code in ("", event.code)]


def rows(tape: Path) -> list[dict[str, Any]]:
    return [fields for fields, _, _ in read_records(tape) if fields["kind"] == "row"]


def cut(tape: Path, calls: int) -> None:
    """Leave so many recorded calls, and half of the next one, as a kill does."""
    ends = [end for fields, _, end in read_records(tape) if fields["kind"] == "row"]
    with tape.open("r+b") as file:
        file.truncate(ends[calls - 1] + (ends[calls] - ends[calls - 1]) // 2 if calls < len(ends) else ends[calls - 1])


@pytest.fixture(scope="module")
def recorded(engine: Engine, plugins: PluginSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Image]:
    """A tape with all calls of an image that was not delivered, and the image as it is when nothing happens."""
    tape = tmp_path_factory.mktemp("recorded") / "tape"
    events = [*engine.run(asked(), plugins, tape=tape, pause_at=PauseAt(STEPS))]
    assert isinstance(events[-1], Paused) and len(rows(tape)) == CALLS
    return tape.read_bytes(), only_image([*engine.run(asked(), plugins)])


# --- the picture ------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_pixels_are_those_of_the_pipelines_own_call(engine: Engine, plugins: PluginSet) -> None:
    events = [*engine.run(asked(batch_size=2), plugins)]
    first, second = images(events)
    assert np.array_equal(pixels(first.data), own())
    assert np.array_equal(pixels(second.data), own(SEED + 1)), "image k of a batch is the single image with its seed"
    assert not np.array_equal(pixels(first.data), pixels(second.data))
    assert [event.step for event in events if isinstance(event, Step)] == [*range(1, STEPS + 1)] * 2
    assert {event.steps for event in events if isinstance(event, Step)} == {STEPS}


def test_options_reach_the_call_and_what_is_unset_is_left_to_the_pipeline(engine: Engine, plugins: PluginSet) -> None:
    told = only_image([*engine.run(asked(pipeline_options={"warmth": 0.4, "guidance_scale": 1.5}), plugins)])
    assert np.array_equal(pixels(told.data), own(warmth=0.4, guidance_scale=1.5))
    assert told.infotext != only_image([*engine.run(asked(), plugins)]).infotext


def test_noise_that_is_nobodys_is_seeded_and_leaves_the_process_as_it_was(engine: Engine, plugins: PluginSet) -> None:
    before = torch.get_rng_state()
    first, second = (only_image([*engine.run(asked("global noise"), plugins)]) for _ in range(2))
    assert first.pixel_hash == second.pixel_hash
    assert torch.equal(torch.get_rng_state(), before)


def test_a_prompt_is_encoded_once(engine: Engine, plugins: PluginSet) -> None:
    only_image([*engine.run(asked(prompt="a new prompt"), plugins)])
    before = pipe_of(engine).words.calls
    again = only_image([*engine.run(asked(prompt="a new prompt", seed=8), plugins)])
    assert pipe_of(engine).words.calls == before
    assert np.array_equal(pixels(again.data), own(8, prompt="a new prompt"))


# --- stopped and resumed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", range(1, CALLS + 1))
def test_it_goes_on_from_any_call(
    calls: int, recorded: tuple[bytes, Image], engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    tape, (data, whole) = tmp_path / "tape", recorded
    tape.write_bytes(data)
    cut(tape, calls)
    before = pipe_of(engine).denoiser.calls
    events = [*engine.run(asked(), plugins, tape=tape)]
    assert not warnings(events)
    assert only_image(events).data == whole.data
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert (resumed.calls, resumed.step, resumed.steps) == (calls, calls // 2 if calls < CALLS else STEPS, STEPS)
    assert [event.step for event in events if isinstance(event, Step)] == [*range(resumed.step + 1, STEPS + 1)]
    assert pipe_of(engine).denoiser.calls - before == CALLS - calls + 1, "the last recorded call is the proof"


def test_other_weights_inside_are_found_out_by_the_proof(
    recorded: tuple[bytes, Image], root: Path, plugins: PluginSet, tmp_path: Path
) -> None:
    """No header shows them, and nothing that the denoiser is given."""
    engine, tape = Engine(library=Library(root), device="cpu"), tmp_path / "tape"
    tape.write_bytes(recorded[0])
    cut(tape, 5)
    only_image([*engine.run(asked(steps=1), plugins)])
    with torch.no_grad():
        pipe_of(engine).denoiser.last.weight[0, 0] += 1e-3
    events = [*engine.run(asked(), plugins, tape=tape)]
    (said,) = warnings(events, "tape_restarted")
    assert "call 5 of its denoiser now returns something different" in said
    assert not [event for event in events if isinstance(event, Resumed)]
    assert np.array_equal(pixels(only_image(events).data), own(pipe=pipe_of(engine)))


def test_what_is_given_another_argument_begins_again_and_says_which(
    recorded: tuple[bytes, Image], root: Path, plugins: PluginSet, tmp_path: Path
) -> None:
    tape, data = tmp_path / "tape", recorded[0]
    tape.write_bytes(data)
    engine = Engine(library=Library(root), device="cpu")
    only_image([*engine.run(asked(steps=1), plugins)])
    pipe = pipe_of(engine)
    plain = pipe.scheduler.step

    def drifting(self: Any, output: Any, t: Any, sample: Any, **more: Any) -> Any:
        return (plain(output, t, sample, **more)[0] + 1e-3,)

    pipe.scheduler.__class__ = type("Drifting", (type(pipe.scheduler),), {"step": drifting})
    events = [*engine.run(asked(), plugins, tape=tape)]
    (said,) = warnings(events, "tape_restarted")
    assert "call 3 of its denoiser has a different hidden_states" in said
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize("changed", [{"prompt": "a blue house"}, {"seed": 8}, {"pipeline_options": {"warmth": 0.1}}])
def test_another_request_does_not_take_the_record(
    changed: dict[str, Any], recorded: tuple[bytes, Image], engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    (tmp_path / "tape").write_bytes(recorded[0])
    events = [*engine.run(asked(**changed), plugins, tape=tmp_path / "tape")]
    assert warnings(events, "tape_restarted") and not [event for event in events if isinstance(event, Resumed)]
    assert only_image(events).pixel_hash == only_image([*engine.run(asked(**changed), plugins)]).pixel_hash


def test_another_text_encoder_is_seen_at_once_and_said(
    recorded: tuple[bytes, Image], root: Path, plugins: PluginSet, tmp_path: Path
) -> None:
    engine, tape = Engine(library=Library(root), device="cpu"), tmp_path / "tape"
    tape.write_bytes(recorded[0])
    only_image([*engine.run(asked(steps=1, prompt="x", negative_prompt="y"), plugins)])
    pipe_of(engine).words.table.weight += 1e-3
    events = [*engine.run(asked(), plugins, tape=tape)]
    (said,) = warnings(events, "tape_restarted")
    assert "call 1 of its denoiser has a different encoder_hidden_states" in said
    assert np.array_equal(pixels(only_image(events).data), own(pipe=pipe_of(engine)))


def test_the_pipeline_may_write_into_what_it_is_given(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    whole = only_image([*engine.run(asked("writes"), plugins)])
    assert np.array_equal(pixels(whole.data), own(quirk="writes"))
    stop_at_step(engine, plugins, asked("writes"), 3, tmp_path / "tape")
    events = [*engine.run(asked("writes"), plugins, tape=tmp_path / "tape")]
    assert [event for event in events if isinstance(event, Resumed)] and not warnings(events)
    assert only_image(events).pixel_hash == whole.pixel_hash


def test_it_waits_at_a_step_shows_itself_and_goes_on_without_what_was_culled(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    whole, tape = asked(batch_size=3), tmp_path / "tape"
    events = [*engine.run(whole, plugins, tape=tape, pause_at=PauseAt(2))]
    assert isinstance(events[-1], Paused) and events[-1].step == 2 and not images(events)
    assert {event.index for event in events if isinstance(event, Preview)} == {0, 1, 2}
    assert len(rows(tape)) == 3 * 2 * 2
    started = next(event for event in events if isinstance(event, Started))
    resume = Resume(Plan.model_validate_json(started.data), skipped_images=frozenset({1}))
    again = [*engine.run(whole, plugins, tape=tape, resume=resume)]
    assert not warnings(again)
    assert [np.array_equal(pixels(each.data), own(SEED + each.index)) for each in images(again)] == [True, True]


def test_a_cancelled_job_leaves_nothing_behind(
    recorded: tuple[bytes, Image], engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    cancel_in_call(engine, plugins, asked(), 4, tmp_path / "tape")
    pipe = pipe_of(engine)
    assert "forward" not in vars(pipe.denoiser) and type(pipe.scheduler).__mro__[1].__name__ == "SchedulerMixin"
    assert only_image([*engine.run(asked(), plugins)]).data == recorded[1].data


def test_no_library_swallows_the_end(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    cancel_in_call(engine, plugins, asked("swallows"), 3, tmp_path / "tape")


# --- what cannot be recorded ------------------------------------------------------------------------------------------


def test_objects_between_calls_are_drawn_without_a_record_and_it_says_so(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    tape, quirky = tmp_path / "tape", asked("object", batch_size=2)
    events = stop_at_step(engine, plugins, quirky, 3, tape)
    (said,) = warnings(events, "not_recorded")
    assert said.startswith("This job is not recorded because its denoiser is called with a object")
    assert not rows(tape)
    again = [*engine.run(quirky, plugins, tape=tape)]
    assert [np.array_equal(pixels(each.data), own(SEED + each.index)) for each in images(again)] == [True, True]
    assert [event.step for event in again if isinstance(event, Step)] == [*range(1, STEPS + 1)] * 2


def test_a_step_cache_is_drawn_without_a_record_and_a_cancelled_one_does_not_reach_the_next_job(
    root: Path, plugins: PluginSet, tmp_path: Path
) -> None:
    engine, cached = Engine(library=Library(root), device="cpu"), asked(memory=("keep-first",))
    events = [*engine.run(cached, plugins)]
    assert warnings(events, "not_recorded") and "KeepFirst keeps state" in warnings(events, "not_recorded")[0]
    whole = only_image(events)
    assert not np.array_equal(pixels(whole.data), own())
    cancel, pipe = threading.Event(), pipe_of(engine)
    handle = pipe.denoiser.text.register_forward_hook(lambda *_: cancel.set())  # in a call that is kept for the next
    assert isinstance([*engine.run(cached, plugins, cancel=cancel)][-1], Cancelled)
    handle.remove()
    assert only_image([*engine.run(cached, plugins)]).pixel_hash == whole.pixel_hash


# --- precision, schedulers --------------------------------------------------------------------------------------------


def test_models_of_rectified_flow_are_not_drawn_in_float16_where_there_is_a_wider_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = torch.device("mps")  # the one GPU that can be asked about without having it
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert pick_dtype(gpu, "auto", wide=True) == torch.bfloat16
    assert pick_dtype(gpu, "auto") == pick_dtype(gpu, "half", wide=True) == torch.float16
    assert pick_dtype(torch.device("cpu"), "auto", wide=True) == torch.float32


def test_half_precision_draws_and_goes_on_in_its_own(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    half = asked(precision="bf16")
    whole = only_image([*engine.run(half, plugins)])
    assert np.array_equal(pixels(whole.data), own(dtype=torch.bfloat16))
    stop_at_step(engine, plugins, half, 3, tmp_path / "tape")
    events = [*engine.run(half, plugins, tape=tmp_path / "tape")]
    assert [event for event in events if isinstance(event, Resumed)]
    assert not warnings(events, "tape_restarted") and only_image(events).pixel_hash == whole.pixel_hash


def test_what_is_no_number_in_half_precision_begins_again_in_float32(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    half, tape = asked("half is nan", precision="bf16"), tmp_path / "tape"
    events = [*engine.run(half, plugins, tape=tape, pause_at=PauseAt(4))]
    (said,) = warnings(events, "float32")
    assert "starts again in float32" in said
    again = [*engine.run(half, plugins, tape=tape)]
    assert [event for event in again if isinstance(event, Resumed)]
    assert np.array_equal(pixels(only_image(again).data), own())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, about pixels that are no numbers
def test_what_half_precision_decodes_to_black_begins_again_in_float32(engine: Engine, plugins: PluginSet) -> None:
    events = [*engine.run(asked("half is black", precision="bf16"), plugins)]
    (said,) = warnings(events, "float32")
    assert said == "The decoded image is completely black. The image starts again in float32."
    assert np.array_equal(pixels(only_image(events).data), own())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, about diffusers
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_steps_are_the_users_whatever_the_scheduler(
    scheduler: str, engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    stepped, tape = asked(model=scheduler), tmp_path / "tape"
    events = [*engine.run(stepped, plugins)]
    assert isinstance(events[-1], Done), events[-1]
    steps = [(event.step, event.steps) for event in events if isinstance(event, Step)]
    assert steps == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert np.array_equal(pixels(only_image(events).data), own(pipe=build(0, torch.float32, scheduler)))
    stop_at_step(engine, plugins, stepped, 3, tape)
    again = [*engine.run(stepped, plugins, tape=tape)]
    assert only_image(again).pixel_hash == only_image(events).pixel_hash
    assert [event for event in again if isinstance(event, Resumed)]


# --- the tap ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[Any]:
    yield build(3, torch.float32)


def called(pipe: Any) -> list[str]:
    """The modules and steps that one call passes through the tap."""
    seen = []

    def around(name: str, forward: Any, args: Any, kwargs: Any) -> Any:
        seen.append(name)
        return forward(*args, **kwargs)

    def around_step(scheduler: Any, step: Any, args: Any, kwargs: Any) -> Any:
        seen.append("step")
        return step(*args, **kwargs)

    with tapped(pipe.components, around, around_step):
        pipe("x", num_inference_steps=2)
    return seen


def test_a_tap_is_outermost_anew_for_each_call_and_gone_after(pipe: Any) -> None:
    once = ["denoiser", "denoiser", "step"] * 2
    assert called(pipe) == once
    assert called(pipe) == once
    calls = pipe.denoiser.calls
    pipe("x", num_inference_steps=2)
    assert pipe.denoiser.calls == calls + 4


def test_a_copy_of_a_tapped_scheduler_steps_itself(pipe: Any) -> None:
    seen: list[Any] = []

    def around_step(scheduler: Any, step: Any, args: Any, kwargs: Any) -> Any:
        seen.append(scheduler)
        return step(*args, **kwargs)

    pipe.scheduler.set_timesteps(4)
    with tapped(pipe.components, lambda name, forward, args, kwargs: forward(*args, **kwargs), around_step):
        other = copy.deepcopy(pipe.scheduler)
        other.step(torch.zeros(1), other.timesteps[0], torch.zeros(1))
    assert seen == [other] and other.step_index == 1 and pipe.scheduler.step_index is None
    other.step(torch.zeros(1), other.timesteps[1], torch.zeros(1))
    assert seen == [other], "it only passes on"


def test_hooks_that_come_over_a_tap_do_not_keep_it_alive(pipe: Any) -> None:
    seen: list[str] = []

    def around(name: str, forward: Any, args: Any, kwargs: Any) -> Any:
        seen.append(name)
        return forward(*args, **kwargs)

    with tapped(pipe.components, around, lambda scheduler, step, args, kwargs: step(*args, **kwargs)):
        buried = pipe.denoiser.forward
        pipe.denoiser.forward = lambda *args, **kwargs: buried(*args, **kwargs)
        pipe("x", num_inference_steps=1)
    assert seen == ["denoiser", "denoiser"]
    pipe("x", num_inference_steps=1)
    assert seen == ["denoiser", "denoiser"], "it only passes on"


@pytest.mark.heavy
def test_a_compiled_module_is_tapped_outside_of_what_is_compiled(pipe: Any) -> None:
    plain = own(3, pipe=pipe)
    pipe.denoiser.compile(backend="eager")
    assert called(pipe) == ["denoiser", "denoiser", "step"] * 2
    assert np.array_equal(own(3, pipe=pipe), plain)


def test_what_the_pipeline_raises_is_named(engine: Engine, plugins: PluginSet) -> None:
    (*_, failed) = engine.run(asked("fails"), plugins)
    assert isinstance(failed, Failed) and failed.source == "tiny"
    assert failed.message.startswith("The pipeline Tiny of tiny failed: ValueError: it is Monday")
