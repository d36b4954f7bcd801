"""A language that is chosen while the workstation is open: all of it is said anew, and one stays where one is."""

import asyncio

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from sdterm.tui.app import Workstation
from sdterm.tui.screens.generate import GenerateScreen
from sdterm.tui.screens.pick import Pick
from sdterm.tui.screens.queue import QueueScreen
from sdterm.tui.screens.settings import SettingsScreen
from sdterm.tui.widgets.bars import Note
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until

OTHERS = ["f1", "f2", "f4", "f6", "f10", "f12", "alt+c", "alt+i", "alt+l", "alt+n", "alt+p", "alt+r", "alt+w", "alt+x"]
OTHERS += ["ctrl+l", "ctrl+r", "ctrl+t", "ctrl+z", "escape", "down"]


def test_all_that_is_shown_is_said_anew_and_nothing_goes_blank(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press(*"red house")
        await until(pilot, lambda: "2/75" in screen_text(app) and "native" in screen_text(app), "hints of the host")
        app.change_language("ja")
        await until(pilot, lambda: "プロンプト" in screen_text(app) and "サンプラー" in screen_text(app))
        await until(pilot, lambda: "2/75" in screen_text(app) and "標準" in screen_text(app), "the hints, too")
        assert "red house" in screen_text(app) and "Negative" not in screen_text(app)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen) and "キュー" in screen_text(app))
        app.change_language("de")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen) and "Warteschlange" in screen_text(app))

    drive(host, act, (100, 30))


@pytest.mark.parametrize(
    "key", ["alt+m", "f3", "ctrl+p", *(pytest.param(key, marks=pytest.mark.heavy) for key in OTHERS)]
)
def test_keys_pressed_while_all_is_said_anew_end_nothing(key: str, host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and app.desk.filling.offers.catalogue)
        for language, ticks in (("de", 1), ("ja", 4), ("de", 9), ("ja", 16)):
            app.change_language(language)
            for _ in range(ticks):
                await asyncio.sleep(0)
            for pressed in (key, "tab", "alt+m", key):
                app.post_message(Key(pressed, None))
            await app.heard()
            app.go("generate")

    drive(host, act)  # which fails with what the workstation would leave in the terminal


def test_what_the_host_refuses_is_said_in_the_language_of_the_workstation(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        from sdterm.tui import calls

        await until(pilot, lambda: app.state.host == "up")
        await app.host.ask(calls.job(4_000_000))
        await until(pilot, lambda: "ジョブ 4000000 はありません。" in text_of(app.screen.query_one(Note)))

    drive(host, act, (100, 30), language="ja")


def test_settings_keep_the_filter_and_the_row_when_another_language_is_chosen_there(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up")
        app.action_go_settings()
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen) and app.screen.rows)
        screen = app.screen
        assert isinstance(screen, SettingsScreen)
        screen.query_one("#filter", Input).value = "User interface"
        await until(pilot, lambda: "keymap" not in [row.key for row in screen.rows[:2]] and len(screen.rows) < 30)
        screen.table.move_cursor(row=[row.key for row in screen.rows].index("language"))
        number = len(screen.rows)
        app.change_language("de")
        await until(pilot, lambda: app.screen is not screen and isinstance(app.screen, SettingsScreen))
        again = app.screen
        assert isinstance(again, SettingsScreen)
        await until(pilot, lambda: again.is_mounted and again.rows)
        await pilot.pause()
        chosen = again.chosen()
        assert chosen and chosen.key == "language"
        assert again.query_one("#filter", Input).value == "User interface" and len(again.rows) == number

    drive(host, act, (100, 30))


@pytest.mark.heavy
@pytest.mark.parametrize(("language", "word"), [("en", "Automatic"), ("ja", "自動"), ("de", "Automatik")])
def test_a_value_that_is_a_word_is_said_whole_and_stays_the_same_value(language: str, word: str, host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: f" {word} " in screen_text(app), "the schedule")
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        await until(pilot, lambda: screen.filling.offers.catalogue, "the lists")
        scheduler = screen.query_one("#field-scheduler", Input)
        scheduler.focus()
        await pilot.press("down")
        await until(pilot, lambda: scheduler.value not in ("", "Automatic") and scheduler.value in screen_text(app))
        await pilot.press(*"automatic")
        await until(
            pilot, lambda: isinstance(app.screen, Pick) and word in screen_text(app), "found by its English name"
        )
        await pilot.press("enter")
        await until(pilot, lambda: scheduler.value == "Automatic" and f" {word} " in screen_text(app))

    drive(host, act, (80, 24), language=language)
