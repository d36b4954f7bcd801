"""Keys in the order in which they were pressed.

Textual hands a key to the widget that has the focus and goes on; a key that the widget does not know climbs to the
application, queue by queue, and is looked up there. A burst of keys, as a slow line delivers it or as it was typed
before there was a screen, is done in another order then: letters first, Backspace and Tab behind them.
"""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.widgets import Input, TextArea

ReturnType = TypeVar("ReturnType")


class OrderedKeys(App[ReturnType]):
    """An app that hears one key after the other, from `hear_keys` on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.patience = 1.0  # seconds that a key may take before the next one is heard anyway
        self._pressed: asyncio.Queue[events.Key | events.Paste] = asyncio.Queue()
        self._hearing: asyncio.Task[None] | None = None

    def hear_keys(self) -> None:
        """Begin, with what was typed so far."""
        self._hearing = asyncio.create_task(self._hear(), name="keys")

    async def heard(self) -> None:
        """Wait until all keys that were pressed so far have done what they do, or the app has ended, which hears no
        more."""
        done = asyncio.create_task(self._pressed.join())
        await asyncio.wait({done, self._hearing} if self._hearing else {done}, return_when=asyncio.FIRST_COMPLETED)
        done.cancel()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            if isinstance(event, events.Key) and "alt+" in event.key:
                event.character = None  # Alt+E writes no e: with its letter an editor would take it for one
            self._pressed.put_nowait(event)
        else:
            await super().on_event(event)

    async def _hear(self) -> None:
        behind: events.Key | events.Paste | None = None
        while True:
            event, behind = behind or await self._pressed.get(), None
            heard = 1
            if not self.screen_stack:  # the app has ended
                return
            if self.focused is None:  # a screen that was just opened has its focus to come
                await self._await(self.screen)
            target = self.focused or self.screen
            while isinstance(event, events.Key) and event.is_printable and isinstance(target, Input | TextArea):
                if self._pressed.empty():
                    break
                behind = self._pressed.get_nowait()
                if not (isinstance(behind, events.Key) and behind.is_printable):
                    break
                # what arrives together is written together: each edit by itself costs some milliseconds
                event.character, behind, heard = f"{event.character}{behind.character}", None, heard + 1
            try:
                await super().on_event(event)
            except Exception as error:
                self._handle_exception(error)
                return
            await self._await(*target.ancestors_with_self)
            for _ in range(heard):
                self._pressed.task_done()

    async def _await(self, *pumps: MessagePump) -> None:
        """Wait until these have done what they are asked now, unless that waits for something."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                for pump in pumps:
                    await _has_passed(pump)

    async def _on_exit_app(self) -> None:
        if self._hearing:
            self._hearing.cancel()
        await super()._on_exit_app()


async def _has_passed(pump: MessagePump) -> None:
    """Wait until all messages were done that are in its queue now."""
    passed = asyncio.get_running_loop().create_future()
    if pump.is_running and pump.call_later(_set, passed):
        await passed


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
