"""The Extensions screen on a real host: what is installed, switched, broken and removed there."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input

from sdterm.core.extensions.install.install import apply, prepare_install
from sdterm.core.extensions.install.manage import remove
from sdterm.core.extensions.install.records import changing
from sdterm.tui.app import Workstation
from sdterm.tui.screens.extensions import ExtensionsScreen
from sdterm.tui.screens.pick import Ask, Type
from sdterm.tui.widgets.bars import Note
from tests.host.running import REPOSITORY, Running
from tests.tui.conftest import drive, screen_text, text_of, until

SOURCE = str(REPOSITORY / "examples" / "er_sde")
BROKEN = "from sdterm.hooks import hookimpl\n@hookimpl\ndef sdterm_samplerz(): return []\n"


def note(app: Workstation) -> str:
    return " ".join(text_of(app.screen.query_one(Note)).split())


def rows(app: Workstation) -> dict[str, str]:
    """Name → state."""
    table = app.screen.query_one(DataTable)
    return {str(row[0]): str(row[3]) for row in map(table.get_row_at, range(table.row_count))}


async def ask_to_install(app: Workstation, pilot: Pilot[None]) -> None:
    """Go to the Extensions screen and there as far as the question whether ER SDE is to be installed."""
    await pilot.press("alt+x")
    await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen) and "example_midpoint" in rows(app))
    await pilot.press("i")
    await until(pilot, lambda: isinstance(app.screen, Type))
    app.screen.query_one(Input).value = SOURCE
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, Ask))


def test_an_extension_is_installed_switched_and_removed_by_keys(host: Running) -> None:
    folder = host.settings.root / "extensions"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ask_to_install(app, pilot)
        await until(pilot, lambda: "with all your rights" in " ".join(screen_text(app).split()))
        assert not [path for path in folder.iterdir() if path.name.startswith("er")]  # nothing is there yet
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen) and rows(app).get("er-sde") == "serves")
        app.screen.query_one(DataTable).move_cursor(row=list(rows(app)).index("er-sde"))
        await pilot.press("enter")
        await until(pilot, lambda: rows(app)["er-sde"] == "off")
        await pilot.press("enter")
        await until(pilot, lambda: rows(app)["er-sde"] == "serves")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen) and "er-sde" not in rows(app))

    drive(host, act)


def test_an_install_that_is_refused_is_not_called_done(host: Running) -> None:
    root = host.settings.root

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ask_to_install(app, pilot)
        apply(prepare_install(root, SOURCE, print), print)  # as another sdterm would, while one reads
        beneath = app.screen_stack[-2].query_one(Note)
        await until(pilot, lambda: "er-sde is loaded" in text_of(beneath))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen) and "is loaded" not in note(app))
        assert note(app).startswith("! Another sdterm changed er-sde meanwhile. Review it again.")

    try:
        drive(host, act)
    finally:
        remove(root, "er-sde", print)


def test_what_was_agreed_to_is_done_though_another_language_is_chosen_meanwhile(host: Running) -> None:
    root = host.settings.root

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await ask_to_install(app, pilot)
        with changing(root):  # which it waits for
            await pilot.press("y")
            await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen))
            closed = app.screen
            app.change_language("de")
            await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen) and app.screen is not closed)
        await until(pilot, lambda: "er-sde" in rows(app))

    try:
        drive(host, act)
    finally:
        remove(root, "er-sde", print)


def test_a_source_that_is_nothing_is_told(host: Running) -> None:
    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await pilot.press("alt+x")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, Type))
        app.screen.query_one(Input).value = "ext::sh -c id"
        await pilot.press("enter")
        await until(pilot, lambda: note(app).startswith("!"))

    drive(host, act)


@pytest.mark.heavy
def test_a_mistake_is_named_on_whatever_screen_one_is(host: Running) -> None:
    file: Path = host.settings.root / "extensions" / "mine.py"

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up")
        file.write_text(BROKEN)
        await until(pilot, lambda: "did you mean sdterm_samplers? (mine.py:3)" in note(app))
        await pilot.press("alt+x")
        await until(pilot, lambda: isinstance(app.screen, ExtensionsScreen) and "mine" in rows(app))
        assert rows(app)["mine"] == "! does not run"
        file.unlink()
        await until(pilot, lambda: "mine" not in rows(app))

    try:
        drive(host, act)
    finally:
        file.unlink(missing_ok=True)
