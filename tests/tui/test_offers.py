"""What the form's lists have to choose from."""

import pytest

from sdterm import load_plugins
from sdterm.api import Model
from sdterm.core.extensions.catalogue import catalogue_of
from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.hooks import Option
from sdterm.tui.fields import quick_field
from sdterm.tui.offers import Offers

FLOW = Model(name="flow", path="/flow.safetensors", size=1, process="flow")
DIFFUSION = Model(name="demo", path="/demo.safetensors", size=1)
OFFERS = Offers(catalogue=catalogue_of(load_plugins()), models=(DIFFUSION, FLOW))


@pytest.mark.parametrize(
    ("kind", "model", "first", "last", "note"),
    [
        ("sampler", "flow", "Euler", "LCM", "not for rectified-flow models"),
        ("scheduler", "flow", "Automatic", "Align Your Steps", "not for rectified-flow models"),
    ],
)
def test_what_cannot_draw_with_the_chosen_model_is_last_and_says_why(
    kind: str, model: str, first: str, last: str, note: str
) -> None:
    plain = OFFERS.of(quick_field(kind), {}) or ()
    choices = OFFERS.of(quick_field(kind), {"model": model}) or ()
    assert sorted(choice.name for choice in choices) == sorted(choice.name for choice in plain)
    unfit = [choice.name for choice in choices if choice.note == note]
    assert last in unfit and first not in unfit and [choice.name for choice in choices][-len(unfit) :] == unfit
    assert plain == OFFERS.of(quick_field(kind), {"model": "demo"}), "the first model is a diffusion model"
    assert not any(choice.note.startswith("not for") for choice in plain)


FACTS = PipelineFacts(
    id="diffusers",
    takes={"prompt": None, "steps": 28, "width": None, "height": None, "cfg_scale": 3.5},
    options=(Option("max_sequence_length", 512),),
    samplers={"FlowMatchEulerDiscrete": ("Karras",), "UniPCMultistep": ()},
)
FLUX = Model(name="flux", path="/flux", size=1, process="flow", family="Flux", pipeline=FACTS)
WITH_FLUX = Offers(catalogue=catalogue_of(load_plugins()), models=(DIFFUSION, FLUX))


def test_a_model_that_a_pipeline_draws_with_offers_the_pipelines_own_samplers_and_options() -> None:
    samplers = WITH_FLUX.of(quick_field("sampler"), {"model": "flux"}) or ()
    assert [choice.name for choice in samplers] == ["FlowMatchEulerDiscrete", "UniPCMultistep"]
    schedules = WITH_FLUX.of(quick_field("scheduler"), {"model": "flux", "sampler": "FlowMatchEulerDiscrete"}) or ()
    assert [choice.name for choice in schedules] == ["Automatic", "Karras"]
    fields = {field.id for field in WITH_FLUX.options({"model": "flux", "sampler": "Euler a", "format": "png"})}
    assert "pipeline_options.max_sequence_length" in fields and not any("sampler_options" in name for name in fields)
    assert WITH_FLUX.own({"model": "flux"}) == {"sampler": "FlowMatchEulerDiscrete", "steps": 28, "cfg_scale": 3.5}
    assert not WITH_FLUX.own({"model": "demo"})


def test_only_what_the_chosen_model_takes_is_sent() -> None:
    draft = {"prompt": "a", "negative_prompt": "b", "hires": True, "clip_skip": 2, "sampler": "Euler a", "steps": 9}
    options = {"pipeline_options": {"max_sequence_length": 256}}
    sent = WITH_FLUX.sent({**draft, **options, "model": "flux"})
    assert sent == {"prompt": "a", "steps": 9, "model": "flux", **options}
    assert WITH_FLUX.sent({**draft, **options, "model": "demo"}) == {**draft, "model": "demo"}


def test_choosing_another_model_takes_out_what_only_the_one_before_knew() -> None:
    values = {"sampler": "Euler a", "scheduler": "Karras", "model": "demo"}
    changes = WITH_FLUX.fitting("model", {"model": "flux"}, values)
    assert changes == {"model": "flux", "sampler": None, "pipeline": None, "pipeline_options": None}
    back = {"sampler": "UniPCMultistep", "pipeline_options": {"max_sequence_length": 256}, "model": "flux"}
    changes = WITH_FLUX.fitting("model", {"model": "demo"}, back)
    assert changes == {"model": "demo", "sampler": None, "pipeline": None, "pipeline_options": None}
