"""Work that goes on beside everything else on a screen."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVarTuple

from textual.worker import Worker

Given = TypeVarTuple("Given")


class Node(Protocol):
    """A part of the screen, with which its work ends."""

    def run_worker(self, work: Any, *, group: str, exclusive: bool) -> Worker[Any]: ...


def begin(
    node: Node, work: Callable[[*Given], Coroutine[Any, Any, Any]], *given: *Given, instead: str = ""
) -> Worker[Any]:
    """Begin this work. instead: a name; what was begun under it before is cancelled. The coroutine is made when the
    work begins, so that work cancelled before leaves none that was never awaited."""
    return node.run_worker(partial(work, *given), group=instead or "default", exclusive=bool(instead))
