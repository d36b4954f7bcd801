"""Prompt matrix: A1111's texts in A1111's order, and pictures that differ in nothing but the words."""

import shutil
from pathlib import Path
from random import Random

import pytest

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.events import Failed, Image, Started
from sdterm.hooks import PluginError, PromptContext, PromptText


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    shutil.copytree(Path(__file__).parents[1], folder / "prompt_matrix")
    loaded = load_plugins(folder)
    assert not loaded.problems
    return loaded


def texts(plugins: PluginSet, prompt: PromptText, **options: bool) -> tuple[PromptText, ...]:
    transform = next(each for each in plugins.transforms() if each.id == "prompt_matrix")
    given = {option.name: option.default for option in transform.options} | options
    return transform.transform(prompt, Random(0), PromptContext(), **given)


# What A1111 1.9.4's scripts/prompt_matrix.py makes of its own example (its loop, run by hand).
A1111 = [
    "a busy city street in a modern city",
    "a busy city street in a modern city, illustration",
    "a busy city street in a modern city, cinematic lighting",
    "a busy city street in a modern city, illustration, cinematic lighting",
]


def test_the_texts_are_those_of_a1111(plugins: PluginSet) -> None:
    prompt = PromptText("a busy city street in a modern city|illustration|cinematic lighting", "bad", ("style",))
    made = texts(plugins, prompt)
    assert [text.positive for text in made] == A1111
    assert {(text.negative, text.styles, text.first_seed) for text in made} == {("bad", ("style",), True)}


def test_the_options_turn_it_around(plugins: PluginSet) -> None:
    assert [t.positive for t in texts(plugins, PromptText("a|b, |,c"), put_at_start=True)][-1] == "b, c, a"
    assert [t.positive for t in texts(plugins, PromptText("a|b"), space=True)] == ["a", "a b"]
    assert [t.negative for t in texts(plugins, PromptText("a|b", "c|d"), negative=True)] == ["c", "c, d"]
    assert not any(t.first_seed for t in texts(plugins, PromptText("a|b"), different_seeds=True))
    with pytest.raises(PluginError, match="takes 9"):
        texts(plugins, PromptText("|".join("abcdefghijk")))


def test_the_pictures_have_one_seed_and_stay_plain_where_it_is_not_asked_for(
    plugins: PluginSet, tmp_path: Path
) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")

    def draw(**fields: object) -> list[Image]:
        small = {"prompt": "circle|red|blue", "seed": 7, "steps": 1, "width": 64, "height": 64}
        events = [*engine.run(GenerationRequest.model_validate(small | fields), plugins)]
        assert not isinstance(events[-1], Failed), events[-1]
        images = [event for event in events if isinstance(event, Image)]
        assert [event.images for event in events if isinstance(event, Started)] == [len(images)]
        return images

    matrix = draw(transforms=("Prompt matrix",), batch_size=2)
    assert [image.prompt for image in matrix] == ["circle", "circle, red", "circle, blue", "circle, red, blue"]
    assert {image.seed for image in matrix} == {7}
    (alone,) = draw(prompt="circle, red, blue", batch_size=1)
    assert alone.infotext.split(", sdterm")[0] == matrix[3].infotext.split(", sdterm")[0]
    (plain,) = draw()
    assert plain.prompt == "circle|red|blue"
    seeds = [image.seed for image in draw(options={"prompt_matrix.different_seeds": True})]
    assert seeds == [7, 8, 9, 10], "setting an option asks for it"
