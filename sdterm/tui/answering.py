"""The one place where the host is asked for what the workstation's parts want."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sdterm.tui.calls import HostCall
from sdterm.tui.fields import field_of
from sdterm.tui.link import Link

T = TypeVar("T")


class Answering:
    """Carries calls out, and tells the user why one failed.

    say: shows a sentence. focus_field: goes to the form's field of that id.
    """

    def __init__(self, link: Link, say: Callable[[str], None], focus_field: Callable[[str], None]) -> None:
        self._link, self._say, self._focus_field = link, say, focus_field

    async def ask(self, call: HostCall[T]) -> T | None:
        """What the host answers; None once the user was told why it does not."""
        try:
            return await self._link.call(call.carry_out)
        except Exception as error:
            from sdterm.client import HostError, RefusedError

            if not isinstance(error, HostError | RefusedError):
                raise
            if not call.quiet:
                self._tell(error)
            return None

    async def answer(self, call: HostCall[T]) -> None:
        """Give the answer to whoever waits for it."""
        try:
            answer = await self.ask(call)
        except BaseException:
            call.answer.cancel()
            raise
        if not call.answer.done():
            call.answer.set_result(answer)

    def _tell(self, error: Exception) -> None:
        from sdterm.client import RefusedError

        if isinstance(error, RefusedError) and (field := error.problem.field):
            self._focus_field(field_of(field.removeprefix("request.")))
        if said := str(error):
            self._say(said)
