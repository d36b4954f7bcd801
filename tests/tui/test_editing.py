"""Writing a prompt: lines, selections, many keys at once, and each thing that was done taken back by itself."""

import time
from functools import partial

import pytest
from textual import events
from textual.pilot import Pilot

from sdterm.tui.app import Workstation
from sdterm.tui.history import FILE, Entry, append
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.prompts import PickPrompt
from sdterm.tui.widgets.bars import Note
from sdterm.tui.widgets.prompt import PromptEditor
from sdterm.tui.widgets.recent import Recent
from tests.host.running import Running
from tests.tui.conftest import blocks_in, drive, go_to, screen_text, text_of, until, write

LONG = "a castle on a hill, " * 6
"""Longer than a row of the editor; two of them fit into a chunk of tokens, so that no hint follows."""


def note(app: Workstation) -> str:
    return text_of(app.desk.query_one(Note)).strip()


def is_there(app: Workstation, prompt: str) -> bool:
    return app.form.draft.prompt == prompt


async def paste(app: Workstation, pilot: Pilot[None], text: str) -> None:
    app.post_message(events.Paste(text))
    await until(pilot, lambda: app.form.draft.prompt.endswith(text), text)


@pytest.mark.few(1)
@pytest.mark.parametrize("keymap, key", [("default", "alt+a"), ("a1111", "ctrl+a")])
def test_a_long_prompt_is_cleared_by_two_keys(host: Running, keymap: str, key: str) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await paste(app, pilot, f"{LONG}\n{LONG}")
        await pilot.press(key, "delete")
        assert app.form.draft.prompt == ""
        await pilot.press("ctrl+z")
        await until(pilot, lambda: note(app) == "Undone: delete.")
        assert app.form.draft.prompt == f"{LONG}\n{LONG}"

    drive(host, act, keymap=keymap)


@pytest.mark.heavy
def test_line_keys_mean_the_line_and_not_the_row(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await paste(app, pilot, f"first\n{LONG}")
        editor = app.desk.query_one("#prompt", PromptEditor)
        await pilot.press("ctrl+a")
        assert editor.cursor_location == (1, 0)
        await pilot.press("ctrl+e")
        assert editor.cursor_location == (1, len(LONG))
        await pilot.press("ctrl+u")
        assert app.form.draft.prompt == "first\n"
        await pilot.press("ctrl+z", "ctrl+a", "ctrl+k")
        assert app.form.draft.prompt == "first\n"
        await pilot.press("up", "ctrl+e", "ctrl+k")
        assert app.form.draft.prompt == "first"

    drive(host, act)


def test_many_keys_at_once_are_one_edit_in_their_order(host: Running) -> None:
    text = "".join(chr(ord("a") + i % 26) for i in range(2000))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        began = time.monotonic()
        for character in text:
            app.post_message(events.Key(character, character))
        app.post_message(events.Key("backspace", "\x7f"))
        app.post_message(events.Key("tab", "\t"))
        app.post_message(events.Key("n", "n"))
        await until(pilot, lambda: app.form.draft.negative_prompt == "n", "the last key")
        assert app.form.draft.prompt == text[:-1]
        assert time.monotonic() - began < 15, "one by one they took 23 s"

    drive(host, act)


@pytest.mark.heavy
def test_each_action_is_taken_back_by_itself_and_named(host: Running) -> None:
    """All of it within a second."""

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await write(pilot, "a red house")
        await pilot.press("ctrl+up", "ctrl+up", "ctrl+down")
        assert app.form.draft.prompt == "a red (house:1.1)"
        for said, prompt in [
            ("Undone: less weight.", "a red (house:1.2)"),
            ("Undone: more weight.", "a red (house:1.1)"),
            ("Undone: more weight.", "a red house"),
        ]:
            await pilot.press("ctrl+z")
            assert (note(app), app.form.draft.prompt) == (said, prompt)
        await pilot.press("ctrl+y")
        assert (note(app), app.form.draft.prompt) == ("Redone: more weight.", "a red (house:1.1)")

    drive(host, act)


@pytest.mark.heavy
def test_loading_a_picture_is_a_step_and_typing_another(host: Running) -> None:
    host.events(host.submit(steps=1, prompt="the lake", seed=9))
    picture = host.client.pictures(limit=1).pictures[0]

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        recent = app.desk.query_one(Recent)
        await until(pilot, lambda: (chosen := recent.chosen()) and chosen.id == picture.id, "the picture")
        await write(pilot, "mine")
        await go_to(pilot, recent)
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "the lake", "the picture in the form")
        await go_to(pilot, app.desk.query_one("#prompt"))
        await pilot.press("end", "x", "y")
        await pilot.press("ctrl+z")
        assert (note(app), app.form.draft.prompt) == ("Undone: typing.", "the lake")
        await pilot.press("ctrl+z")
        assert note(app) == f"Undone: load image {picture.id}."
        assert app.form.draft.prompt == "mine" and "seed" not in app.form.draft.fields

    drive(host, act)


@pytest.mark.heavy
def test_each_prompt_of_before_is_a_step(host: Running) -> None:
    for number, prompt in enumerate(("one", "two", "three")):
        append(host.settings.root / FILE, Entry(prompt, "", number))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await write(pilot, "mine")
        for wanted in ("three", "two"):
            await pilot.press("alt+pageup")
            await until(pilot, partial(is_there, app, wanted), wanted)
        for wanted in ("three", "mine"):
            await pilot.press("ctrl+z")
            assert (note(app), app.form.draft.prompt) == ("Undone: older prompt.", wanted)

    drive(host, act)


def test_the_history_shows_what_was_drawn_of_each_prompt(host: Running) -> None:
    for prompt in ("a green hill", "never drawn \x1b[31m"):
        append(host.settings.root / FILE, Entry(prompt, "", 9))
    for prompt in ("a green hill, fog", "a green hill"):
        host.events(host.submit(steps=1, prompt=prompt))
    picture = host.client.pictures(limit=1).pictures[0]
    host.events(host.submit(steps=1, prompt="something else"))

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, PickPrompt), "the list")
        view = app.screen.query_one(PictureView)
        await until(pilot, lambda: "no image" in text_of(view), "nothing, of the newest")
        await pilot.press("down")
        await until(
            pilot, lambda: str(picture.id) in text_of(view) and blocks_in(text_of(view)), "the picture of the other"
        )
        assert "\x1b" not in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.form.draft.prompt == "a green hill", "the prompt")

    drive(host, act)
