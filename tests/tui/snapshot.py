"""Screens as SVG files, compared with those that are kept.

`pytest tests/tui/test_snapshots.py --update-snapshots` writes them anew; a browser shows them."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from rich.text import Text
from textual.app import App
from textual.coordinate import Coordinate
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static
from textual.worker import WorkerCancelled

from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.bars import Note
from tests.tui.conftest import screen_text, until

FOLDER = Path(__file__).parent / "snapshots"
REPOSITORY = Path(__file__).parents[2]
_WITHIN = 15.0  # seconds: a busy machine may still be painting


class Snapshots:
    """What is compared in one test. data: the data folder, which the snapshots call /data."""

    def __init__(self, data: Path, updated: bool, new: Path) -> None:
        self._machine = {str(data): "/data", str(REPOSITORY): "/sdterm"}
        self._updated, self._new = updated, new
        self._wrong: list[str] = []

    async def take(self, pilot: Pilot[None], name: str) -> None:
        """Compare the screen as it is now, or keep it."""
        kept = FOLDER / f"{name}.svg"
        await self._anonymise(pilot)
        if self._updated:
            await until(pilot, lambda: _settled(pilot.app), "rest")
            FOLDER.mkdir(exist_ok=True)
            kept.write_text(svg(pilot.app), encoding="utf-8")
            return
        wanted = kept.read_text(encoding="utf-8") if kept.exists() else ""
        deadline = asyncio.get_running_loop().time() + _WITHIN
        while svg(pilot.app) != wanted:
            if not wanted or asyncio.get_running_loop().time() > deadline:
                new = self._new / kept.name
                new.write_text(svg(pilot.app), encoding="utf-8")
                self._wrong.append(f"{name} is not as in {kept}; see {new}\n{screen_text(pilot.app)}")
                return
            await self._anonymise(pilot)

    def report(self) -> None:
        """Fail if a screen was another."""
        if self._wrong:
            pytest.fail("\n\n".join(self._wrong), pytrace=False)

    async def _anonymise(self, pilot: Pilot[None]) -> None:
        """Let the screen name no path of this machine, whose length decides where lines end."""
        with contextlib.suppress(WorkerCancelled):  # another one took its place: it is looked again
            await pilot.app.workers.wait_for_complete()
        for screen in pilot.app.screen_stack:
            for note in screen.query(Note):
                self._rename(note.text, note.say)
            for static in screen.query(Static):
                if isinstance(static.content, Text):
                    self._rename(static.content.plain, static.update)
            for table in screen.query(DataTable):
                for at in (Coordinate(*at) for at in product(range(table.row_count), range(len(table.columns)))):
                    cell = table.get_cell_at(at)
                    if isinstance(cell, Text):
                        self._rename(cell.plain, partial(self._write_cell, table, at))
            for line in screen.query(Input):
                line.cursor_blink = False
        await pilot.pause()

    def _write_cell(self, table: DataTable[Text], at: Coordinate, text: str) -> None:
        table.update_cell_at(at, Text(text, no_wrap=True, overflow="ellipsis"))

    def _rename(self, text: str, say: Callable[[str], object]) -> None:
        renamed = text
        for path, name in self._machine.items():
            renamed = renamed.replace(path, name)
        if renamed != text:
            say(renamed)


def _settled(app: App[None]) -> bool:
    return all(screen.settled() for screen in app.screen_stack if isinstance(screen, BaseScreen))


def svg(app: App[None]) -> str:
    """The screen, without what differs from run to run and what a browser does not need."""
    drawn = app.export_screenshot(simplify=True)
    drawn = re.sub(r"terminal-\d+-", "s-", drawn)
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<clipPath id="s-line-\d+">.*?</clipPath>', "", drawn, flags=re.DOTALL)
    drawn = re.sub(r' clip-path="url\(#s-line-\d+\)"| textLength="[^"]*"', "", drawn)
    drawn = drawn.replace(' shape-rendering="crispEdges"', "")
    drawn = re.sub(r"(?<=>)(?=<(?:text|rect))", "\n", drawn)
    return re.sub(r"\s*\n\s*", "\n", drawn).strip() + "\n"
