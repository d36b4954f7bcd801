"""A job that draws nothing: pictures in words."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.interrogators import find_interrogator
from sdterm.core.text import printable
from sdterm.engine.device import memory_use
from sdterm.engine.ladder import with_room
from sdterm.engine.pulse import Pulse
from sdterm.events import Cancelled, Described, Done, Event
from sdterm.messages import message
from sdterm.request import GenerationRequest

_LONGEST = 10_000  # characters


def describe_pictures(
    request: GenerationRequest,
    plugins: PluginSet,
    library: Library,
    device: torch.device,
    pulse: Pulse,
    cancel: threading.Event,
    emit: Callable[[Event], None],
    free: Callable[[], bool],
) -> None:
    """Each picture, one after the other. free: lets go of models for drawing, where memory runs out. Raises what one
    cannot be described for."""
    began, pulse.phase = time.perf_counter(), "load"
    chosen = find_interrogator(request.interrogator, plugins, library)
    inputs = Inputs(library.root)
    options = {option.name: option.default for option in chosen.of.options}
    for index, digest in enumerate(request.interrogate_images):
        if cancel.is_set():
            emit(Cancelled(images=0))
            return
        image = np.asarray(inputs.read(digest).convert("RGB"))

        def described(image: NDArray[Any] = image) -> str:
            with plugins.guard(chosen.of, torch.OutOfMemoryError):
                text = chosen.of.describe(image.copy(), chosen.folder, device, **options)
                if not isinstance(text, str):
                    raise ContractError(message("it returned no text"))
                return text

        text = with_room(described, free, emit)
        model = chosen.folder.name if chosen.folder else ""
        emit(
            Described(
                index=index, text=printable(" ".join(text.split()), _LONGEST), interrogator=chosen.of.label, model=model
            )
        )
    memory = memory_use(device)
    emit(
        Done(
            images=0,
            seconds=time.perf_counter() - began,
            memory_active=memory.active,
            memory_reserved=memory.reserved,
            memory_used=memory.used,
            memory_total=memory.total,
        )
    )
