"""The live preview: the newest state whenever the line has room for it, never a queue of old ones."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sdterm.tui.picture.budget import Budget, Frame
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.work import begin


class _State(NamedTuple):
    step: int
    steps: int
    fetch: Callable[[], Awaitable[bytes | None]]
    caption: str


class LivePreview:
    """Feeds a view. States that find no room are forgotten for the newest, whose bytes alone are fetched; the last one
    of a picture waits for its turn."""

    def __init__(self, view: PictureView, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._budget = budget
        self._clock = clock
        self._newest: _State | None = None
        self._busy = False
        self._asked = False  # how long the terminal takes to answer

    @property
    def line_is_slow(self) -> bool:
        """The line was seen to be too slow for previews."""
        return self._budget.line_is_slow

    def offer(self, step: int, steps: int, fetch: Callable[[], Awaitable[bytes | None]], caption: str = "") -> None:
        """The state after `step` of `steps` can be had from `fetch` (None: not any more). Never blocks."""
        self._newest = _State(step, steps, fetch, caption)
        self._next()

    def _next(self) -> None:
        state = self._newest
        if state is None or self._busy or self._view.mode in ("off", "text") or not self._view.is_on_screen:
            return
        if frame := self._budget.offer(self._clock(), state.step, state.steps):
            self._newest, self._busy = None, True
            begin(self._view, self._send, state, frame)

    async def _send(self, state: _State, frame: Frame) -> None:
        try:
            if not self._asked:  # before the bytes are fetched: the job may end meanwhile
                self._asked, asked_at = True, self._clock()
                await self._terminal_has_read()
                self._budget.round_trip = self._clock() - asked_at
            if data := await state.fetch():
                written = await self._view.shown(data, caption=state.caption, frame=frame)
                self._budget.sent(self._clock(), written)
                await self._terminal_has_read()
                self._budget.acked(self._clock())
        finally:
            self._busy = False
        self._next()

    async def _terminal_has_read(self) -> None:
        if isinstance(self._view.app, PictureApp):
            await self._view.app.terminal_has_read()
