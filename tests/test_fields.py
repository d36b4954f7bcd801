"""Each field of a request stands in one row, and from there in every place that shows or takes it."""

import json
from pathlib import Path
from typing import Literal

import click
import pytest

from sdterm import load_plugins
from sdterm.cli.generate import generate
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.keys import DRAWN, KEYS, OURS
from sdterm.core.infotext.read import read
from sdterm.core.infotext.record import Provenance
from sdterm.core.output.naming import TOKENS
from sdterm.core.planning.assignment import ASSIGNABLE
from sdterm.core.settings.quick import EQUALS, LATER
from sdterm.core.settings.settings import SETTINGS_BY_KEY
from sdterm.engine.header import _NOT_RECORDED
from sdterm.fields import FIELDS, RequestField, shown_as_one
from sdterm.request import GenerationRequest, describe, make_request
from sdterm.tui.fields import DEFAULTS, field_of, quick_field

A1111 = json.loads((Path(__file__).parent / "golden" / "a1111_names.json").read_text())
PLUGINS = load_plugins()
each_field = pytest.mark.parametrize("row", FIELDS.values(), ids=FIELDS.keys())


@each_field
def test_a_field_stands_wherever_it_must(row: RequestField, repo: Path) -> None:
    name = row.name
    typed = [option for option in generate.params if isinstance(option, click.Option)]
    requested = GenerationRequest.model_fields[name]
    places = {
        "the request, with this default": row.default is ... or requested.default == row.default,
        "the request's schema, with its sentence": row.default is ... or requested.description == row.sentence,
        "the command line": name == "prompt"
        or not row.option
        or any(row.option in option.opts and (option.metavar or "") == row.metavar for option in typed),
        "--set": name == "prompt" or isinstance(row.default, tuple | dict) or name in ASSIGNABLE,
        "the form": name in ("prompt", "negative_prompt") or (name in DEFAULTS and row in quick_field(name).rows),
        "settings": not row.section
        or (SETTINGS_BY_KEY[name].default, SETTINGS_BY_KEY[name].sentence) == (row.default, row.sentence),
        "A1111's settings": not row.a1111
        or (EQUALS[row.a1111] == name and row.a1111 not in LATER and row.a1111 in A1111["settings"]),
        "A1111's API": not row.api or row.api in {*A1111["txt2img"], *A1111["img2img"]},
        "infotexts": {*row.infotext} <= OURS,
        "file names": not row.token or row.token in TOKENS,
        "tape or record": (name in DRAWN or row.decides in ("prompt", "how"))
        and (name in _NOT_RECORDED) == (row.decides in ("finish", "how")),
        "the reference": f"| `{name}` |" in (repo / "docs" / "reference.md").read_text(),
    }
    assert [place for place, there in places.items() if not there] == []


def test_a_request_has_a_row_for_each_field() -> None:
    assert [*GenerationRequest.model_fields] == [*FIELDS]


@each_field
def test_a_number_outside_its_bounds_is_refused_and_told(row: RequestField) -> None:
    for bound, step in ((row.least, -1), (row.most, 1)):
        if bound is None or row.name == "prompt":
            continue
        step *= row.multiple or 1
        assert make_request(**{"prompt": "x", row.name: bound})
        with pytest.raises(ValueError, match=row.name) as caught:
            make_request(**{"prompt": "x", row.name: bound + step})
        assert describe(row.name) in str(caught.value)


@pytest.mark.parametrize(
    "rows", [rows for keys, rows in shown_as_one("infotext").items() if {*keys} & KEYS.keys()], ids=str
)
def test_a_record_says_what_the_keys_of_an_infotext_do_not(rows: list[RequestField]) -> None:
    """A field that is not A1111's, or that A1111 would leave out, is read back as exactly as one that it writes."""
    fields = {row.name: row.default for row in rows if row.default not in (..., None)}
    record = Provenance(sdterm="1", fields=fields)
    said = read(parse(f"a house\nSteps: 3, sdterm: {record}"), PLUGINS).fields
    assert {name: said.get(name, value) for name, value in fields.items()} == fields


def test_two_fields_that_are_shown_as_one_agree_on_how() -> None:
    columns: tuple[Literal["infotext", "option", "form"], ...] = ("infotext", "option", "form")
    for column in columns:
        pairs = [rows for name, rows in shown_as_one(column).items() if name and len(rows) > 1]
        assert all(first.label == second.label and first.cells == second.cells for first, second in pairs)
        assert column != "option" or all(first.metavar == second.metavar for first, second in pairs)


@pytest.mark.parametrize(
    ("name", "text", "by", "stepped"),
    [
        ("steps", "20", 1, "21"),
        ("steps", "1", -1, "1"),
        ("steps", "1000", 1, "1000"),
        ("steps", "many", 1, None),
        ("cfg_scale", "7", 1, "7.5"),
        ("cfg_scale", "0", -1, "0"),
        ("variation_strength", "1", 1, "1"),
        ("width", "512x768", 1, "576x832"),
        ("width", "512", -1, "448x448"),
        ("width", "64x4096", 1, "128x4096"),
        ("width", "", 1, None),
        ("batch_count", "3x2", 1, "4x2"),
        ("batch_count", "3", -1, "2x1"),
        ("variation_strength", "0.95", 2, "1"),
        ("seed", "-1", -1, "-1"),
        ("sampler", "Euler", 1, None),
    ],
)
def test_a_number_of_the_form_steps_within_its_bounds(name: str, text: str, by: int, stepped: str | None) -> None:
    assert quick_field(name).stepped(text, by) == stepped


@pytest.mark.parametrize(
    ("name", "text", "fields", "shown"),
    [
        ("width", "512", {"width": "512", "height": "512"}, "512x512"),
        ("height", "512×768", {"width": "512", "height": "768"}, "512x768"),
        ("width", "", {"width": None, "height": None}, ""),
        ("batch_size", "3x2", {"batch_count": "3", "batch_size": "2"}, "3x2"),
        ("memory", "sliced, vae-tiling", {"memory": ("sliced", "vae-tiling")}, "sliced, vae-tiling"),
        ("styles", " ", {"styles": None}, ""),
        ("ensd", " 7 ", {"ensd": "7"}, "7"),
    ],
)
def test_what_is_typed_in_the_form_is_a_request_and_back(
    name: str, text: str, fields: dict[str, object], shown: str
) -> None:
    field = quick_field(name)
    assert field.write(text, {}) == fields
    assert field.read(fields) == shown
    assert field.id == field_of(name)
