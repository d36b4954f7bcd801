"""The form of a model that a pipeline draws with: what that does not take is not there."""

from collections.abc import Iterator

import pytest
from textual.pilot import Pilot

from sdterm.api import Picture
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.tui.app import Workstation
from sdterm.tui.screens.generate import GenerateScreen
from sdterm.tui.widgets.parameter import Parameter
from tests.host.running import Running, running
from tests.pipelines.hollow import hollow
from tests.tui.conftest import drive, screen_text, until


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    hollow(data / CHECKPOINTS / "klein")
    with running(data) as found:
        found.client.pause_queue()
        yield found


def test_the_form_changes_with_the_model(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await until(pilot, lambda: screen.filling.offers.models, "the models")

        def shown(name: str) -> Parameter:
            return screen.query_one(f"#field-{name}", Parameter)

        def choose(model: str) -> None:
            screen.form.change(screen.form.draft.but(model=model))

        choose("sdterm-demo")
        await until(pilot, lambda: screen.query_one("#negative").display, "the negative prompt")
        assert (shown("sampler").value, shown("steps").value) == ("DPM++ 2M", "20")
        screen.form.change(screen.form.draft.but(prompt="a house", negative_prompt="fog", variation_strength="0.5"))
        choose("klein")
        await until(pilot, lambda: not screen.query_one("#negative").display, "a form without negative prompt")
        values = (shown("sampler").value, shown("steps").value, shown("cfg_scale").value)
        assert values == ("FlowMatchEulerDiscrete", "50", "4")
        assert not shown("variation_strength").display
        screen.action_more_options()
        await until(pilot, lambda: "max sequence length" in screen_text(app), "the options")
        assert "Init image" in screen_text(app) and "Hires" not in screen_text(app)
        screen.drawing.generate()
        await until(pilot, lambda: host.client.jobs().jobs, "the job")
        request = host.client.job(host.client.jobs().jobs[0].id).request
        assert (request.negative_prompt, request.variation_strength, request.steps) == ("", 0.0, 50)
        assert screen.form.draft.negative_prompt == "fog", "it is there again with a model that takes it"
        screen.form.fill({"model": "klein", "steps": 20, "cfg_scale": 4.0})
        assert screen.form.draft.fields.get("steps") == 20 and "cfg_scale" not in screen.form.draft.fields
        choose("sdterm-demo")
        await until(pilot, lambda: screen.query_one("#negative").display, "the negative prompt again")

    drive(host, act, (120, 60))


def test_a_model_without_hires_fix_makes_no_hires_version(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await until(pilot, lambda: screen.filling.offers.models, "the models")
        said = "a house\nSteps: 20, Sampler: FlowMatchEulerDiscrete, Seed: 1, Size: 64x64, Model: klein"
        facts = {"id": 3, "job": None, "number": 0, "path": "/a.png", "width": 64, "height": 64, "saved": 0.0}
        before = host.client.health().last_event
        assert not await screen.drawing.draw_hires(Picture(**facts, infotext=said), screen.sources.put)
        assert "The model of image 3 has no hires fix." in screen_text(app)
        assert host.client.health().last_event == before

    drive(host, act)


def test_form_and_status_line_name_the_same_model(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await until(pilot, lambda: "klein" in app.status(), "the first model")
        hollow(host.settings.root / CHECKPOINTS / "another")
        await screen.filling.learn()
        assert "another" in app.status() and screen.query_one("#field-model", Parameter).placeholder == "another"

    drive(host, act)
