"""What the form's lists have to choose from."""

import pytest

from sdterm import load_plugins
from sdterm.api import Model
from sdterm.core.extensions.catalogue import catalogue_of
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
