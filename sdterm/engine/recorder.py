"""A denoiser that records to and replays from the tape, and the thread that writes behind it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index

import torch

from sdterm.core.extensions.registry import ContractError
from sdterm.engine.behind import Behind
from sdterm.engine.cut import Flag
from sdterm.engine.denoiser import Network
from sdterm.engine.tape import DENOISER, Row, Tape, checksum
from sdterm.errors import SdtermError
from sdterm.hooks import Denoised
from sdterm.messages import message


class CancelledError(Exception):
    """The user stopped the job."""


class PausedError(Exception):
    """The batch reached the step at which it is to wait."""


class MisuseError(ContractError):
    """The sampler asked for what no network can answer."""


class SwallowedError(BaseException):
    """A sampler went on though its run has ended. No `except Exception` holds this."""


class NonFiniteError(SdtermError, ArithmeticError):
    """A denoiser call gave NaN or infinity. `was_given`: because it was given such latents."""

    code = "not_a_number"

    def __init__(self, call: int, was_given: bool) -> None:
        super().__init__(message("The model's output contains NaN values from network call {call} on.", call=call + 1))
        self.call, self.was_given = call, was_given


Answers = Sequence[Row | None]
"""Of each image of a batch its row of a call, where the tape has that very call."""


@dataclass(frozen=True)
class _Call:
    number: int
    x: torch.Tensor
    sigma: float
    result: Denoised
    answers: Answers


@dataclass(frozen=True)
class _StepDone:
    step: int


class TapeRecorder:
    """The `denoise` and `callback` of one pass of a batch, between sampler and network.

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
        pass_no: int,
        images: Sequence[int],
        start: torch.Tensor,
        cancel: Flag,
        on_step: Callable[[int, torch.Tensor], None],
        on_replayed: Callable[[int, int], None],
        on_call: Callable[[int], None],
        pause_at: int | None = None,
        most_calls: int = 2**31,
    ) -> None:
        self._network, self._tape, self._pass, self._images = network, tape, pass_no, images
        self._cancel = cancel
        self._on_step, self._on_replayed, self._on_call = on_step, on_replayed, on_call
        self._pause_at, self._paused = pause_at, False
        self._shape, self._device = start.shape, start.device
        self._calls = 0
        self._most_calls = most_calls
        self._live = self._told = False
        self.steps = 0
        """How often the sampler said that a step is done."""
        self._x0: torch.Tensor | None = None
        self._behind = Behind(self._write, "tape")

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        """Answer from the tape, else from the network. Raises CancelledError, PausedError, NonFiniteError, MisuseError
        or the writer's error; SwallowedError to who goes on after one of them."""
        if self._cancel.is_set():
            self._behind.failure = self._behind.failure or CancelledError()
        if self._told:
            raise SwallowedError(message("it continued after its run had ended"))
        if self._behind.failure or self._paused:
            self._told = True
            raise self._behind.failure or PausedError()
        if x.shape != self._shape or sigma.shape != self._shape[:1]:
            raise self._misused(
                message(
                    "it called the model with x of shape {x} and sigma of shape {sigma}",
                    x=tuple(x.shape),
                    sigma=tuple(sigma.shape),
                )
            )
        if x.dtype != torch.float32 or x.device != self._device:
            raise self._misused(
                message(
                    "it called the model with x in {found}, not {wanted}",
                    found=kind_of(x.dtype, x.device),
                    wanted=kind_of(torch.float32, self._device),
                )
            )
        level = sigma[0].item()
        if not 0 <= level < math.inf:
            raise self._misused(message("it called the model with x at sigma {sigma}", sigma=level))
        if self._calls >= self._most_calls:
            raise self._misused(message("it called the network more than {limit:,} times", limit=self._most_calls))
        number, self._calls = self._calls, self._calls + 1
        answers = self._answers(number, x, level)
        rows = [row for row in answers if row]
        if len(rows) == len(answers):
            return _stacked(rows, x.device)
        if not self._live:
            self._go_live(number)
        try:
            result = self._network(x, sigma, number)
        except Exception as error:
            self._behind.failure = error
            raise
        result = _filled(result, answers)
        # Copies: samplers may change what they are given, and the writer reads later.
        self._behind.put(_Call(number, x.clone(), level, _map(torch.Tensor.clone, result), answers))
        return result

    def callback(self, i: int, denoised: torch.Tensor) -> None:
        """The sampler finished step i; those of the tape are reported together, at its end."""
        i = index(i)
        self.steps += 1
        if self._live:
            self._behind.put(_StepDone(i + 1))
        if self._pause_at is not None and i + 1 >= self._pause_at:
            self._paused = True
            raise PausedError

    def close(self) -> None:
        """Wait until everything is written. Raises what ended the run, if anything but the sampler did."""
        if self._behind.close() and not self._live:
            self._go_live(self._calls)
        if self._behind.failure:
            raise self._behind.failure
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
        self._behind.failure = self._behind.failure or error
        self._told = True
        return error

    def _answers(self, number: int, x: torch.Tensor, sigma: float) -> Answers:
        """What the tape has of this call. Rows of an image that goes another way are cut off. Where some images have
        none, the network is called for the whole batch, in its shape: another shape may round differently. The others
        keep what they have, so that a batch of images that are not equally far loses nothing."""
        answers: list[Row | None] = []
        for image, x_row in zip(self._images, x, strict=True):
            row = self._tape.row(image, self._pass, DENOISER, number)
            if row and not row.answers(x_row, sigma):
                self._tape.cut(image, self._pass, DENOISER, number)
                row = None
            answers.append(row)
        return answers

    def _write(self, item: _Call | _StepDone) -> None:
        if isinstance(item, _Call):
            self._x0 = self._record(item)
            self._on_call(item.number)
        elif self._x0 is not None:
            self._on_step(item.step, self._x0)

    def _record(self, call: _Call) -> torch.Tensor:
        x, result = call.x.cpu(), _map(torch.Tensor.cpu, call.result)
        if not torch.isfinite(result.x0).all():
            raise NonFiniteError(call.number, was_given=not torch.isfinite(x).all())
        for position, image in enumerate(self._images):
            if call.answers[position] is None:
                own = Denoised(result.x0[position], result.uncond[position] if result.uncond is not None else None)
                of_x = checksum(x[position])
                self._tape.append(Row(image, self._pass, DENOISER, call.number, call.sigma, of_x, own))
        return result.x0[0]


def kind_of(dtype: torch.dtype, device: torch.device) -> str:
    """`float32 on cpu`."""
    return f"{str(dtype).removeprefix('torch.')} on {device}"


def _stacked(rows: Sequence[Row], device: torch.device) -> Denoised:
    """A batch's answer to a call that the tape has of all its images."""
    unguided = [row.result.uncond for row in rows if row.result.uncond is not None]
    x0 = torch.stack([row.result.x0 for row in rows]).to(device)
    return Denoised(x0, torch.stack(unguided).to(device) if len(unguided) == len(rows) else None)


def _filled(live: Denoised, answers: Answers) -> Denoised:
    """The network's answer, with the tape's for those images of which it has one."""
    if not any(answers):
        return live
    filled = _map(torch.Tensor.clone, live)
    for position, row in enumerate(answers):
        if row:
            filled.x0[position] = row.result.x0
            if filled.uncond is not None and row.result.uncond is not None:
                filled.uncond[position] = row.result.uncond
    return filled


def _map(change: Callable[[torch.Tensor], torch.Tensor], result: Denoised) -> Denoised:
    return Denoised(change(result.x0), change(result.uncond) if result.uncond is not None else None)
