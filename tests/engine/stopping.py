"""Runs that end before their end, at a place that does not depend on how fast their reader is: he may be many events
behind."""

import threading
from pathlib import Path
from typing import Any

import torch

from sdterm import Engine, GenerationRequest, PluginSet
from sdterm.engine.run import PauseAt
from sdterm.engine.tapped.tap import denoisers
from sdterm.events import Cancelled, Event, Paused


def stop_at_step(
    engine: Engine, plugins: PluginSet, asked: GenerationRequest, step: int, tape: Path, pass_no: int = 0
) -> list[Event]:
    """Run until each image is at a step: all that was computed is on the tape, and no more is computed."""
    seen = [*engine.run(asked, plugins, tape=tape, pause_at=PauseAt(step, pass_no))]
    assert isinstance(seen[-1], Paused), seen[-1]
    return seen


def cancel_in_call(
    engine: Engine, plugins: PluginSet, asked: GenerationRequest, number: int, tape: Path | None = None
) -> list[Event]:
    """Run until that call of the network, in which the thread that draws is told to stop. It must be the last one."""
    cancel, calls = threading.Event(), 0

    def called(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            cancel.set()

    engine.preload(asked, plugins, lambda event: None)
    handle = network(engine).register_forward_hook(called)
    try:
        seen = [*engine.run(asked, plugins, tape=tape, cancel=cancel)]
    finally:
        handle.remove()
    assert isinstance(seen[-1], Cancelled), seen[-1]
    assert calls == number
    return seen


def network(engine: Engine) -> torch.nn.Module:
    """What the loaded model denoises with."""
    assert engine.model
    components: Any = engine.model.components
    if pipe := getattr(components, "pipe", None):
        return next(iter(denoisers(pipe.components).values()))
    found: torch.nn.Module = components.modules["unet"]
    return found
