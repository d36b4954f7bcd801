"""Dynamic prompts: the syntax, the rules for randomness, and what strangers' files may do."""

import itertools
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.events import Failed, Image
from sdterm.hooks import PluginError, PromptContext, PromptText, PromptTransform

WILDCARDS = {
    "colour": ("red", "green", "3::blue"),
    "animals/birds": ("owl", "{big|small} crow"),
    "animals/cats": ("cat",),
    "any": ("__animals/*__", "__colour__ thing"),
    "loop": ("a __loop__",),
    "double": ("__twice__ __twice__",),
    "twice": ("__thrice__ __thrice__" * 50,),
    "thrice": ("x " * 500,),
    "empty": (),
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    shutil.copytree(Path(__file__).parents[1], folder / "dynamic_prompts")
    loaded = load_plugins(folder)
    assert not loaded.problems
    return loaded


@pytest.fixture(scope="module")
def transform(plugins: PluginSet) -> PromptTransform:
    return next(each for each in plugins.transforms() if each.id == "dynamic_prompts")


def chosen(transform: PromptTransform, text: str, seed: int = 0) -> str:
    context = PromptContext(wildcards=WILDCARDS)
    (one,) = transform.transform(PromptText(text), Random(seed), context, combinatorial=False, most=100)
    return str(one.positive)


def every(transform: PromptTransform, text: str, negative: str = "", most: int = 1000) -> list[str]:
    context = PromptContext(wildcards=WILDCARDS)
    texts = transform.transform(PromptText(text, negative), Random(0), context, combinatorial=True, most=most)
    return [f"{one.positive}{one.negative}" for one in texts]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("a {red|green} circle", ["a red circle", "a green circle"]),
        ("{ a | b }{c|}", ["ac", "a", "bc", "b"]),
        ("{a|{b|c} d}", ["a", "b d", "c d"]),
        ("{0.5::a|2::b}", ["a", "b"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{-2$$a|b}", ["a", "b", "a, b", "b, a"]),
        ("{9$$a|b}", ["a, b", "b, a"]),
        ("{2$$$$a|b}", ["ab", "ba"]),
        ("__animals/*__", ["owl", "big crow", "small crow", "cat"]),
        ("__Animals/c?ts__", ["cat"]),
        ("__*__ is not __c*r__", None),
        ("{2$$+$$__colour__}", ["red+green", "red+blue", "green+red", "green+blue", "blue+red", "blue+green"]),
        ("__any__", ["owl", "big crow", "small crow", "cat", "red thing", "green thing", "blue thing"]),
        ("[a|b] (c:1.2) a|b snake_case __ 5", ["[a|b] (c:1.2) a|b snake_case __ 5"]),
        ("", [""]),
    ],
)
def test_every_combination_is_found_once_and_chance_finds_no_other(
    transform: PromptTransform, text: str, texts: list[str] | None
) -> None:
    if texts is None:
        with pytest.raises(PluginError, match="leads to itself"):
            every(transform, text)
        return
    assert every(transform, text) == texts
    assert {chosen(transform, text, seed) for seed in range(200)} == set(texts)


def test_chance_goes_by_weight_and_by_the_seed_alone(transform: PromptTransform) -> None:
    drawn = Counter(chosen(transform, "{a|3::b|0::c} __colour__", seed) for seed in range(2000))
    assert drawn == Counter(chosen(transform, "{a|3::b|0::c} __colour__", seed) for seed in range(2000))
    share = sum(count for text, count in drawn.items() if text.startswith("b")) / 2000
    blue = sum(count for text, count in drawn.items() if text.endswith("blue")) / 2000
    assert abs(share - 0.75) < 0.04 and abs(blue - 0.6) < 0.04
    assert not [text for text in drawn if text.startswith("c")]


def test_what_was_chosen_is_left_alone_when_it_is_read_again(transform: PromptTransform) -> None:
    for seed in range(50):
        text = chosen(transform, "{2$$a|b|__any__} [x|y] (z:1.1)", seed)
        assert chosen(transform, text, seed + 1) == text


def test_positive_and_negative_are_combined_up_to_the_most(transform: PromptTransform) -> None:
    assert every(transform, "{a|b}", "{c|d}") == ["ac", "ad", "bc", "bd"]
    assert every(transform, "{a|b}" * 20, most=3) == ["a" * 20, "a" * 19 + "b", "a" * 18 + "ba"]
    assert every(transform, "{a|a}" * 40) == ["a" * 40], "all alike, and found in a moment"
    assert len(every(transform, "{0-9$$a|b|c|d|e|f|g|h|i}")) == 1000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{a|b", "brace without its partner"),
        ("a}", "brace without its partner"),
        ("{" * 40 + "}" * 40, "more than 32 braces"),
        ("__color__", r"does not exist.*Did you mean __colour__\?"),
        ("__../../etc/passwd__", "does not exist"),
        ("__/etc/*__", "does not exist"),
        ("__empty__", "is empty"),
        ("__loop__", "leads to itself"),
        ("{__double__|__double__} " * 3, "too long"),
        ("${x={a|b}} ${x}", "no variables"),
        ("__colour(x=1)__", "no parameters"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(transform: PromptTransform, text: str, sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        for seed in itertools.repeat(0, 3):
            chosen(transform, text, seed)


def test_pictures_are_drawn_from_the_users_wildcards(plugins: PluginSet, tmp_path: Path) -> None:
    (tmp_path / "wildcards" / "deep").mkdir(parents=True)
    (tmp_path / "wildcards" / "deep" / "colour.txt").write_text("# colours\nred\n\ngreen  \n")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "wildcards" / "link.txt").symlink_to(tmp_path / "secret.txt")
    engine = Engine(library=Library(tmp_path), device="cpu")

    def draw(**fields: object) -> list[Image]:
        small = {"prompt": "__deep/*__ circle", "seed": 3, "steps": 1, "width": 64, "height": 64}
        events = [*engine.run(GenerationRequest.model_validate(small | fields), plugins)]
        assert not isinstance(events[-1], Failed), events[-1]
        return [event for event in events if isinstance(event, Image)]

    batch = [image.prompt for image in draw(batch_size=6)]
    assert set(batch) == {"red circle", "green circle"}
    assert [image.prompt for image in draw(seed=5)] == batch[2:3], "image 3 is the single image with its seed"
    whole = draw(options={"dynamic_prompts.combinatorial": True})
    assert [image.prompt for image in whole] == ["red circle", "green circle"]
    assert whole[1].infotext.startswith("green circle\n")
    (failed,) = engine.run(GenerationRequest(prompt="__link__"), plugins)
    assert isinstance(failed, Failed) and failed.code == "bad_request" and "does not exist" in failed.message
