"""What the keys are is said where the cursor is, every overlay is left by Esc, and what was said can be read whole."""

import asyncio
import time
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Static

from sdterm.api import Entry
from sdterm.events import ExtensionChanged, Failed, Warning
from sdterm.fields import FIELDS
from sdterm.tui import progress
from sdterm.tui.actions import ACTIONS
from sdterm.tui.app import Workstation
from sdterm.tui.keymap import shown
from sdterm.tui.messages import Happened
from sdterm.tui.palette import Palette
from sdterm.tui.picture.asking import Answers
from sdterm.tui.screens.help import HelpScreen
from sdterm.tui.screens.jump import Jump
from sdterm.tui.screens.pick import Ask, Pick
from sdterm.tui.screens.plain import Plain
from sdterm.tui.state import State
from sdterm.tui.widgets import bars
from sdterm.tui.widgets.bars import KeyBar, Note, TopBar
from sdterm.tui.widgets.more import MoreOptions, SectionTitle
from sdterm.tui.widgets.recent import Recent
from tests.host.running import Running, running
from tests.tui.conftest import drive, go_to, screen_text, text_of, until, write

LONG = "This is wrong with \x1b]0;owned\x07\u202e[b]it[/b]: " + "one thing after the other, " * 12 + "and the end."


def note(app: Workstation) -> str:
    return " ".join(text_of(app.screen.query_one(Note)).split())


def keys(app: Workstation) -> str:
    return text_of(app.screen.query_one(KeyBar))


def help_text(app: Workstation) -> str:
    return str(app.screen.query_one("HelpScreen Static", Static).render())


def test_every_key_is_short_enough_for_a_screen_to_name_it() -> None:
    keys = {key.split("+")[-1] for action in ACTIONS for key in action.keys.split(",")}
    assert {key for key in keys if "_" in shown(key)} == set()


@pytest.mark.heavy
def test_help_cuts_no_name_of_a_screen_at_eighty_columns(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "…" not in text_of(app.screen.query_one(TopBar))

    drive(host, act)


@pytest.mark.heavy
def test_footer_and_help_are_about_the_place_of_the_cursor(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        assert "F5 Generate" in keys(app) and "+Weight" in keys(app) and "F8 Vary" in keys(app)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert help_text(app).split("\n")[2].startswith("Here: In a prompt") and "Esc or F1 goes back" in help_text(app)
        assert "Esc Back" in keys(app) and "Stop" not in keys(app), "Esc stops nothing here"
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk and app.focused and app.focused.id == "prompt")
        await go_to(pilot, app.desk.query_one("#field-steps"))
        await until(pilot, lambda: "Up/Down Change  Tab Next  Enter List" in keys(app))
        await go_to(pilot, app.desk.query_one(Recent))
        await until(pilot, lambda: "Up/Down Change" not in keys(app))
        assert "Enter Load" not in keys(app), "there is no image to load"
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "Here: Where an image" in help_text(app))
        await pilot.press("f1")
        await until(pilot, lambda: app.screen is app.desk and isinstance(app.focused, Recent))
        await pilot.press("f4")
        await until(pilot, lambda: "K Up" in keys(app) and "J Down" in keys(app) and "F2 Prompt" in keys(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "Here: Queue" in help_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "[Queue]" in screen_text(app) and "K Up" in keys(app))

    drive(host, act)


@pytest.mark.heavy
def test_f2_goes_to_the_prompt_from_everywhere(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        for before in ("shift+tab", "f3", "f10"):
            await pilot.press(before, "f2", "x")
            await until(pilot, lambda: app.focused and app.focused.id == "prompt")
        assert app.form.draft.prompt == "xxx"

    drive(host, act)


@pytest.mark.heavy
def test_the_header_names_every_screen_at_80_columns_and_the_picture_below(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        header = text_of(app.screen.query_one(TopBar))
        assert all(name in header for name in ("Gallery", "Queue", "Models", "M-x Extensions", "Settings"))
        await pilot.press("f1")
        await until(pilot, lambda: "[Help]" in text_of(app.screen.query_one(TopBar)))
        await pilot.press("f1")
        for width in (79, 60, 40):
            await pilot.resize_terminal(width, 24)
            await until(pilot, lambda: "M-w Image" in text_of(app.screen.query_one(TopBar)))
            header = text_of(app.screen.query_one(TopBar))
            assert "[Generate]" in header and "…" not in header
            assert all(f" {key} " in header for key in ("F3", "F4", "^L", "M-x", "F10")), "each key stays"

    drive(host, act)


@pytest.mark.heavy
def test_every_overlay_says_how_it_is_left_and_esc_leaves_it(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models)
        for key in ("ctrl+o", "ctrl+p", "alt+p", "ctrl+t", "alt+l", "alt+i", "f1"):
            await pilot.press(key)
            await until(pilot, lambda: app.screen is not app.desk, key)
            await until(pilot, lambda: "Esc" in screen_text(app).replace("Esc Stop", ""), key)
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.desk, key)

    drive(host, act)


def test_jump_mode_says_what_it_is(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, Jump) and "Press a letter to go there" in screen_text(app))
        assert "e: the prompt in your editor" in screen_text(app) and "Esc: leave" in screen_text(app)

    drive(host, act)


def test_lists_mark_what_is_chosen_now(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("alt+p")
        await until(pilot, lambda: isinstance(app.screen, Pick) and "* half" in screen_text(app))
        assert "  sixel" in screen_text(app) and screen_text(app).count("* ") == 1

    drive(host, act, preview="half")


@pytest.mark.heavy
def test_the_list_of_ways_to_show_pictures_says_why_each_is_there(
    host: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TERM", "xterm-256color"), ("TMUX", ""), ("TERM_PROGRAM", ""), ("NO_COLOR", "")):
        monkeypatch.setenv(name, value)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        app.known = app.known._replace(heard=Answers("XTerm(379)", frozenset({4, 22})))
        await pilot.press("alt+p")
        await until(pilot, lambda: isinstance(app.screen, Pick) and "* auto" in screen_text(app))
        assert "the best here: sixel" in screen_text(app) and "sixel       used now" in screen_text(app)
        assert "The terminal names sixel among its abilities." in screen_text(app)
        await pilot.press("down")
        await until(pilot, lambda: "The terminal calls itself XTerm(379), not kitty or ghostty." in screen_text(app))
        await write(pilot, "sextant")
        await until(pilot, lambda: "🬗🬤" in screen_text(app), "the signs that the font may have")
        await pilot.press("enter")
        await until(pilot, lambda: app.picture_mode() == "sextant")

    drive(host, act)


@pytest.mark.heavy
def test_the_field_that_was_hidden_in_a_terminal_too_small_has_the_cursor_again(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        steps = app.desk.query_one("#field-steps")
        await go_to(pilot, steps)
        await pilot.resize_terminal(30, 8)
        await until(pilot, lambda: app.focused is None and "40x12 is needed" in note(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: app.focused is steps)

    drive(host, act)


def test_quitting_asks_in_two_plain_words_and_stops_a_job_only_when_asked_twice(host: Running) -> None:
    job = host.submit(prompt="long", steps=150, batch_count=20)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.runs, "the job")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Ask) and "leave, the job continues" in screen_text(app))
        assert "Esc  stay" in screen_text(app)
        await pilot.press("s")
        await until(pilot, lambda: f"Stop #{job}?" in screen_text(app))
        await pilot.press("s", "escape")
        await until(pilot, lambda: app.screen is app.desk)
        await until(pilot, lambda: "Esc Stop" in keys(app))
        assert host.client.job(job).state == "running"
        await pilot.press("ctrl+q", "s")
        await until(pilot, lambda: f"Stop #{job}?" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: host.client.job(job).state == "cancelled")

    drive(host, act)


def test_who_leaves_while_the_options_are_made_anew_has_left(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("alt+m")
        await until(pilot, lambda: isinstance(app.focused, SectionTitle), "the options")
        more = app.desk.query_one(MoreOptions)
        lines = len(more.children)
        app.post_message(Key("enter", None))
        while len(more.children) == lines:
            await asyncio.sleep(0)
        app.exit()

    drive(host, act)  # which fails with what the workstation would leave in the terminal


def test_a_screen_that_is_left_waits_for_nothing_any_more(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up")
        app.post_message(Key("ctrl+p", None))
        while not (waiting := [worker for worker in app.workers if isinstance(worker.node, Palette)]):
            await asyncio.sleep(0)
        app.pop_screen()
        assert all(worker.is_cancelled for worker in waiting)

    drive(host, act)


@pytest.mark.heavy
def test_a_long_message_can_be_read_whole(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models)
        app.post_message(Happened(Entry(number=1, at=1.0, job=7, event=Warning(code="some", message=LONG))))
        await until(pilot, lambda: "(M-l: all of it)" in note(app))
        assert "and the end" not in screen_text(app)
        app.say("A later one.")
        await pilot.press("alt+l")
        await until(pilot, lambda: isinstance(app.screen, Plain))
        shown = " ".join(screen_text(app).split())
        assert "and the end." in shown and "[b]it[/b]" in shown
        assert shown.index("A later one.") < shown.index("This is wrong"), "the newest first"
        assert not {"\x1b", "\x07", "\u202e"} & {*screen_text(app)}
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk)

    drive(host, act)


def test_a_message_goes_once_it_is_old_and_one_that_holds_stays(host: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "HOLDS", 0.2)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models)
        app.say("It holds until it is taken back.", standing=True)
        app.say("Job 6 is done and cannot be cancelled.")
        await until(pilot, lambda: "Job 6" in note(app))
        await until(pilot, lambda: not note(app), "its end")
        app.say("! This is wrong.")
        await until(pilot, lambda: "! This is wrong." in note(app))
        assert [said.text for said in app._said][-2:] == ["Job 6 is done and cannot be cancelled.", "! This is wrong."]

    drive(host, act)


def test_the_trouble_of_an_extension_is_over_once_it_is_mended() -> None:
    failed = Failed(code="plugin_failed", message="It broke.", advice="Mend it.")
    state = progress.after(State(host="up"), Entry(number=1, at=1.0, job=1, event=failed))
    assert state.trouble == "plugin_failed"
    mended = ExtensionChanged(slug="mine", loaded=True, message="mine is loaded.")
    assert progress.after(state, Entry(number=2, at=2.0, job=None, event=mended)).trouble == ""
    other = Failed(code="out_of_memory", message="No room.", advice="")
    state = progress.after(state, Entry(number=3, at=3.0, job=2, event=other))
    assert progress.after(state, Entry(number=4, at=4.0, job=None, event=mended)).trouble == "out_of_memory"


MINE = """
from sdterm.hooks import Sampler, hookimpl

def draw(denoise, x, sigmas, noise, options):
    return x  # {number}

@hookimpl
def sdterm_samplers():
    return [Sampler(id="mine", label="Mine", sample=draw)]
"""


@pytest.mark.heavy
def test_each_reload_of_an_extension_is_told(host: Running) -> None:
    file: Path = host.settings.root / "extensions" / "mine.py"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        def told() -> list[str]:
            return [said.text for said in app._said if said.text.startswith("mine is loaded")]

        await until(pilot, lambda: app.state.host == "up" and app.models)
        for number in (1, 2):
            file.write_text(MINE.format(number=number))
            await until(pilot, lambda number=number: len(told()) == number)  # type: ignore[misc]
            told_at = int(time.time())
            await until(pilot, lambda told_at=told_at: int(time.time()) > told_at, "another second")  # type: ignore[misc]
        assert len({*told()}) == 2, "another time stands behind each"

    try:
        drive(host, act)
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.heavy
def test_an_empty_picture_says_which_key_fills_it(tmp_path: Path) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "No image yet: write a prompt," in screen_text(app))

    with running(tmp_path) as own:
        drive(own, act)


@pytest.mark.heavy
def test_lists_say_that_they_load_as_long_as_the_host_does_not_answer(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models)
        process = host.host
        process.suspend()
        try:
            for key in ("alt+x", "ctrl+l", "f4"):
                await pilot.press(key)
                await until(pilot, lambda: "Loading …" in screen_text(app), key)
        finally:
            process.resume()
        await until(pilot, lambda: "Loading …" not in screen_text(app))
        await pilot.press("alt+x")
        await until(pilot, lambda: "example_midpoint" in screen_text(app))

    drive(host, act)


@pytest.mark.heavy
def test_a_host_that_died_is_a_sentence_that_goes_when_it_is_back(tmp_path: Path) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.models)
        own.host.kill()
        await until(pilot, lambda: "The host ended." in note(app) and "Starting it again" in note(app))
        assert "chunked" not in note(app) and "peer" not in note(app)
        await until(pilot, lambda: app.state.host == "up")
        await until(pilot, lambda: "The host ended." not in note(app))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))

    with running(tmp_path) as own:
        drive(own, act)
        own.again()


@pytest.mark.heavy
def test_the_header_loses_whole_words_and_the_least_important_first(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: "[Gallery]" in text_of(app.screen.query_one(TopBar)))
        for width, header in (
            (60, " F2 Generate [Gallery] F4 Queue ^L Models M-x F10 Settings"),
            (50, " F2 Generate [Gallery] F4 Queue ^L M-x F10"),
            (40, " F2 Generate [Gallery] F4 ^L M-x F10"),
        ):
            await pilot.resize_terminal(width, 24)
            await until(pilot, lambda header=header: text_of(app.screen.query_one(TopBar)) == header, header)  # type: ignore[misc]

    drive(host, act)


@pytest.mark.heavy
def test_help_says_what_the_field_is_in_which_the_cursor_was(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        for name, field in (("prompt", "prompt"), ("negative", "negative_prompt"), ("field-steps", "steps")):
            await go_to(pilot, app.desk.query_one(f"#{name}"))
            await pilot.press("f1")
            told = f"{FIELDS[field].label}: {FIELDS[field].sentence}"
            await until(pilot, lambda told=told: told in help_text(app), told)  # type: ignore[misc]
            await pilot.press("f1")
        await go_to(pilot, app.desk.query_one(Recent))
        await pilot.press("f1")
        await until(
            pilot, lambda: isinstance(app.screen, HelpScreen) and FIELDS["steps"].sentence not in help_text(app)
        )

    drive(host, act)
