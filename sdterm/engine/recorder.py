"""A denoiser that records to and replays from the tape, and the thread that writes behind it."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from queue import Queue

import torch

from sdterm.core.registry import ContractError
from sdterm.engine.denoiser import Network
from sdterm.engine.tape import Row, Tape, checksum
from sdterm.hooks import Denoised


class CancelledError(Exception):
    """The user stopped the job."""


class PausedError(Exception):
    """The batch reached the step at which it is to wait."""


class MisuseError(ContractError):
    """The sampler asked for what no network can answer."""


class SwallowedError(BaseException):
    """A sampler went on though its run has ended. No `except Exception` holds this."""


class NonFiniteError(ArithmeticError):
    """A denoiser call gave NaN or infinity. `was_given`: because it was given such latents."""

    def __init__(self, call: int, was_given: bool) -> None:
        super().__init__(f"The model's output is not a number from network call {call + 1} on.")
        self.call, self.was_given = call, was_given


@dataclass(frozen=True)
class _Call:
    number: int
    x: torch.Tensor
    sigma: float
    result: Denoised


@dataclass(frozen=True)
class _StepDone:
    step: int


class Recorder:
    """The `denoise` and `callback` of one batch, between sampler and network.

    Finished calls are handed to a thread as they are, still on the device. That thread waits for them, looks for
    NaN, writes the tape and reports steps (`on_step(step, x0 of the first image)`), so the sampling thread never
    waits for the device, and a reported step is really done. At most two calls are in flight: what dies with the
    process is the call in flight and the one being written. What the tape answers is reported once, at its end
    (`on_replayed(calls, steps)`): a process may die between writing a step and reporting it.
    """

    def __init__(
        self,
        network: Network,
        tape: Tape,
        images: Sequence[int],
        start: torch.Tensor,
        cancel: threading.Event,
        on_step: Callable[[int, torch.Tensor], None],
        on_replayed: Callable[[int, int], None],
        on_call: Callable[[int], None],
        pause_at: int | None = None,
        most_calls: int = 2**31,
    ) -> None:
        self._network, self._tape, self._images, self._cancel = network, tape, images, cancel
        self._on_step, self._on_replayed, self._on_call = on_step, on_replayed, on_call
        self._pause_at, self._paused = pause_at, False
        self._shape, self._device = start.shape, start.device
        self._calls = 0
        self._most_calls = most_calls
        self._live = self._told = False
        self._failure: Exception | None = None
        self.steps = 0
        """How often the sampler said that a step is done."""
        self._queue: Queue[_Call | _StepDone | None] = Queue(maxsize=2)
        self._thread = threading.Thread(target=self._write_behind, name="tape", daemon=True)
        self._thread.start()

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        """Answer from the tape, else from the network. Raises CancelledError, PausedError, NonFiniteError, MisuseError
        or the writer's error; SwallowedError to who goes on after one of them."""
        if self._cancel.is_set():
            self._failure = self._failure or CancelledError()
        if self._told:
            raise SwallowedError("it went on after its run had ended")
        if self._failure or self._paused:
            self._told = True
            raise self._failure or PausedError()
        if x.shape != self._shape or sigma.shape != self._shape[:1]:
            raise self._misused(f"it asked for x {tuple(x.shape)} at sigma {tuple(sigma.shape)}")
        if x.dtype != torch.float32 or x.device != self._device:
            raise self._misused(
                f"it asked for x in {kind_of(x.dtype, x.device)}, not {kind_of(torch.float32, self._device)}"
            )
        level = sigma[0].item()
        if not 0 <= level < math.inf:
            raise self._misused(f"it asked for x at sigma {level}")
        if self._calls >= self._most_calls:
            raise self._misused(f"it called the network more than {self._most_calls:,} times")
        number, self._calls = self._calls, self._calls + 1
        if not self._live:
            if replayed := self._replay(number, x, level):
                return replayed
            self._go_live(number)
        try:
            result = self._network(x, sigma, number)
        except Exception as error:
            self._failure = error
            raise
        # Copies: samplers may change what they are given, and the writer reads later.
        self._queue.put(_Call(number, x.clone(), level, _map(torch.Tensor.clone, result)))
        return result

    def callback(self, i: int, denoised: torch.Tensor) -> None:
        """The sampler finished step i; those of the tape are reported together, at its end."""
        i = index(i)
        self.steps += 1
        if self._live:
            self._queue.put(_StepDone(i + 1))
        if self._pause_at is not None and i + 1 >= self._pause_at:
            self._paused = True
            raise PausedError

    def close(self) -> None:
        """Wait until everything is written. Raises what ended the run, if anything but the sampler did."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            if not self._live:
                self._go_live(self._calls)
        if self._failure:
            raise self._failure
        if self._paused:
            raise PausedError

    def _go_live(self, replayed: int) -> None:
        """The tape has no more answers, or no more are asked for."""
        self._live = True
        if replayed:
            self._on_replayed(replayed, self.steps)

    def _misused(self, said: str) -> MisuseError:
        """Kept, so that the run ends with it even if the sampler catches it and makes do without the answer."""
        error = MisuseError(said)
        self._failure = self._failure or error
        self._told = True
        return error

    def _replay(self, number: int, x: torch.Tensor, sigma: float) -> Denoised | None:
        """The batch's rows of this call, or None if any is missing: then all are computed again, in the batch shape
        they had, since another shape may round differently."""
        rows = [self._tape.row(image, number) for image in self._images]
        answers = [row for row, x_row in zip(rows, x, strict=True) if row and row.answers(x_row, sigma)]
        if len(answers) == len(rows):
            return Denoised(
                torch.stack([row.result.x0 for row in answers]).to(x.device),
                torch.stack([row.result.uncond for row in answers if row.result.uncond is not None]).to(x.device)
                if answers[0].result.uncond is not None
                else None,
            )
        for image in self._images:
            self._tape.cut(image, number)
        return None

    def _write_behind(self) -> None:
        x0: torch.Tensor | None = None
        while (item := self._queue.get()) is not None:
            if self._failure:
                continue  # drain, so that the sampling thread never blocks on a dead writer
            try:
                if isinstance(item, _Call):
                    x0 = self._record(item)
                    self._on_call(item.number)
                elif x0 is not None:
                    self._on_step(item.step, x0)
            except Exception as error:
                self._failure = error

    def _record(self, call: _Call) -> torch.Tensor:
        x, result = call.x.cpu(), _map(torch.Tensor.cpu, call.result)
        if not torch.isfinite(result.x0).all():
            raise NonFiniteError(call.number, was_given=not torch.isfinite(x).all())
        for position, image in enumerate(self._images):
            own = Denoised(result.x0[position], result.uncond[position] if result.uncond is not None else None)
            self._tape.append(Row(image, call.number, call.sigma, checksum(x[position]), own))
        return result.x0[0]


def kind_of(dtype: torch.dtype, device: torch.device) -> str:
    """`float32 on cpu`."""
    return f"{str(dtype).removeprefix('torch.')} on {device}"


def _map(change: Callable[[torch.Tensor], torch.Tensor], result: Denoised) -> Denoised:
    return Denoised(change(result.x0), change(result.uncond) if result.uncond is not None else None)
