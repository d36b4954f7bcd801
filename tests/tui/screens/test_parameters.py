"""All parameters in one list."""

from functools import partial

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from sdterm.fields import FIELDS
from sdterm.request import GenerationRequest
from sdterm.tui.app import Workstation
from sdterm.tui.screens.parameters import ParametersScreen
from sdterm.tui.screens.pick import Pick, Type
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until


def test_a_parameter_is_changed_refused_and_given_its_default_again(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        async def type_in(text: str) -> None:
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Type), "a line to type in")
            app.screen.query_one(Input).value = text
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, ParametersScreen), "the list")

        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen), "the list")
        names = [name for name in GenerationRequest.model_fields if name not in ("prompt", "negative_prompt")]
        app.screen.query_one(OptionList).highlighted = names.index("steps")
        await type_in("33")
        assert app.form.values()["steps"] in (33, "33")
        await until(pilot, lambda: "* steps" in screen_text(app), "the sign of what was changed")
        await type_in("many")
        assert app.form.values()["steps"] in (33, "33")
        await pilot.press("d")
        assert "steps" not in app.form.draft.fields
        app.screen.query_one(OptionList).highlighted = names.index("sampler_options")
        await type_in("eta=0.5")
        assert app.form.draft.fields["sampler_options"] == {"eta": "0.5"}
        app.screen.query_one(OptionList).highlighted = names.index("width")
        await type_in("512+64")
        assert app.form.draft.fields["width"] == "576"
        app.screen.query_one(OptionList).highlighted = names.index("tiling")
        await pilot.press("enter")
        assert app.form.draft.fields["tiling"] == "true"
        for name, words, value in (("emphasis", "ign", "Ignore"), ("sampler", "heun", "Heun")):
            await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
            app.screen.query_one(OptionList).highlighted = names.index(name)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Pick), "its list")
            await pilot.press(*words, "enter")
            await until(pilot, lambda: isinstance(app.screen, ParametersScreen), "all of them")
            assert app.form.draft.fields[name] == value
            await until(pilot, partial(is_shown, app, value), value)
        await pilot.press("escape")

    def is_shown(app: Workstation, value: str) -> bool:
        return f" {value}" in screen_text(app)

    drive(host, act, size=(100, 60))


@pytest.mark.heavy
def test_the_sentence_of_every_field_is_whole_at_80_columns(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen), "the list")
        for name, field in FIELDS.items():
            if name in ("prompt", "negative_prompt"):
                continue
            await until(pilot, lambda field=field: is_told(app, field.sentence), name)  # type: ignore[misc]
            await pilot.press("j")

    def is_told(app: Workstation, sentence: str) -> bool:
        return " ".join(text_of(app.screen.query_one("#about")).split()) == sentence

    drive(host, act)
