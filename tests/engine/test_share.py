"""A run that draws only some of a job's images, and gives up others while it draws."""

from pathlib import Path

from sdterm import Engine, PluginSet
from sdterm.core.planning.plan import Plan
from sdterm.engine.run import Resume
from sdterm.engine.share import Share
from sdterm.events import Done, Event, Image, Resumed, Started, Step
from sdterm.request import GenerationRequest
from tests.engine.conftest import images, request


def given_up(share: Share) -> list[int]:
    """What it gives up now."""
    told: list[int] = []
    share.release(told.extend)
    return told


def test_what_is_given_up_is_the_later_half_of_what_has_not_begun() -> None:
    share = Share()
    assert given_up(share) == [] and not share.is_part, "before it has begun nobody knows what there is"
    batches = share.batches([[0, 1], [], [4, 5], [6], [7]])
    assert next(batches) == (0, [0, 1])
    assert given_up(share) == [6, 7] and share.is_part
    assert [*batches] == [(2, [4, 5])]
    assert given_up(share) == []


def test_a_share_of_some_images_has_the_batches_numbers_of_the_job() -> None:
    share = Share([3, 4, 5])
    assert share.is_part and [*share.batches([[0, 1], [2, 3], [4, 5]])] == [(1, [3]), (2, [4, 5])]


def drawn(events: list[Event]) -> dict[int, str]:
    return {event.index: event.pixel_hash for event in events if isinstance(event, Image)}


def test_the_shares_of_a_job_are_the_job(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    asked: GenerationRequest = request(steps=4, batch_count=4, grid=True)
    whole = drawn([*engine.run(asked, plugins)])
    share, given, first = Share(), list[int](), list[Event]()
    for event in engine.run(asked, plugins, share=share, tape=tmp_path / "1.tape"):
        first.append(event)
        if isinstance(event, Step) and not given:
            share.release(given.extend)
    assert given == [2, 3] and not [event for event in first if event.event == "grid"]
    assert isinstance(first[-1], Done)
    (started,) = (event for event in first if isinstance(event, Started))
    resume = Resume(Plan.model_validate_json(started.data))
    second = [*engine.run(asked, plugins, resume=resume, share=Share(given), tape=tmp_path / "1-2.tape")]
    assert drawn(first) | drawn(second) == whole and len(images(second)) == 2


def test_a_share_goes_on_from_what_another_tape_has(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    asked = request(steps=6, batch_count=2)
    whole = drawn([*engine.run(asked, plugins)])
    started: list[Started] = []
    run = engine.run(asked, plugins, tape=tmp_path / "1.tape")
    for event in run:
        started += [event] if isinstance(event, Started) else []
        if isinstance(event, Step) and (event.batch, event.step) == (1, 3):
            break
    run.close()
    resume = Resume(Plan.model_validate_json(started[0].data))
    second = engine.run(
        asked,
        plugins,
        resume=resume,
        share=Share([1]),
        tape=tmp_path / "1-2.tape",
        other_tapes=[tmp_path / "1.tape"],
    )
    events = [*second]
    (resumed,) = (event for event in events if isinstance(event, Resumed))
    assert resumed.step >= 3 and drawn(events) == {1: whole[1]}
