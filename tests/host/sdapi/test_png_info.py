"""What A1111 reads of a picture, word for word."""

from typing import Any

import pytest

from sdterm.core.infotext.grammar import parse
from sdterm.host.sdapi.png_info import asked, parameters, png_info
from tests.host.sdapi.exchanges import EXCHANGES
from tests.host.sdapi.exchanges import asked as request_of

READ = [each for each in EXCHANGES if each["path"].endswith("/png-info") and each["status"] == 200]
STYLES = {
    "night": ("night, stars", "sunset"),
    "framed": ("lake, {prompt}, red house", ""),
    "negative only": ("", "snow, {prompt}"),
}


@pytest.mark.parametrize("exchange", READ, ids=lambda exchange: str(exchange["id"]))
def test_a_picture_says_what_it_says_to_a1111(exchange: dict[str, Any]) -> None:
    assert png_info(asked(request_of(exchange)["json"]), STYLES) == exchange["response"]


def test_what_an_old_version_did_unsaid_and_a_first_pass_are_told() -> None:
    text = parse("a [b:c:2]\nSteps: 5, Sampler: DDIM, Size: 768x512, First pass size: 384x256, Version: v1.5.1")
    read = parameters(text, {})
    assert (read["Size-1"], read["Size-2"], read["Hires resize-1"], read["Hires resize-2"]) == (
        "384",
        "256",
        "768",
        "512",
    )
    assert read["Old prompt editing timelines"] is read["Pad conds v0"] is read["Downcast alphas_cumprod"] is True
