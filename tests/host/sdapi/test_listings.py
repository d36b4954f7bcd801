"""A1111's lists of what has a name: the same items, and more."""

from typing import Any

from sdterm.core.extensions.registry import load_plugins
from sdterm.host.sdapi import listings, scripts
from tests.host.sdapi.exchanges import EXCHANGES

PLUGINS = load_plugins(None)


def recorded(name: str) -> Any:
    return next(each["response"] for each in EXCHANGES if each["id"] == name)


def test_samplers_and_schedules_are_described_as_a1111_does() -> None:
    samplers, schedulers = listings.samplers(PLUGINS), listings.schedulers(PLUGINS)
    assert [each for each in recorded("get/samplers") if each not in samplers] == []
    assert schedulers[: len(recorded("get/schedulers"))] == recorded("get/schedulers")


def test_always_on_scripts_have_a1111s_names_and_arguments() -> None:
    names = scripts.names(PLUGINS)
    assert {"refiner", "sampler", "seed"} <= {*names["txt2img"]} <= {*recorded("get/scripts")["txt2img"]}
    assert "soft inpainting" in names["img2img"]
    theirs = {each["name"]: each for each in recorded("get/script-info") if each["is_alwayson"]}
    for ours in scripts.infos(PLUGINS, ["a.safetensors"]):
        if ours["name"] in theirs:
            assert [each["label"] for each in ours["args"]] == [each["label"] for each in theirs[ours["name"]]["args"]]
            assert [each["value"] for each in ours["args"]] == [each["value"] for each in theirs[ours["name"]]["args"]]
