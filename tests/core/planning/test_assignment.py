"""`NAME=VALUE` reaches the sampler's, scheduler's or format's option or the request's field of that name."""

from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm import GenerationRequest, PluginSet, load_plugins
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.assignment import ASSIGNABLE, assign
from sdterm.request import RequestError

CLASHING = """
    from sdterm.hooks import Option, Postprocessor, Sampler, Scheduler, hookimpl

    @hookimpl
    def sdterm_postprocessors():
        return [Postprocessor("grain", "Grain", None, options=(Option("amount", 1.0), Option("fine", False)))]

    @hookimpl
    def sdterm_samplers():
        return [Sampler("twice", "Twice", None, options=(Option("rho", 1.0), Option("count", 3), Option("fast", True)))]
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    (folder / "twice.py").write_text(dedent(CLASHING))
    return load_plugins(folder)


def after(words: str, plugins: PluginSet, **fields: object) -> GenerationRequest:
    request = GenerationRequest.model_validate({"prompt": "cat"} | fields)
    return assign(request, words.split("; "), plugins)


def test_a_name_is_found_in_the_sampler_the_scheduler_the_format_and_the_request(
    plugins: PluginSet,
) -> None:
    words = "Eta=0.5; rho=5; format.quality=90; ngms=1; emphasis=No norm; cfg-scale=4; quantize=true"
    request = after(words, plugins, sampler="Euler a", scheduler="Karras", format="jpeg")
    assert request.sampler_options == {"eta": 0.5}
    assert request.scheduler_options == {"rho": 5.0} and request.format_options == {"quality": 90}
    assert (request.ngms, request.emphasis, request.cfg_scale, request.quantize) == (1.0, "No norm", 4.0, True)


def test_the_grid_is_set_by_the_fields_name_and_the_settings(plugins: PluginSet) -> None:
    for name in ("grid", "save_grid", "Save grid"):
        assert after(f"{name}=false", plugins, grid=True).grid is False
        assert after(f"{name}=true", plugins).grid is True


def test_an_option_of_a_postprocessor_is_named_with_its_id_and_asks_for_it(plugins: PluginSet) -> None:
    request = after("Grain.Amount=2; grain.fine=true", plugins)
    assert request.options == {"grain.amount": 2.0, "grain.fine": True} and request.postprocess == ()
    with pytest.raises(UnknownNameError, match=r"'grin.amount'\. Did you mean 'grain.amount'"):
        after("grin.amount=2", plugins)
    with pytest.raises(RequestError, match="Grain: the option amount is 'x'"):
        after("grain.amount=x", plugins)


def test_what_was_set_before_stays_and_the_last_word_counts(plugins: PluginSet) -> None:
    request = after("eta=0.5; eta=0.25", plugins, sampler="Euler a", sampler_options={"s_noise": 0.9})
    assert request.sampler_options == {"s_noise": 0.9, "eta": 0.25}
    assert after("sampler=Euler; s_churn=2", plugins).sampler_options == {"s_churn": 2.0}


def test_options_keep_their_types(plugins: PluginSet) -> None:
    request = after("count=5; fast=false", plugins, sampler="Twice")
    assert request.sampler_options == {"count": 5, "fast": False}


@pytest.mark.parametrize(
    ("words", "fields", "said"),
    [
        ("eta", {}, "'eta' is not an assignment: write NAME=VALUE"),
        ("etta=1", {"sampler": "Euler a"}, "Did you mean 'eta'"),
        ("zzz=1", {"sampler": "Euler a", "scheduler": "Karras"}, "Euler a has eta, s_noise. Karras has "),
        ("zzz=1", {}, "Every request has negative_prompt, steps"),
        (
            "eta=lots",
            {"sampler": "Euler a"},
            "Euler a: the option eta is 'lots', but it must be a number from 0.0 to 1.0",
        ),
        ("eta=nan", {"sampler": "Euler a"}, "eta is 'nan'"),
        ("ngms=99", {}, "ngms is '99', but it must be a number from 0 to 15"),
        ("emphasis=loud", {}, "emphasis is 'loud', but it must be one of Original, No norm"),
        ("prompt=dog", {}, "no option named 'prompt'"),
        ("sampler_options=3", {}, "no option named 'sampler_options'"),
        ("rho=3", {"sampler": "Twice", "scheduler": "Karras"}, "write sampler.rho or scheduler.rho"),
        ("count=1.5", {"sampler": "Twice"}, "count is '1.5'"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(words: str, fields: dict[str, Any], said: str, plugins: PluginSet) -> None:
    with pytest.raises((RequestError, UnknownNameError)) as caught:
        after(words, plugins, **fields)
    assert said in str(caught.value)


def test_a_name_that_two_have_is_told_apart_by_its_part(plugins: PluginSet) -> None:
    request = after("sampler.rho=3; scheduler.rho=4", plugins, sampler="Twice", scheduler="Karras")
    assert (request.sampler_options, request.scheduler_options) == ({"rho": 3.0}, {"rho": 4.0})


@given(word=st.text() | st.builds("{}={}".format, st.sampled_from(ASSIGNABLE), st.text()))
def test_any_word_is_set_or_one_sentence(word: str, plugins: PluginSet) -> None:
    try:
        assign(GenerationRequest(prompt="cat"), [word], plugins)
    except (RequestError, LookupError) as error:
        assert str(error).endswith(".") and "\x1b" not in str(error)
