"""What waits for keys; the order in which they are heard is seen in test_editing."""

import asyncio

from textual import events

from sdterm.tui.ordered import OrderedKeys


class Hearing(OrderedKeys[None]):
    """An app that hears keys and does nothing else."""

    def on_mount(self) -> None:
        self.hear_keys()


def test_who_waits_for_a_key_waits_no_longer_once_the_app_has_ended() -> None:
    async def go() -> None:
        app = Hearing()
        async with app.run_test() as pilot:
            await pilot.press("a")
            await app.heard()
        await app.on_event(events.Key("b", "b"))
        await asyncio.wait_for(app.heard(), 60)

    asyncio.run(go())
