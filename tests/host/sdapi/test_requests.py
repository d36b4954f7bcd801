"""Settings of A1111 that a body of its API brings, as a request's memory optimizers and their options."""

from typing import Any

import pytest

from sdterm.core.extensions.registry import load_plugins
from sdterm.host.sdapi.img2img import translated
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import IMG2IMG, TXT2IMG, InvalidError
from sdterm.request import RequestError

PLUGINS = load_plugins(None)
SETTINGS = {"memory": ("component-offload",)}


@pytest.mark.parametrize(
    ("value", "optimizers"),
    [
        ("xformers", ("component-offload", "xformers")),
        ("sdp-no-mem - scaled dot product without memory efficient attention", ("component-offload", "sdpa-no-mem")),
        ("Doggettx", ("component-offload", "sliced")),
        ("Automatic", ("component-offload",)),
    ],
)
def test_a_way_to_compute_attention_joins_what_the_settings_ask_for(value: str, optimizers: tuple[str, ...]) -> None:
    request = asked({"prompt": "x"}, {"cross_attention_optimization": value}, PLUGINS, SETTINGS).request
    assert request.memory == optimizers


@pytest.mark.parametrize(
    ("options", "from_text", "from_image"),
    [
        ({"fp8_storage": "Enable"}, {"fp8.storage": "Enable"}, None),
        ({"fp8_storage": "Disable", "token_merging_ratio": 0, "token_merging_ratio_hr": 0.0}, {}, None),
        (
            {"token_merging_ratio": 0.5, "token_merging_ratio_img2img": 0.2, "token_merging_ratio_hr": 0.3},
            {"token_merging.ratio": 0.5, "token_merging.ratio_hr": 0.3},
            {"token_merging.ratio": 0.2, "token_merging.ratio_hr": 0.3},
        ),
        ({"token_merging_ratio_img2img": 0.2}, {}, {"token_merging.ratio": 0.2}),
    ],
)
def test_settings_of_a1111_are_options_where_they_ask_for_something(
    options: dict[str, Any], from_text: dict[str, Any], from_image: dict[str, Any] | None
) -> None:
    assert asked({"prompt": "x"}, options, PLUGINS, {}, TXT2IMG).request.options == from_text
    body = translated({"prompt": "x"}, ["0" * 64], "")
    expected = from_text if from_image is None else from_image
    assert asked(body, options, PLUGINS, {}, IMG2IMG).request.options == expected


def test_arguments_of_a_script_that_are_no_list_are_refused_by_name() -> None:
    scripts = {"alwayson_scripts": {"Soft inpainting": {"args": 5}}}
    with pytest.raises(InvalidError, match=r"Soft inpainting\.args: value is not a valid list"):
        asked(translated(scripts, ["0" * 64], ""), {}, PLUGINS, {}, IMG2IMG)


def test_an_infotext_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(RequestError, match=r"infotext has 300,028 characters; the limit is 262,144\."):
        asked({"infotext": "x\nSteps: 1, Sampler: Euler, " + 'a: "' * 75_000}, {}, PLUGINS, {})
