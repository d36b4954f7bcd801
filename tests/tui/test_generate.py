"""The form, what is drawn from it, and the pictures of before."""

import json
import time
from functools import partial
from io import BytesIO

import pytest
from PIL import Image
from textual import events
from textual.pilot import Pilot
from textual.widgets import TextArea

from sdterm.api import Entry, Picture
from sdterm.core.text import printable
from sdterm.events import Preview
from sdterm.tui.app import Workstation
from sdterm.tui.messages import Happened, InfotextPasted
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.help import HelpScreen
from sdterm.tui.screens.pick import Ask, Pick
from sdterm.tui.submitting import VARIATIONS
from sdterm.tui.widgets.bars import Note, StatusLine
from sdterm.tui.widgets.parameter import Parameter
from sdterm.tui.widgets.prompt import PromptEditor
from sdterm.tui.widgets.recent import Recent
from tests.host.running import Running
from tests.tui.conftest import blocks_in, drive, go_to, screen_text, text_of, until, write


def note(app: Workstation) -> str:
    return text_of(app.desk.query_one(Note)).strip()


def pictures(host: Running) -> int:
    return host.client.pictures(limit=1).total or 0


async def drawn(app: Workstation, pilot: Pilot[None], host: Running, more: int) -> None:
    """Wait until there are so many pictures, and the newest is among the recent ones."""
    await until(pilot, lambda: pictures(host) >= more, f"{more} pictures")
    newest = host.client.pictures(limit=1).pictures[0].id
    recent = app.desk.query_one(Recent)
    await until(pilot, lambda: recent.pictures and recent.pictures[-1].id >= newest, "the newest picture")


def test_a_prompt_is_typed_and_drawn_and_its_picture_shown(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = pictures(host)
        await write(pilot, "sunset, lake")
        await pilot.press("f5")
        await drawn(app, pilot, host, before + 1)
        await until(pilot, lambda: blocks_in(screen_text(app)), "pixels")
        await until(pilot, lambda: "done" in note(app))
        picture = host.client.pictures(limit=1).pictures[0]
        assert picture.infotext.startswith("sunset, lake\nSteps: 20")

    drive(host, act)


def test_an_empty_prompt_is_drawn(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = pictures(host)
        await pilot.press("f5")
        await drawn(app, pilot, host, before + 1)
        assert host.client.pictures(limit=1).pictures[0].infotext.startswith("Steps: 20, ")

    drive(host, act)


def test_what_was_typed_is_there_again(host: Running) -> None:
    async def first(app: Workstation, pilot: Pilot[None]) -> None:
        await write(pilot, "a red house")
        await pilot.press("tab", "tab")
        assert isinstance(app.focused, Parameter) and app.focused.field.id == "sampler"
        await pilot.press("tab", "tab", "up", "up")

    async def second(app: Workstation, pilot: Pilot[None]) -> None:
        assert app.desk.query_one("#prompt", TextArea).text == "a red house"
        assert app.desk.query_one("#field-steps", Parameter).value == "22"

    drive(host, first)
    assert json.loads((host.settings.root / "draft.json").read_text())["fields"] == {"steps": "22"}
    drive(host, second, keep_draft=True)


def test_undo_goes_through_prompts_and_parameters_alike(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.post_message(events.Paste("lake"))  # one change, however slow the machine
        await until(pilot, lambda: app.form.draft.prompt == "lake")
        await pilot.press("tab", "tab", "tab", "tab", "up")
        steps = app.desk.query_one("#field-steps", Parameter)
        assert (app.form.draft.prompt, steps.value) == ("lake", "21")
        await pilot.press("ctrl+z")
        assert (app.form.draft.prompt, steps.value) == ("lake", "20")
        await pilot.press("ctrl+z")
        assert app.desk.query_one("#prompt", TextArea).text == ""
        await pilot.press("ctrl+y", "ctrl+y")
        assert (app.desk.query_one("#prompt", TextArea).text, steps.value) == ("lake", "21")

    drive(host, act)


@pytest.mark.heavy
def test_weights_and_phrases_move_by_keys(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await write(pilot, "a red house")
        await pilot.press("ctrl+up", "alt+up")
        assert app.form.draft.prompt == "a red (house:1.2)"
        await pilot.press("ctrl+down", "ctrl+down")
        assert app.form.draft.prompt == "a red house"
        await pilot.press("end")
        await write(pilot, ", lake")
        await pilot.press("alt+left")
        assert app.form.draft.prompt == " lake,a red house"

    drive(host, act)


def test_a_trap_is_told_counted_and_mended_by_a_key(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        editor = app.desk.query_one("#prompt", PromptEditor)
        await write(pilot, "a (red house")
        await until(pilot, lambda: editor.traps, "a lint")
        await until(pilot, lambda: str(editor.border_subtitle) == "3/75", "the tokens")
        assert note(app).startswith("^F fixes this: " + editor.traps[0].message[:50])
        await pilot.press("ctrl+f")
        await until(pilot, lambda: not editor.traps and app.form.draft.prompt != "a (red house")

    drive(host, act)


def test_a_field_that_is_wrong_is_named_and_gets_the_cursor(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.form.change(app.form.draft.but(prompt="lake", steps="many", sampler="Euler a"))
        await pilot.press("f5")
        await until(pilot, lambda: "steps is 'many', but it must be a whole number from 1 to 1000" in note(app))
        assert app.focused is not None and app.focused.id == "field-steps"
        app.form.change(app.form.draft.but(steps=None, sampler="Eulr a"))
        await pilot.press("f5")
        await until(pilot, lambda: "Did you mean" in note(app))
        assert app.focused.id == "field-sampler"

    drive(host, act)


@pytest.mark.heavy
def test_five_variations_of_a_picture_and_back_to_its_seed(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.form.change(app.form.draft.but(prompt="red house, lake", steps="4", seed="7", sampler=None))
        before = pictures(host)
        await pilot.press("f5")
        await drawn(app, pilot, host, before + 1)
        await go_to(pilot, app.desk.query_one(Recent))
        await pilot.press("v")
        await drawn(app, pilot, host, before + 1 + VARIATIONS + 1)  # and their grid
        newest = host.client.pictures(limit=VARIATIONS + 1).pictures
        assert len({p.infotext for p in newest if p.kind == "image"}) == VARIATIONS
        assert all("Variation seed strength: 0.15" in p.infotext for p in newest)
        await pilot.press("left", "left", "left")
        chosen = app.desk.query_one(Recent).chosen()
        app.form.change(app.form.draft.but(prompt="something else", seed=None))
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "red house, lake")
        assert chosen and app.form.draft.fields["variation_seed"] and str(app.form.draft.fields["seed"]) == "7"
        assert "LOCK" in text_of(app.desk.query_one(StatusLine)) or "LOCK" in " ".join(app.status())
        await pilot.press("ctrl+z")
        assert app.form.draft.prompt == "something else"

    drive(host, act)


@pytest.mark.heavy
def test_what_was_just_drawn_is_shown_whatever_was_chosen_before(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent, view = app.desk.query_one(Recent), app.desk.query_one("#picture", PictureView)
        app.form.change(app.form.draft.but(prompt="red house, lake", seed="7"))
        for _ in range(2):
            host.events(host.submit(steps=1))
        await drawn(app, pilot, host, 2)
        await go_to(pilot, recent)
        for key in ("f5", "v", "f8"):
            await pilot.press("left")
            job = host.client.jobs(limit=1).jobs[0].id + 1
            await pilot.press(key)
            await until(pilot, partial(has_job, job), f"{key}: a job")
            host.events(job)
            newest = host.client.pictures(limit=1).pictures[0]
            assert newest.job == job
            await until(pilot, partial(is_chosen, recent, newest.id), f"{key}: the newest, chosen")
            await until(pilot, partial(is_shown, view, newest), f"{key}: the newest, shown")

    def has_job(job: int) -> bool:
        return host.client.jobs(limit=1).jobs[0].id == job

    def is_chosen(recent: Recent, picture: int) -> bool:
        chosen = recent.chosen()
        return chosen is not None and chosen.id == picture

    drive(host, act)


def is_shown(view: PictureView, picture: Picture) -> bool:
    """By its caption."""
    return f" {picture.id}  {picture.width}x{picture.height}  " in text_of(view)


@pytest.mark.heavy
def test_a_preview_that_comes_after_its_picture_is_not_shown(host: Running) -> None:
    """As the host sends them: events first, and the previews of their time behind."""
    preview = BytesIO()
    Image.new("RGB", (16, 16), "red").save(preview, "JPEG")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        view = app.desk.query_one("#picture", PictureView)
        job = host.submit(steps=1)
        host.events(job)
        newest = host.client.pictures(limit=1).pictures[0]
        await until(pilot, lambda: is_shown(view, newest), "the picture")
        late = Preview(index=0, step=1, data=preview.getvalue())
        app.post_message(Happened(Entry(number=1, at=time.time(), job=job, event=late)))
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert is_shown(view, newest)

    drive(host, act)


def test_a_pasted_infotext_shows_what_it_would_change_and_then_does(host: Running) -> None:
    infotext = "castle, (night:1.3)\nNegative prompt: day\nSteps: 9, Sampler: Euler a, CFG scale: 4.5, Seed: 99"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.form.change(app.form.draft.but(prompt="lake", steps=None))
        app.desk.post_message(InfotextPasted(infotext))
        await until(pilot, lambda: isinstance(app.screen, Ask) and "castle" in screen_text(app))
        assert "CFG: 7 → 4.5" in screen_text(app)
        assert "ngms" not in screen_text(app), "what stays as it is, is not told"
        await pilot.press("escape")
        assert app.form.draft.prompt == "lake"
        app.desk.post_message(InfotextPasted(infotext))
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "castle, (night:1.3)")
        fields = app.form.draft.request_fields()
        assert (fields["steps"], fields["cfg_scale"], fields["sampler"]) == (9, 4.5, "Euler a")
        assert fields["negative_prompt"] == "day"

    drive(host, act)


@pytest.mark.heavy
def test_a_sampler_is_picked_by_a_part_of_its_name(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.desk.filling.offers.catalogue, "the lists")
        await go_to(pilot, app.desk.query_one("#field-sampler"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await write(pilot, "heun")
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.fields.get("sampler") == "Heun")

    drive(host, act)


@pytest.mark.heavy
def test_what_was_said_before_help_is_not_said_again_behind_it(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up")
        host.client.pause_queue()
        await write(pilot, "lake")
        await pilot.press("f5")
        await until(pilot, lambda: "is queued" in note(app), "the job")
        await pilot.press("f1")
        host.client.resume_queue()
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and " done in " in screen_text(app), "it is done")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk, "the form")
        assert "is queued" not in note(app) and " done in " in note(app)

    drive(host, act)


@pytest.mark.heavy
def test_escape_twice_stops_and_the_queue_tells(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.form.change(app.form.draft.but(prompt="lake", steps="1000", sampler="Heun"))
        await pilot.press("f5")
        await until(pilot, lambda: app.state.runs and app.state.runs[-1].step, "a first step")
        await pilot.press("escape")
        await until(pilot, lambda: "again stops" in note(app))
        while "again stops" in note(app):  # the second one counts for some seconds only
            await pilot.press("escape")
        await until(pilot, lambda: "is cancelled" in note(app))
        app.form.change(app.form.draft.but(steps=None, sampler=None))

    drive(host, act)


@pytest.mark.heavy
def test_a_worker_that_dies_is_told_and_the_picture_comes(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        before = pictures(host)
        app.form.change(app.form.draft.but(prompt="lake", steps="200"))
        await pilot.press("f5")
        await until(pilot, lambda: app.state.runs and app.state.runs[-1].step >= 5, "five steps")
        host.worker.kill()
        await until(pilot, lambda: "The engine died" in note(app) or "continues" in note(app))
        await drawn(app, pilot, host, before + 1)

    drive(host, act)


@pytest.mark.heavy
def test_a_host_that_dies_is_found_again(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up")
        host.kill_host()
        await until(pilot, lambda: "The host ended" in note(app))
        await until(pilot, lambda: app.state.host == "up")
        host.again()

    drive(host, act)


HOSTILE = "a \x1b[31mred\x1b]0;owned\x07 [@click=app.quit]x[/] \u202eevil\u2066 " + "e" + "\u0301" * 3000


@pytest.mark.parametrize("size", [(80, 24), pytest.param((40, 12), marks=pytest.mark.heavy)])
def test_hostile_words_reach_the_terminal_as_nothing_it_obeys(host: Running, size: tuple[int, int]) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.form.change(app.form.draft.but(prompt=HOSTILE))
        await until(
            pilot, lambda: app.desk.query_one("#prompt", PromptEditor).traps, "what is wrong with it, underlined"
        )
        app.say(HOSTILE)
        await pilot.pause()
        shown = screen_text(app)
        assert not set(shown) & set("\x1b\x07\u202e\u2066") and printable("\x1b") in shown

    drive(host, act, size)
