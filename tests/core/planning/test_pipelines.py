"""What a request may ask of a model that a pipeline draws with."""

from typing import Any

import pytest

from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.pipelines import check, completed, edits, lost_settings, pipeline_options
from sdterm.hooks import Option
from sdterm.request import GenerationRequest, RequestError, make_request

FLUX = PipelineFacts(
    id="diffusers",
    tasks=("txt2img", "img2img"),
    takes={"prompt": None, "steps": 28, "width": None, "height": None, "cfg_scale": 3.5},
    options=(Option("max_sequence_length", 512), Option("shift", 3.0, minimum=0.01, maximum=100.0)),
    samplers={"FlowMatchEulerDiscrete": ("Karras",), "UniPCMultistep": ()},
)
KONTEXT = FLUX.model_copy(update={"tasks": ("txt2img", "edit")})
DIGEST = "0" * 64


def _settled(facts: PipelineFacts = FLUX, **fields: Any) -> GenerationRequest:
    request = completed(make_request(prompt="a", **fields), facts, "flux-dev")
    check(request, facts, "flux-dev")
    return request


def test_what_a_request_does_not_say_is_the_pipelines_own() -> None:
    request = _settled()
    assert (request.pipeline, request.sampler, request.scheduler) == (
        "diffusers",
        "FlowMatchEulerDiscrete",
        "Automatic",
    )
    assert (request.steps, request.cfg_scale) == (28, 3.5)
    assert completed(request, FLUX, "flux-dev") == request


def test_what_it_says_counts_also_where_that_is_what_other_models_have() -> None:
    request = _settled(steps=20, cfg_scale=7.0, sampler="unipcmultistep")
    assert (request.steps, request.cfg_scale, request.sampler) == (20, 7.0, "UniPCMultistep")
    assert _settled(sampler="UniPCMultistepScheduler").sampler == "UniPCMultistep"
    assert _settled(scheduler="karras").scheduler == "Karras"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("negative_prompt", "blurry"),
        ("variation_strength", 0.5),
        ("hires", True),
        ("refiner", "x"),
        ("seed_resize_width", 512),
        ("sampler_options", {"eta": 1.0}),
        ("pipeline_options", {"guidance_scale": 3.0}),
        ("pipeline_options", {"nothing": 3.0}),
        ("pipeline_options", {"shift": 1000.0}),
        ("denoise_hooks", ("soft_inpainting",)),
    ],
)
def test_what_the_pipeline_does_not_take_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(RequestError) as refused:
        _settled(FLUX, **{field: value})
    assert refused.value.field == field


def test_samplers_of_a1111_are_refused_with_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="'FlowMatchEulerDiscrete' or 'UniPCMultistep'") as refused:
        _settled(sampler="Euler a")
    assert refused.value.field == "sampler"
    with pytest.raises(UnknownNameError, match="Automatic") as refused:
        _settled(sampler="UniPCMultistep", scheduler="Karras")
    assert refused.value.field == "scheduler"


def test_guidance_has_the_name_that_requests_have_for_it() -> None:
    with pytest.raises(RequestError, match="cfg_scale"):
        _settled(pipeline_options={"guidance_scale": 3.0})


def test_options_that_are_set_are_converted_and_others_stay_the_pipelines_own() -> None:
    request = _settled(pipeline_options={"max_sequence_length": "256"})
    assert pipeline_options(request, FLUX, "flux-dev") == {"max_sequence_length": 256}


def test_what_settings_have_for_all_models_is_named_and_not_refused() -> None:
    request = _settled(clip_skip=2, noise_source="CPU", tiling=True, quantize=True)
    assert lost_settings(request, FLUX) == ["Clip skip", "RNG", "Tiling", "Quantize timesteps"]


def test_pictures_are_begun_with_or_looked_at() -> None:
    assert not edits(_settled(init_images=(DIGEST,)), FLUX)
    assert edits(_settled(KONTEXT, init_images=(DIGEST,)), KONTEXT)
    with pytest.raises(RequestError) as refused:
        _settled(init_images=(DIGEST,), mask=DIGEST)
    assert refused.value.field == "mask"
    with pytest.raises(RequestError) as refused:
        _settled(KONTEXT, init_images=(DIGEST,), denoising_strength=0.5)
    assert refused.value.field == "denoising_strength"
    with pytest.raises(RequestError, match="add an init image"):
        _settled(FLUX.model_copy(update={"tasks": ("edit",)}))
