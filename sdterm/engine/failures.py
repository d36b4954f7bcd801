"""Errors → the `failed` event: a code, what happened, what to do."""

import re
from contextlib import suppress
from errno import EDQUOT, ENOSPC

import psutil
import torch

from sdterm.core.text import printable
from sdterm.engine.recorder import NonFiniteError
from sdterm.engine.tape import TapeError
from sdterm.errors import SdtermError
from sdterm.events import (
    DEVICE_LOST,
    ECC_ERROR,
    ILLEGAL_ACCESS,
    LOST,
    MISALIGNED,
    NO_KERNEL,
    OUT_OF_MEMORY,
    Failed,
)
from sdterm.hooks import PluginError

_ADVICE = {
    PluginError.code: "`sdterm plugins` lists what is installed and where it comes from.",
    NonFiniteError.code: (
        "The checkpoint may be damaged or the CFG scale too high: try another model or a lower CFG scale."
    ),
    TapeError.code: "Choose another file with --tape.",
    OUT_OF_MEMORY: "Try a smaller size, or a lower batch size.",
}

# What a broken device says, in torch's and CUDA's words → code, sentence, advice. Nothing more can be computed in that
# process.
_LOOK = "Look at `nvidia-smi` and the system's log (`dmesg`)."
_DEVICE_ERRORS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        ("illegal memory access", "illegal instruction", "invalid program counter", "hardware stack error"),
        ILLEGAL_ACCESS,
        "The GPU reported an illegal memory access.",
        "If it comes back: close other programs on the GPU, lower its clock, or draw with --no-half.",
    ),
    (
        ("misaligned address",),
        MISALIGNED,
        "The GPU reported a misaligned address, which a kernel that does not fit the card makes it do.",
        "If it comes back: draw without --xformers and without extensions (--safe), or update torch and the driver.",
    ),
    (
        ("ECC error",),
        ECC_ERROR,
        "The GPU's memory gave wrong bits that it could not correct (an ECC error).",
        "If it comes back, the card's memory is failing: `nvidia-smi -q -d ECC` counts them. Restart the machine, and "
        "replace the card if they go on.",
    ),
    (
        (
            *("launch failure", "launch timed out", "device-side assert", "no CUDA-capable device", "GPU is lost"),
            *("busy or unavailable", "driver shutting down", "CUDA error: unknown error", "initialization error"),
        ),
        DEVICE_LOST,
        "The GPU or its driver stopped working.",
        _LOOK,
    ),
    (
        ("no kernel image is available",),
        NO_KERNEL,
        "This torch has no code for this GPU: the card is older or newer than those that it was built for.",
        "`sdterm doctor` says which torch fits the card. Until then --device cpu draws, slowly.",
    ),
    (
        ("driver version is insufficient",),
        NO_KERNEL,
        "The GPU's driver is too old for this torch.",
        "Update the driver; `sdterm doctor` says what fits together. Until then --device cpu draws, slowly.",
    ),
)

_NO_MEMORY = (
    "can't allocate memory",
    "out of memory",  # of CUDA's error, HIP's, and Apple's backend
    "ALLOC_FAILED",  # cuBLAS and cuDNN
    "Unable to find a valid cuDNN algorithm",  # none has room to work
)


class OutOfMemoryError(SdtermError):
    """A run has no way left that needs less memory."""

    code = OUT_OF_MEMORY


def failure(error: Exception) -> Failed | None:
    """What to tell the user; None for what should never happen: let that one be raised."""
    if isinstance(error, PluginError):
        cause: BaseException | None = error
        while isinstance(cause, PluginError):
            cause = cause.__cause__
        through = failure(cause) if isinstance(cause, RuntimeError | MemoryError) else None
        if through and through.code in (OUT_OF_MEMORY, NO_KERNEL, *LOST):
            return through  # inside the plugin, but not its fault
    if isinstance(error, RuntimeError):
        for words, code, sentence, advice in _DEVICE_ERRORS:
            if any(word in str(error) for word in words):
                return Failed(code=code, message=sentence, advice=advice)
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY):
        error = MemoryError(*error.args)
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
        return Failed(code="disk_full", message="The disk is full.", advice="Free some space, then generate again.")
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Failed(code=OUT_OF_MEMORY, message=f"Out of memory: {_first_line(error)}", advice=_ADVICE[OUT_OF_MEMORY])
    if isinstance(error, SdtermError):
        code = PluginError.code if isinstance(error, PluginError) else error.code  # a plugin's own kind may lie
        source = getattr(error, "slug", None)
        return Failed(code=code, message=str(error), advice=_ADVICE.get(code, ""), source=source)
    return None


def blamed(error: PluginError) -> str | None:
    """The slug of the plugin whose code failed; None where a plugin refused, or nothing is a plugin's fault."""
    told = failure(error)
    return told.source if told else None


def _first_line(error: Exception) -> str:
    """With what CUDA was asked for, and who else has its memory, which it says further on."""
    if asked := re.search(r"Tried to allocate ([\d.]+ \w+)", str(error)):
        others = re.findall(r"Process (\d+) has ([\d.]+ \w+) memory in use", str(error))
        who = "".join(f" {_name_of(pid)} has {amount}." for pid, amount in others)
        return f"{asked[1]} more were needed.{who}"
    return str(error).strip().split("\n")[0].split(". ")[0].removesuffix(".") + "."


def _name_of(pid: str) -> str:
    with suppress(psutil.Error):
        return f"Process {pid} ({printable(psutil.Process(int(pid)).name(), 40)})"
    return f"Process {pid}"
