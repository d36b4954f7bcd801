"""What stands between a pipeline and its denoisers: calls are recorded on the tape, and answered from it.

To resume, the pipeline simply runs from the top. Recorded calls are answered without running the module, where they are
given the very same. What that does not show, the weights and whatever else is inside, shows the last recorded call of
each module: it runs once more and must give the recorded bits.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import torch

from sdterm.engine.behind import Behind
from sdterm.engine.recorder import CancelledError, NonFiniteError, PausedError
from sdterm.engine.tape import Row, Tape, bit_equal
from sdterm.engine.tapped.checksums import Arguments, Given, differing
from sdterm.engine.tapped.clock import Clock, Stepped, stepped
from sdterm.engine.tapped.tap import Forward, denoisers, keeps_state
from sdterm.engine.tapped.tree import Tree, UnknownValueError, put_together, taken_apart
from sdterm.messages import message


class EndedError(BaseException):
    """The pipeline's call is over; why, the recorder knows. No `except Exception` of a library holds this."""


class UnlikeError(Exception):
    """What was recorded does not hold here: the image begins again. The message says why."""


@dataclass(frozen=True)
class Told:
    """Who is told of what, from the thread behind."""

    on_step: Callable[[int, int, Stepped], None]
    """A step of how many is done."""
    on_replayed: Callable[[int, int, int], None]
    """So many calls came from the tape, and with them this step of how many."""
    on_call: Callable[[int], None]
    on_untaped: Callable[[str], None]
    """The image is drawn without a record, for this reason. In the drawing thread."""
    on_over: Callable[[], None]
    """All steps are done. In the drawing thread."""


@dataclass(frozen=True)
class _Call:
    module: str
    number: int
    given: Given
    tree: Tree
    tensors: Sequence[torch.Tensor]


@dataclass(frozen=True)
class _StepDone:
    step: int
    steps: int
    what: Stepped


class PipelineRecorder:
    """One image's pass through a pipeline. As the recorder of samplers, it hands what is done to a thread behind, so
    that the drawing thread never waits for the device, and a reported step is really done."""

    def __init__(
        self,
        components: dict[str, Any],
        tape: Tape,
        image: int,
        pass_no: int,
        device: torch.device,
        clock: Clock,
        cancel: threading.Event,
        told: Told,
        pause_at: int | None = None,
    ) -> None:
        modules = denoisers(components)
        self._tape, self._image, self._pass, self._device = tape, image, pass_no, device
        self._clock, self._cancel, self._told, self._pause_at = clock, cancel, told, pause_at
        self._numbers = dict.fromkeys(modules, 0)
        self._proofs = {name: tape.recorded(image, pass_no, name) - 1 for name in modules}
        self._arguments = {name: Arguments(module.forward) for name, module in modules.items()}
        self._replayed = 0
        self._live = self._paused = self._is_over = False
        self.live_calls = 0
        """How many the modules computed."""
        self.last: Stepped | None = None
        """The latest step."""
        self._is_taped = True
        self._behind = Behind(self._write, "tape")
        if state := next(filter(None, map(keeps_state, modules.values())), ""):
            self._go_untaped(message("{module} keeps state between calls", module=state))

    def call(self, name: str, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A module's call. Raises EndedError."""
        self._go_on()
        number, self._numbers[name] = self._numbers[name], self._numbers[name] + 1
        try:
            given = self._arguments[name].given(args, kwargs) if self._is_taped else None
        except UnknownValueError as error:
            self._go_untaped(message("its {module} is called with {value}", module=name, value=error))
            given = None
        row = self._tape.row(self._image, self._pass, name, number) if given and not self._live else None
        if row and given and self._is_like(row, given):
            self._replayed += 1
            if number == self._proofs[name]:
                return self._proven(row, forward, args, kwargs)
            tensors = [tensor.to(self._device, copy=True) for tensor in row.tensors if tensor is not None]
            return put_together(row.tree, tensors)
        self._go_live()
        output = forward(*args, **kwargs)
        self.live_calls += 1
        if given:
            try:
                self._behind.put(_Call(name, number, given, *_copied(output)))
            except UnknownValueError as error:
                self._go_untaped(message("its {module} returns {value}", module=name, value=error))
                given = None
        if not given:
            self._behind.put(partial(self._told.on_call, number))
        return output

    def step(self, scheduler: Any, step: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A scheduler's step. Raises EndedError."""
        gave = step(*args, **kwargs)
        named = dict(zip(("model_output", "timestep", "sample"), args, strict=False)) | kwargs
        is_step = self._clock.tick(scheduler, named["timestep"])
        self.last = stepped(scheduler, named["model_output"], named["timestep"], named["sample"], gave)
        if is_step and self._live:
            self._behind.put(_StepDone(self._clock.step, self._clock.steps, self.last))
        if self._pause_at is not None and self._clock.step >= self._pause_at:
            self._paused = True
        if self._clock.is_over and not self._is_over:
            self._is_over = True
            self._told.on_over()
        self._go_on()
        return gave

    def close(self) -> None:
        """Wait until everything is written. Raises what ended the call, if anything but the pipeline did."""
        if self._behind.close() and not self._live and not isinstance(self._behind.failure, UnlikeError):
            self._go_live()
        if self._behind.failure:
            raise self._behind.failure
        if self._paused:
            raise PausedError

    def _go_on(self) -> None:
        """Unless the call is over."""
        if self._cancel.is_set():
            self._behind.failure = self._behind.failure or CancelledError()
        if self._behind.failure or self._paused:
            raise EndedError

    def _go_live(self) -> None:
        """The tape has no more answers, or no more are asked for."""
        if not self._live and self._replayed:
            self._told.on_replayed(self._replayed, self._clock.step, self._clock.steps)
        self._live = True

    def _go_untaped(self, why: str) -> None:
        self._is_taped = False
        self._tape.begin_again(self._image, self._pass)
        self._told.on_untaped(why)

    def _is_like(self, row: Row, given: Given) -> bool:
        """Whether a row is of that very call. Where it is not, it is no more to be trusted than those before it, which
        ended in it. Raises EndedError."""
        now = given.checksums()
        if row.checksum != now:
            names = ", ".join(differing(row.checksum, now))
            self._unlike(
                message(
                    "call {number} of its {module} has a different {arguments}",
                    number=row.call + 1,
                    module=row.module,
                    arguments=names,
                )
            )
        return True

    def _proven(self, row: Row, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The module's own answer to a call that is on the tape. Raises EndedError where that is another one."""
        output = forward(*args, **kwargs)
        tree, tensors = _copied(output)
        recorded = [tensor for tensor in row.tensors if tensor is not None]
        if tree != row.tree or not all(map(bit_equal, tensors, recorded)):
            self._unlike(
                message(
                    "call {number} of its {module} now returns something different",
                    number=row.call + 1,
                    module=row.module,
                )
            )
        return output

    def _unlike(self, why: str) -> NoReturn:
        self._behind.failure = self._behind.failure or UnlikeError(why)
        raise EndedError

    def _write(self, item: _Call | _StepDone | Callable[[], None]) -> None:
        match item:
            case _Call():
                self._record(item)
                self._told.on_call(item.number)
            case _StepDone():
                self._told.on_step(item.step, item.steps, item.what)
            case _:
                item()

    def _record(self, call: _Call) -> None:
        tensors = tuple(tensor.cpu() for tensor in call.tensors)
        if not all(torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()):
            raise NonFiniteError(call.number, was_given=False)
        at = self._image, self._pass, call.module, call.number
        self._tape.append(Row(*at, 0.0, call.given.checksums(), tensors, call.tree))


def _copied(output: Any) -> tuple[Tree, list[torch.Tensor]]:
    """An output as it is now: pipelines may write into it. Raises UnknownValueError."""
    tensors: list[torch.Tensor] = []

    def numbered(tensor: torch.Tensor) -> int:
        tensors.append(tensor.detach().clone())
        return len(tensors) - 1

    return taken_apart(output, numbered), tensors
