"""A plugin set is a value, and options are checked before a plugin sees them."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.extensions.registry import PluginSet, check_options, load_plugins
from sdterm.hooks import Option, PromptTransform, Sampler, Scheduler
from sdterm.request import RequestError

DECLARED = (
    Option("eta", 1.0, minimum=0.0, maximum=1.0),
    Option("order", 2, minimum=1, maximum=4),
    Option("exact", False),
    Option("kind", "heun"),
    Option("free", 0.5),
)
VALUES = st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.integers(10**310, 10**320)


@pytest.fixture(scope="module")
def plugins() -> PluginSet:
    return load_plugins()


def test_a_plugin_set_never_changes(plugins: PluginSet) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plugins.plugins = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        plugins.owners[0] = "me"  # type: ignore[index]


def test_two_sets_of_the_same_plugins_have_one_identity(plugins: PluginSet) -> None:
    assert load_plugins().identity == plugins.identity
    slugs = [slug for slug, _ in plugins.identity]
    assert len(slugs) == len(set(slugs)) and "samplers.euler" in slugs


def test_every_descriptor_is_listed_under_its_plugin(plugins: PluginSet) -> None:
    assert plugins.owner(plugins.sampler("Euler a")) == "samplers.euler"
    assert [sampler.id for sampler in plugins.all(Sampler)][:2] == ["dpmpp_2m", "dpmpp_sde"], "the default comes first"
    assert [scheduler.label for scheduler in plugins.all(Scheduler)][:3] == ["Uniform", "Karras", "Exponential"]


def test_transforms_come_in_their_order(plugins: PluginSet) -> None:
    orders = [transform.order for transform in plugins.transforms()]
    assert orders == sorted(orders)
    assert {transform.id for transform in plugins.transforms()} == {t.id for t in plugins.all(PromptTransform)}


@pytest.mark.parametrize(("name", "id"), [("png", "png"), ("PNG", "png"), ("jpeg", "jpeg"), ("jpg", "jpeg")])
def test_a_saver_answers_to_its_suffix_too(name: str, id: str, plugins: PluginSet) -> None:
    assert plugins.saver(name).id == id


def test_options_that_are_not_given_have_their_defaults() -> None:
    assert check_options("Heun", DECLARED, {}) == {o.name: o.default for o in DECLARED}


@pytest.mark.parametrize(
    ("given_value", "checked"),
    [
        ({"eta": "0.25"}, 0.25),
        ({"eta": 1}, 1.0),
        ({"order": "3"}, 3),
        ({"exact": "true"}, True),
        ({"exact": 0}, False),
        ({"kind": 7}, "7"),
    ],
)
def test_options_come_in_their_declared_type(given_value: dict[str, Any], checked: object) -> None:
    (name,) = given_value
    value = check_options("Heun", DECLARED, given_value)[name]
    assert value == checked and type(value) is type(checked)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"eta": 1.5}, "Heun's option eta is 1.5, but it must be a number from 0.0 to 1.0."),
        ({"eta": "much"}, "Heun's option eta is 'much', but it must be a number from 0.0 to 1.0."),
        ({"eta": math.nan}, "Heun's option eta is nan, but it must be a number from 0.0 to 1.0."),
        ({"free": math.inf}, "Heun's option free is inf, but it must be a number."),
        ({"order": 0}, "Heun's option order is 0, but it must be a whole number from 1 to 4."),
        ({"exact": "perhaps"}, "Heun's option exact is 'perhaps', but it must be true or false."),
        ({"rho": 7}, "Heun has no option 'rho'. Its options: eta, order, exact, kind, free."),
    ],
)
def test_a_wrong_option_is_one_sentence_with_owner_name_value_and_range(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as raised:
        check_options("Heun", DECLARED, wrong)
    assert str(raised.value) == sentence


def test_a_whole_number_is_not_cut_from_a_fraction() -> None:
    with pytest.raises(RequestError, match=r"order is 2\.7"):
        check_options("Heun", DECLARED, {"order": 2.7})


@given(st.dictionaries(st.sampled_from([option.name for option in DECLARED]), VALUES))
def test_whatever_is_given_a_plugin_gets_its_types_and_ranges_or_the_user_a_sentence(values: dict[str, Any]) -> None:
    try:
        checked = check_options("Heun", DECLARED, values)
    except RequestError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    for option in DECLARED:
        value = checked[option.name]
        assert type(value) is type(option.default)
        assert not isinstance(value, float) or math.isfinite(value)
        assert option.minimum is None or option.minimum <= value <= (option.maximum or 0)  # type: ignore[operator]
