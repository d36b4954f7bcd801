"""Checkpoints of full size have as many parameters as the models, and are the same wherever they are made."""

import math

import pytest

from tools import full_size

KNOWN = {  # millions of parameters, as published
    "sd15": {"model.diffusion_model.": 859.52, "first_stage_model.": 83.65, "cond_stage_model.": 123.06},
    "sd21": {"model.diffusion_model.": 865.91, "first_stage_model.": 83.65, "cond_stage_model.": 354.03},
    "sdxl": {
        "model.diffusion_model.": 2567.46,
        "first_stage_model.": 83.65,
        "conditioner.embedders.0.": 123.06,
        "conditioner.embedders.1.": 694.66,
    },
}


@pytest.mark.parametrize("model", KNOWN)
def test_each_has_as_many_parameters_as_its_model(model: str) -> None:
    found = dict.fromkeys(KNOWN[model], 0)
    for key, shape in full_size.shapes(model):
        (part,) = (prefix for prefix in found if key.startswith(prefix))
        found[part] += math.prod(shape)
    assert {part: round(count / 1e6, 2) for part, count in found.items()} == KNOWN[model]


def test_a_tensor_is_the_same_each_time_unlike_the_others_and_as_large_as_its_sums_allow() -> None:
    def numbers(key: str, *shape: int) -> list[float]:
        return [float(number) for part in full_size._random(key, shape) for number in part]

    wide = numbers("a.weight", 64, 256)
    assert wide == numbers("a.weight", 64, 256) != numbers("b.weight", 64, 256)
    assert len(wide) == 64 * 256 and 0.05 < math.sqrt(sum(each**2 for each in wide) / len(wide)) < 0.075
    norm = numbers("norm.weight", 1000)
    assert abs(sum(norm) / 1000 - 1) < 0.01 and abs(sum(numbers("norm.bias", 1000)) / 1000) < 0.01
