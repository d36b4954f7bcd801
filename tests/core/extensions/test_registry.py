"""A plugin set is a value, and options are checked before a plugin sees them."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.extensions.catalogue import catalogue_of
from sdterm.core.extensions.check import check
from sdterm.core.extensions.registry import PluginSet, check_options, load_plugins
from sdterm.hooks import Option, PromptTransform, Sampler, Scheduler
from sdterm.request import RequestError

DECLARED = (
    Option("eta", 1.0, minimum=0.0, maximum=1.0),
    Option("order", 2, minimum=1, maximum=4),
    Option("exact", False),
    Option("kind", "heun"),
    Option("free", 0.5),
    Option("way", "there", choices=("there", "back")),
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
        ({"way": "back"}, "back"),
    ],
)
def test_options_come_in_their_declared_type(given_value: dict[str, Any], checked: object) -> None:
    (name,) = given_value
    value = check_options("Heun", DECLARED, given_value)[name]
    assert value == checked and type(value) is type(checked)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"eta": 1.5}, "Heun: the option eta is 1.5, but it must be a number from 0.0 to 1.0."),
        ({"eta": "much"}, "Heun: the option eta is 'much', but it must be a number from 0.0 to 1.0."),
        ({"eta": math.nan}, "Heun: the option eta is nan, but it must be a number from 0.0 to 1.0."),
        ({"free": math.inf}, "Heun: the option free is inf, but it must be a number."),
        ({"order": 0}, "Heun: the option order is 0, but it must be a whole number from 1 to 4."),
        ({"exact": "perhaps"}, "Heun: the option exact is 'perhaps', but it must be true or false."),
        ({"rho": 7}, "Heun has no option 'rho'. Its options: eta, order, exact, kind, free, way."),
        ({"way": "up"}, "Heun: the option way is 'up', but it must be one of there, back."),
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


# --- the order is pluggy's --------------------------------------------------------------------------------------------

GIVES = """
from sdterm.hooks import Scheduler, hookimpl

@hookimpl({options})
def sdterm_schedulers():
    return [Scheduler("{name}-1", "{name} 1", len), Scheduler("{name}-2", "{name} 2", len)]
"""


def labels(folder: Path, **options: str) -> list[str]:
    """The schedules of these plugins (name=options of its `hookimpl`), with the first and last of sdterm's own."""
    for name, marks in options.items():
        (folder / f"{name}.py").write_text(GIVES.format(name=name, options=marks))
    plugins = load_plugins(folder)
    assert not plugins.problems
    listed = [scheduler.label for scheduler in plugins.all(Scheduler)]
    own = [scheduler.label for scheduler in load_plugins().all(Scheduler)]
    return [label for label in listed if label not in own[1:-1]]


def test_what_plugins_give_is_in_the_order_of_their_names_behind_ours(tmp_path: Path) -> None:
    first, *mine = labels(tmp_path, b="", a="")
    assert (first, mine[1:]) == ("Uniform", ["a 1", "a 2", "b 1", "b 2"])


def test_tryfirst_comes_before_and_trylast_behind_all_others(tmp_path: Path) -> None:
    mine = labels(tmp_path, a="trylast=True", b="", c="tryfirst=True", d="tryfirst=True")
    assert mine[:5] == ["c 1", "c 2", "d 1", "d 2", "Uniform"]
    assert mine[6:] == ["b 1", "b 2", "a 1", "a 2"]
    catalogue = catalogue_of(load_plugins(tmp_path))
    assert [offer.label for offer in catalogue.of("Scheduler")][:2] == ["c 1", "c 2"], "also for front ends"
    assert [scheduler.label for scheduler in catalogue.names().all(Scheduler)][-2:] == ["a 1", "a 2"]


def test_what_comes_first_takes_no_name_from_who_had_it(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        "from sdterm.hooks import Scheduler, hookimpl\n\n"
        "@hookimpl(tryfirst=True)\ndef sdterm_schedulers(): return [Scheduler('karras', 'Mine', len)]\n"
    )
    (problem,) = load_plugins(tmp_path).problems
    assert problem.error == "it offers Scheduler 'karras', but schedulers has the same name 'karras'"


def test_a_function_of_another_name_may_say_which_hook_it_is(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text(
        "from sdterm.hooks import Scheduler, hookimpl\n\n"
        "@hookimpl(specname='sdterm_schedulers')\ndef smooth(): return [Scheduler('smooth', 'Smooth', len)]\n"
    )
    plugins = load_plugins(tmp_path)
    assert not plugins.problems and plugins.scheduler("smooth").label == "Smooth"
    assert check(tmp_path / "named.py") == []


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused_with_the_reason(tmp_path: Path, option: str) -> None:
    file = tmp_path / "wraps.py"
    file.write_text(
        f"from sdterm.hooks import hookimpl\n\n@hookimpl({option}=True)\ndef sdterm_schedulers(): return (yield)\n"
    )
    plugins = load_plugins(tmp_path)
    (problem,) = plugins.problems
    assert "sdterm_schedulers is a wrapper; a plugin cannot change what other plugins return" in (problem.error or "")
    assert plugins.scheduler("Karras")
    assert "sdterm_schedulers is a wrapper" in str(check(file)[0])
