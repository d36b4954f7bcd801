"""Work on files, in threads that nobody has to wait for: a disk may hang for ever, as one on the network does."""

import asyncio
import contextlib
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sdterm.errors import SdtermError
from sdterm.messages import message

R = TypeVar("R")


class SlowDiskError(SdtermError, RuntimeError):
    """A disk did not answer in time."""

    code = "slow_disk"


async def in_thread(act: Callable[[], R]) -> R:
    """The result of `act`, run in a thread of its own. Unlike those of `asyncio.to_thread` it takes no place away from
    others while it hangs, and it ends with the process."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[R] = loop.create_future()

    def settle(how: Callable[[], None]) -> None:
        if not result.done():  # nobody waits any more
            how()

    def work() -> None:
        try:
            how = partial(result.set_result, act())
        except BaseException as error:
            how = partial(result.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, how)

    threading.Thread(target=work, name="files", daemon=True).start()
    return await result


class Threads:
    """At most so many threads at a time, for each of which somebody waits so many seconds at most. One that hangs keeps
    its place, so that a dead disk costs `most` threads and no more."""

    def __init__(self, most: int, limit: float) -> None:
        self._free, self._limit = asyncio.Semaphore(most), limit
        self._last_end = -math.inf

    async def run(self, act: Callable[[], R]) -> R:
        """The result of `act`. Raises SlowDiskError if it takes too long, or if all threads hang."""
        await self._acquire()
        work = asyncio.ensure_future(in_thread(act))
        work.add_done_callback(self._ended)
        done, _ = await asyncio.wait({work}, timeout=self._limit)
        if not done:
            raise self._too_slow()
        return work.result()

    async def _acquire(self) -> None:
        """A place. However long the line is, it is waited for as long as threads come to an end."""
        now = asyncio.get_running_loop().time
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limit):
                    await self._free.acquire()
                    return
            if now() - self._last_end > self._limit:
                raise self._too_slow()

    def _ended(self, work: "asyncio.Future[R]") -> None:
        self._last_end = work.get_loop().time()
        self._free.release()
        if not work.cancelled():
            work.exception()  # nobody may be left to look at it

    def _too_slow(self) -> SlowDiskError:
        return SlowDiskError(
            message(
                "The disk did not answer within {limit:.0f} s: it is very slow, or a disconnected network disk.",
                limit=self._limit,
            )
        )
