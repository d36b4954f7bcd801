"""All parameters in one list."""

from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from sdterm.request import GenerationRequest
from sdterm.tui.app import Workstation
from sdterm.tui.screens.parameters import ParametersScreen
from sdterm.tui.screens.pick import Type
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, until


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
        await pilot.press("escape")

    drive(host, act, size=(100, 60))
