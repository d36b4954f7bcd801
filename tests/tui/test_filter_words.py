"""What a filter may become while it is typed."""

import pytest

from sdterm.api import Picture
from sdterm.core.filter_fields import FILTER_FIELDS
from sdterm.host.gallery_filter import parse
from sdterm.tui.filter_words import completions, values_in

INFOTEXT = "x\nSteps: 20, Sampler: {sampler}, CFG scale: 6.5, Seed: 7, Size: 512x768, Model: one, Version: v1.9"


def picture(number: int, sampler: str) -> Picture:
    return Picture(
        id=number,
        job=12,
        number=0,
        path="a.png",
        seed=7,
        width=512,
        height=768,
        infotext=INFOTEXT.format(sampler=sampler),
        saved=1.7e9,
    )


VALUES = values_in([picture(1, "Euler a"), picture(2, "DPM++ 2M"), picture(3, "DPM++ 2M"), picture(4, 'a "b\x1b')])


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sa", ["sampler:"]),
        ("lake -sam", ["lake -sampler:"]),
        ("lake S", ["lake sampler:", "lake schedule:", "lake steps>=", "lake seed:", "lake size:"]),
        ("sampler:", ['sampler:"DPM++ 2M"', 'sampler:"Euler a"']),
        ('sampler:"e', ['sampler:"Euler a"']),
        ("x steps>", ["x steps>20"]),
        ("size:", ["size:512x768"]),
        ("seed:7", []),
        ("after:20", ["after:2023-11-14"]),
        ("", []),
        ("sampler:euler ", []),
    ],
)
def test_the_last_term_is_completed(typed: str, offered: list[str]) -> None:
    assert completions(typed, VALUES) == offered


def test_all_that_is_offered_is_a_filter_of_the_host() -> None:
    for name, field in FILTER_FIELDS.items():
        offered = completions(f"{name}{field.sign}", VALUES)
        assert offered or name in ("denoising", "clip", "schedule", "hash"), "those are in none of the infotexts"
        assert [len(parse(filled)) for filled in offered] == [1] * len(offered)
