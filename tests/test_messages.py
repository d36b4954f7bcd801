"""A sentence remembers its template and values, through errors, events, answers and JSON."""

import copy
import json
import pickle

import pytest

from sdterm.api import Health, Problem
from sdterm.core.languages.translations import Pack
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.events import Done, Failed, event_of
from sdterm.messages import Message, as_json, from_json, listed, message, plural, sentences
from sdterm.tui.language import tr, use

GONE = message("There is no sampler named {name}.", name="Eula")


def test_a_message_is_its_english_sentence() -> None:
    assert GONE == "There is no sampler named Eula." and isinstance(GONE, str)
    assert (GONE.template, dict(GONE.values)) == ("There is no sampler named {name}.", {"name": "Eula"})
    assert json.loads(json.dumps(GONE)) == GONE
    assert message("{share:.0%} of {bytes:,}", share=0.254, bytes=12345) == "25% of 12,345"
    assert message("Braces without values {stay}.") == "Braces without values {stay}."


def test_a_count_chooses_its_sentence() -> None:
    one, many = "{number} image is left in {folder}.", "{number} images are left in {folder}."
    assert plural(one, many, 1, folder="outputs") == "1 image is left in outputs."
    left = plural(one, many, 3, folder="outputs")
    assert left == "3 images are left in outputs." and (left.one, left.template) == (one, many)


def test_messages_and_errors_are_values_of_messages() -> None:
    said = message("{error} Going on without it.", error=SdtermError(GONE))
    inner = said.values["error"]
    assert isinstance(inner, Message) and inner.template == GONE.template
    assert message("{error}", error=OSError(2, "No such file")).values["error"] == "[Errno 2] No such file"
    assert sentences("", GONE, "") is GONE and sentences(GONE, "Try again.") == f"{GONE} Try again." and not sentences()


@pytest.mark.parametrize(
    "said", [GONE, message("{why}!", why=GONE), plural("{number} file", "{number} files", 1), "plain"]
)
def test_it_crosses_json(said: str) -> None:
    back = from_json(json.loads(json.dumps(as_json(said))))
    assert (back, as_json(back)) == (said, as_json(said))


def nested(template: str, deep: int) -> object:
    inner: object = "x" * 100
    for _ in range(deep):
        inner = {"template": template, "values": {"a": inner}}
    return inner


@pytest.mark.parametrize(
    "given",
    [
        None,
        {"values": {}},
        {"template": "{gone}", "values": {"here": 1}},
        {"template": "{x:999999999}", "values": {"x": 1}},
        {"template": "{x.__class__}", "values": {"x": 1}},
        {"template": "{x!r}", "values": {"x": 1}},
        {"template": "{x:,}", "values": {"x": "text"}},
        {"template": "{x", "values": {"x": 1}},
        {"template": "{x}", "values": {"x": None}},
        {"template": "x", "values": []},
        {"template": "{a.mapped.__globals__[re]}", "values": {"a": {"template": "q"}, "a.mapped.__globals__[re]": 1}},
        {"template": "{a.zz}", "values": {"a": 1, "a.zz": 1}},
        {"template": "{a[0][0]}", "values": {"a": "x", "a[0][0]": 1}},
        {"template": "{}", "values": {"": 1}},
        {"template": "{a:f}", "values": {"a": 10**400}},
        {"template": "{a}", "values": {"a": 10**5000}},
        {"template": "x", "one": "y", "values": {"a": 1}},
        {"template": "x", "one": "y", "values": {"number": "1"}},
        nested("{a}", 3000),
        nested("{a}" * 30, 8),
    ],
)
def test_a_strange_one_is_refused(given: object) -> None:
    with pytest.raises(ValueError):
        from_json(given)


@pytest.mark.parametrize("template", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:999999999}"])
def test_a_translation_asks_for_no_more_than_values(template: str) -> None:
    try:
        use("de", [Pack("test", "de", {"{a} is here.": template})])
        assert tr("{a} is here.", a="It") == tr(message("{a} is here.", a="It")) == "It is here."
    finally:
        use(None)


def test_one_that_counts_nothing_is_still_said() -> None:
    assert tr(Message("Some files.", "Some files.", {"a": 1}, "One file.")) == "Some files."


def test_a_long_list_and_deep_or_long_messages_cross_json() -> None:
    names = listed(f"model {number}" for number in range(2000))
    deep: str = "x"
    for _ in range(40):
        deep = message("{why}.", why=deep)
    long = message("{why} Look there.", why="x" * 200_000)
    for said in (names, deep, long):
        assert from_json(json.loads(json.dumps(as_json(said)))) == said
    assert isinstance(from_json(as_json(names)), Message) and isinstance(from_json(as_json(deep)), Message)


def test_an_error_keeps_it() -> None:
    assert str(SdtermError(GONE)) is GONE
    assert SdtermError("plain").args == ("plain",) and str(SdtermError()) == ""


def test_an_event_carries_it_beside_the_sentence() -> None:
    failed = Failed(code="failed", message=GONE, advice="Plain advice.")
    said = json.loads(failed.model_dump_json())
    assert said["message"] == "There is no sampler named Eula."
    assert said["texts"] == {"message": {"template": "There is no sampler named {name}.", "values": {"name": "Eula"}}}
    back = event_of(said.pop("event"), said)
    assert isinstance(back, Failed) and as_json(back.message) == as_json(GONE) and back == failed
    assert "texts" not in json.loads(Done(images=1, seconds=1.0).model_dump_json())


def test_an_answer_carries_it() -> None:
    problem = Problem(code="bad_request", message=GONE)
    assert as_json(Problem.model_validate_json(problem.model_dump_json()).message) == as_json(GONE)
    fields = {"version": "", "pid": 1, "data": "", "started": 0, "settings": {}, "workers": ()}
    fields |= {"queue": {"paused": False, "counts": {}, "jobs": ()}, "last_event": 0, "watching": 0}
    back = Health.model_validate_json(Health.model_validate(fields | {"notices": ("plain", GONE)}).model_dump_json())
    assert [*map(as_json, back.notices)] == ["plain", as_json(GONE)]


def test_a_template_that_says_something_else_than_the_sentence_is_ignored() -> None:
    said = {
        "code": "failed",
        "message": "One thing.",
        "texts": {"message": {"template": "Another."}, "code": 1, "x": []},
    }
    assert not isinstance(Problem.model_validate(said).message, Message)


def test_made_harmless_it_stays_one() -> None:
    bad = message("{name} is unknown.", name="\x1b[31mred")
    clean = printable(bad)
    assert isinstance(clean, Message) and clean == printable(str.__str__(bad)) and "\x1b" not in clean.values["name"]  # type: ignore[operator]
    assert not isinstance(printable(message("\x1b{name}", name="x")), Message)
    assert len(printable(bad, 8)) == 8


def test_it_is_copied_and_pickled_whole() -> None:
    for other in (copy.deepcopy(GONE), pickle.loads(pickle.dumps(GONE))):
        assert as_json(other) == as_json(GONE)


def test_the_front_end_says_it_in_its_language() -> None:
    words = {
        "There is no sampler named {name}.": "Kein Sampler heißt {name}.",
        "{error} Going on without it.": "{error} Es geht ohne weiter.",
    }
    try:
        use("de", [Pack("test", "de", words)])
        assert (
            tr(message("{error} Going on without it.", error=GONE)) == "Kein Sampler heißt Eula. Es geht ohne weiter."
        )
        assert tr(message("{error} Unknown.", error=GONE)) == "Kein Sampler heißt Eula. Unknown."
    finally:
        use(None)
