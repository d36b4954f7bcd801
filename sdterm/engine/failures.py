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
from sdterm.messages import Message, message, sentences

_ADVICE = {
    PluginError.code: message("`sdterm plugins` lists what is installed and where it comes from."),
    NonFiniteError.code: (
        message("The checkpoint may be damaged or the CFG scale too high: try another model or a lower CFG scale.")
    ),
    TapeError.code: message("Choose another file with --tape."),
    OUT_OF_MEMORY: message("Try a smaller image size or a smaller batch size."),
}

# What a broken device says, in torch's and CUDA's words → code, sentence, advice. Nothing more can be computed in that
# process.
_LOOK = message("Check `nvidia-smi` and the system log (`dmesg`).")
_DEVICE_ERRORS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        ("illegal memory access", "illegal instruction", "invalid program counter", "hardware stack error"),
        ILLEGAL_ACCESS,
        message("The GPU reported an illegal memory access."),
        message("If it happens again: close other programs on the GPU, lower its clock speed, or use --no-half."),
    ),
    (
        ("misaligned address",),
        MISALIGNED,
        message("The GPU reported a misaligned address. A kernel that does not fit this GPU can cause this."),
        message(
            "If it happens again: run without --xformers and without extensions (--safe), or update torch "
            "and the driver."
        ),
    ),
    (
        ("ECC error",),
        ECC_ERROR,
        message("The GPU's memory had errors that it could not correct (ECC errors)."),
        message(
            "If it happens again, the GPU's memory is failing: `nvidia-smi -q -d ECC` counts the errors. "
            "Restart the machine, and replace the GPU if the errors continue."
        ),
    ),
    (
        (
            *("launch failure", "launch timed out", "device-side assert", "no CUDA-capable device", "GPU is lost"),
            *("busy or unavailable", "driver shutting down", "CUDA error: unknown error", "initialization error"),
        ),
        DEVICE_LOST,
        message("The GPU or its driver stopped working."),
        _LOOK,
    ),
    (
        ("no kernel image is available",),
        NO_KERNEL,
        message("This torch does not support this GPU: it was built for older or newer ones."),
        message("`sdterm doctor` says which torch supports this GPU. Until then --device cpu works, but slowly."),
    ),
    (
        ("driver version is insufficient",),
        NO_KERNEL,
        message("The GPU's driver is too old for this torch."),
        message(
            "Update the driver; `sdterm doctor` says which versions fit together. Until then --device cpu "
            "works, but slowly."
        ),
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
        return Failed(
            code="disk_full",
            message=message("The disk is full."),
            advice=message("Free some space, then generate again."),
        )
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Failed(
            code=OUT_OF_MEMORY,
            message=message("Out of memory: {reason}", reason=_first_line(error)),
            advice=_ADVICE[OUT_OF_MEMORY],
        )
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
        users = [message("{process} uses {amount}.", process=_name_of(pid), amount=amount) for pid, amount in others]
        return sentences(message("{amount} more was needed.", amount=asked[1]), *users)
    if isinstance(said := str(error), Message):
        return message("{problem}.", problem=said)
    return str(error).strip().split("\n")[0].split(". ")[0].removesuffix(".") + "."


def _name_of(pid: str) -> str:
    with suppress(psutil.Error):
        return message("Process {pid} ({name})", pid=pid, name=printable(psutil.Process(int(pid)).name(), 40))
    return message("Process {pid}", pid=pid)
