"""Observers hear of what happened, and change nothing but the keys that they add."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Never

import pytest
import torch

from sdterm import Engine, PluginSet
from sdterm.core.infotext.files import read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.output.saving import Saving, save_images
from sdterm.events import Done, Event, Failed, Image, Warning
from sdterm.hooks import ImageFacts, JobOutcome, Observer, PluginError, SavedImage
from tests.engine.conftest import request
from tests.engine.stopping import cancel_in_call


def watched(plugins: PluginSet, **functions: Callable[..., Any]) -> PluginSet:
    """The same plugins and an observer with these functions, of the plugin `watcher`."""
    observer = Observer("watcher", "Watcher", **functions)
    return replace(plugins, given=(*plugins.given, observer), owners={**plugins.owners, id(observer): "watcher"})


def save(engine: Engine, plugins: PluginSet, folder: Path, **fields: object) -> list[Event]:
    """Draw a small request and save its images."""
    saved: SimpleQueue[Path | None] = SimpleQueue()
    asked = request(steps=2, **fields)
    return [*save_images(engine.run(asked, plugins, saved=saved), asked, Saving(folder), saved)]


def images(events: list[Event]) -> list[Image]:
    return [event for event in events if isinstance(event, Image)]


def warnings(events: list[Event]) -> list[Warning]:
    return [event for event in events if isinstance(event, Warning)]


def fail(*_: object) -> Never:
    raise OSError("no\x1b[31m route")


def test_each_image_is_told_once_it_is_a_file_and_the_job_at_its_end(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    told: list[SavedImage | JobOutcome] = []

    def hear(saved: SavedImage) -> None:
        assert read_infotext(saved.path) == saved.infotext
        told.append(saved)

    listening = watched(plugins, on_image_saved=hear, on_job_finished=told.append)
    events = save(engine, listening, tmp_path, batch_count=2, grid=True)
    first, second, grid, outcome = told
    drawn = images(events)
    assert [str(getattr(each, "path", None)) for each in (first, second)] == [image.path for image in drawn]
    assert second == SavedImage(Path(str(drawn[1].path)), drawn[1].infotext, 64, 64, 1, 8, drawn[1].prompt)
    assert isinstance(grid, SavedImage) and (grid.index, grid.seed, grid.width) == (None, None, 128)
    assert isinstance(outcome, JobOutcome) and isinstance(events[-1], Done)
    paths = tuple(each.path for each in (first, second, grid) if isinstance(each, SavedImage))
    assert (outcome.state, outcome.images, outcome.saved) == ("done", 2, paths)
    assert outcome.prompt == "red circle, blue background" and outcome.seconds > 0 and not outcome.message


def test_where_nobody_says_what_is_saved_only_the_end_is_told(engine: Engine, plugins: PluginSet) -> None:
    told: list[object] = []
    listening = watched(plugins, on_image_saved=told.append, on_job_finished=told.append)
    assert isinstance([*engine.run(request(steps=1), listening)][-1], Done)
    (outcome,) = told
    assert isinstance(outcome, JobOutcome) and (outcome.images, outcome.saved) == (1, ())


def test_failures_and_stops_are_told_as_such(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    told: list[JobOutcome] = []
    listening = watched(plugins, on_job_finished=told.append)
    assert isinstance([*engine.run(request(model="nobody"), listening)][-1], Failed)
    assert (told[-1].state, told[-1].images) == ("failed", 0) and "'nobody'" in told[-1].message
    cancel_in_call(engine, listening, request(), 1)
    assert told[-1].state == "stopped"
    engine.run(request(), listening).close()
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    assert isinstance(save(engine, listening, blocked)[-1], Failed)
    assert (told[-1].state, told[-1].saved) == ("stopped", ()) and len(told) == 3


def test_keys_are_added_cleaned_and_not_copied_when_the_picture_is_drawn_again(
    engine: Engine, plugins: PluginSet
) -> None:
    def keys(image: ImageFacts) -> Mapping[str, str]:
        assert (image.index, image.images, image.sampler, image.steps) == (0, 1, "DPM++ 2M", 1)
        return {"Mood": "calm, \x1b[31mred", "Long-winded": "x" * 2000, "Empty": ""}

    listening = watched(plugins, infotext=keys)
    *_, image, _ = engine.run(request(steps=1), listening)
    *_, plain, _ = engine.run(request(steps=1), plugins)
    assert isinstance(image, Image) and isinstance(plain, Image) and image.pixel_hash == plain.pixel_hash
    found = parse(image.infotext)
    assert found.parameters["Mood"] == "calm, �[31mred" and len(found.parameters["Long-winded"]) == 1000
    assert found.parameters.keys() - parse(plain.infotext).parameters.keys() == {"Mood", "Long-winded"}
    assert read(found, plugins).fields == read(parse(plain.infotext), plugins).fields
    assert not read(found, plugins).not_reproduced


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Seed": "1"}, "it returned the key 'Seed', which is not allowed or already has a meaning"),
        ({"sdterm": "x"}, "already has a meaning"),
        ({"Eta": "0.5"}, "already has a meaning"),
        ({"VAE": "x"}, "already has a meaning"),
        ({"Hires upscale": "2"}, "already has a meaning"),
        ({"User": "x"}, "already has a meaning"),
        ({"Plugin errors": "x"}, "already has a meaning"),
        ({"a: b, Seed": "1"}, "is not allowed"),
        ({"x" * 61: "1"}, "is not allowed"),
        ({"\x1b[31m": "1"}, "is not allowed"),
        ({"Mood": 1}, "both must be text"),
        ({7: "Mood"}, "both must be text"),
        ({f"key {number}": "x" for number in range(21)}, "it returned 21 keys; the limit is 20"),
        ("Mood", "it returned no mapping of keys"),
        (None, "it returned no mapping of keys"),
    ],
)
def test_keys_that_mean_something_or_are_none_are_refused_and_the_picture_says_so(
    engine: Engine, plugins: PluginSet, given: Any, said: str
) -> None:
    events = [*engine.run(request(steps=1), watched(plugins, infotext=lambda image: given))]
    (warning,) = warnings(events)
    assert (warning.code, warning.source) == ("observer_failed", "watcher")
    assert warning.message.startswith("The observer Watcher of watcher failed: ") and said in warning.message
    (image,) = images(events)
    assert said in parse(image.infotext).parameters["Plugin errors"] and isinstance(events[-1], Done)


def test_two_observers_cannot_have_one_key(engine: Engine, plugins: PluginSet) -> None:
    twice = watched(watched(plugins, infotext=lambda image: {"Mood": "a"}), infotext=lambda image: {"Mood": "b"})
    events = [*engine.run(request(steps=1), twice)]
    assert "which another observer already uses" in warnings(events)[0].message
    assert parse(images(events)[0].infotext).parameters["Mood"] == "a"


def test_what_fails_is_told_once_a_job_and_costs_it_nothing(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    broken = watched(plugins, on_image_saved=fail, on_job_finished=fail)
    events = save(engine, broken, tmp_path, batch_count=3)
    assert isinstance(events[-1], Done) and len(images(events)) == 3
    told = warnings(events)
    assert [(each.code, each.source) for each in told] == [("observer_failed", "watcher")] * 2
    assert told[0].message.startswith("The observer Watcher of watcher failed: OSError: no") and "\x1b" not in str(told)
    assert "Plugin errors" not in images(events)[2].infotext


def test_a_refusal_is_told_with_its_name_and_blames_nobody(engine: Engine, plugins: PluginSet) -> None:
    def refuse(outcome: JobOutcome) -> None:
        raise PluginError("The mail server says no.")

    (told,) = warnings([*engine.run(request(steps=1), watched(plugins, on_job_finished=refuse))])
    assert told.message.startswith("The observer Watcher of watcher: The mail server says no.") and told.source is None


def test_random_numbers_and_settings_that_it_moves_are_put_back(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    def stir(*_: object) -> None:
        random.random()
        torch.rand(3)
        torch.set_default_dtype(torch.float64)

    def stirred(image: ImageFacts) -> Mapping[str, str]:
        stir()
        return {}

    loud = save(engine, watched(plugins, on_image_saved=stir, infotext=stirred), tmp_path / "a", batch_count=3)
    quiet = save(engine, plugins, tmp_path / "b", batch_count=3)
    assert not warnings(loud) and torch.get_default_dtype() == torch.float32
    assert [image.pixel_hash for image in images(loud)] == [image.pixel_hash for image in images(quiet)]
