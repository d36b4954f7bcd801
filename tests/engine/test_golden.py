"""The same numbers as A1111: tokens, schedules, latents, pictures.

Each measurement is a property of its test, so that docs/compatibility.md can be made from a run's report.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sdterm import Engine, GenerationRequest, PluginSet
from sdterm.core.infotext import grammar as infotext
from sdterm.core.planning.choices import choose
from sdterm.engine.schedule import pass_sigmas
from sdterm.events import Done
from sdterm.hooks import ModelFamily, ModelSampling, SamplingOptions
from sdterm.plugins.sd.tokenizer import tokenize
from tests.engine.conftest import images
from tests.engine.golden import RUNS, array, as_plan, as_request, distance, final_latents, has, pixels, psnr
from tests.tiny_checkpoint import GOLDEN

ADAPTIVE = "DPM adaptive|Automatic"  # its step control flips with the last bit: compared per call, in test_samplers


def is_heavy(run: str) -> bool:
    """Large pictures and long runs are, and so is a sampler's every schedule, whose sigmas are compared anyway."""
    asked = RUNS[run]["request"]
    light = asked["width"] * asked["height"] <= 128 * 128 and asked["steps"] <= 10
    common = asked.get("scheduler") in (None, "Automatic") or run.startswith("extras/")
    return not (light and common)


COMPARED = [pytest.param(run, marks=[pytest.mark.heavy] * is_heavy(run)) for run in RUNS if run != ADAPTIVE]

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def sampling(tiny_engine: Engine, plugins: PluginSet) -> ModelSampling:
    choices = choose(GenerationRequest(prompt="any"), plugins, tiny_engine.library)
    model = choices.first.model
    assert isinstance(model.family, ModelFamily)
    components = model.family.build(model.checkpoint, torch.device("cpu"), torch.float32)
    return components.sampling(SamplingOptions())


@pytest.mark.parametrize("case", json.loads((GOLDEN / "tokens.json").read_text()), ids=lambda case: repr(case["text"]))
def test_text_becomes_the_tokens_a1111_makes(case: dict[str, Any]) -> None:
    assert tokenize(case["text"]) == case["ids"]


@pytest.mark.parametrize("run", [run for run in RUNS if has(run, "sigmas")])
def test_schedules_are_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet, sampling: ModelSampling) -> None:
    request = as_request(run)
    parts = choose(request, plugins, tiny_engine.library).first
    plan = as_plan(request, tiny_engine, plugins)
    levels = parts.sampler.sampling(sampling) if parts.sampler.sampling else sampling
    sigmas = pass_sigmas(parts, request, plan.passes[0], plugins, levels)
    golden = array(run, "sigmas")
    if parts.sampler.id in ("dpm_fast", "dpm_adaptive"):  # theirs is a schedule that these two do not look at
        golden, sigmas = golden[[0, -2]], sigmas[[0, -1]]
    elif parts.sampler.id == "unipc":  # nor does this one
        golden, sigmas = np.array([sampling.sigma_max, sampling.sigma_min]), sigmas[[0, -1]]
    elif golden.dtype == np.int64:  # timesteps, ascending
        golden = sampling.sigmas.numpy()[golden][::-1]
    assert np.allclose(sigmas.numpy(), golden, rtol=1e-5, atol=0)


def told(text: str, reference: str) -> tuple[object, ...]:
    """What a text says under the keys of another, but for the version, which is A1111's, and the hash, which is of a
    checkpoint file with another header."""
    known, keys = infotext.parse(text), infotext.parse(reference).parameters.keys() - {"Version", "Model hash"}
    return known.prompt, known.negative_prompt, {key: known.parameters.get(key) for key in keys}


@pytest.mark.few(28)
@pytest.mark.parametrize("run", COMPARED)
def test_latents_and_pictures_are_a1111s(
    run: str, tiny_engine: Engine, plugins: PluginSet, record_property: Record
) -> None:
    request = as_request(run)
    with final_latents(tiny_engine) as finished:
        *_, last = events = list(tiny_engine.run(request, plugins))
    assert isinstance(last, Done), last
    drawn = images(events)
    for image, text in zip(drawn, RUNS[run]["infotexts"], strict=True):
        assert told(image.infotext, text) == told(text, text)

    record_property("case", run)
    record_property("sampler", request.sampler)
    record_property("scheduler", request.scheduler)
    pairs = zip(drawn, np.atleast_3d(array(run, "image")), strict=True)
    quality = min(psnr(pixels(image.data), golden) for image, golden in pairs)
    record_property("psnr", quality)
    if has(run, "latent"):
        error = distance(np.stack(finished), array(run, "latent"))
        record_property("latent_error", error)
        assert error <= 1e-3
    assert quality >= 45


@pytest.mark.heavy
def test_dpm_adaptive_draws(tiny_engine: Engine, plugins: PluginSet) -> None:
    (image,) = images(list(tiny_engine.run(as_request(ADAPTIVE), plugins)))
    assert pixels(image.data).std() > 10
