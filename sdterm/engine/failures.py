"""Errors → the `failed` event: a code, what happened, what to do."""

from errno import EDQUOT, ENOSPC

import torch

from sdterm.engine.recorder import NonFiniteError
from sdterm.engine.tape import TapeError
from sdterm.errors import SdtermError
from sdterm.events import DEVICE_LOST, ILLEGAL_ACCESS, Failed
from sdterm.hooks import PluginError

_ADVICE = {
    PluginError.code: "`sdterm plugins` lists what is installed and where it comes from.",
    NonFiniteError.code: (
        "The checkpoint may be damaged or the CFG scale too high: try another model or a lower CFG scale."
    ),
    TapeError.code: "Choose another file with --tape.",
}

# What a broken device says, torch's words → code, sentence, advice. Nothing more can be computed in that process.
_DEVICE_ERRORS: tuple[tuple[str, str, str, str], ...] = (
    (
        "illegal memory access",
        ILLEGAL_ACCESS,
        "The GPU reported an illegal memory access.",
        "If it comes back: close other programs on the GPU, lower its clock, or draw with --no-half.",
    ),
    *(
        (
            words,
            DEVICE_LOST,
            "The GPU or its driver stopped working.",
            "Look at `nvidia-smi` and the system's log (`dmesg`).",
        )
        for words in (
            "launch failure",
            "device-side assert",
            "ECC error",
            "no CUDA-capable device",
            "busy or unavailable",
            "driver shutting down",
            "CUDA error: unknown error",
            "initialization error",
        )
    ),
)

_NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory")
_OUT_OF_MEMORY = "Try a smaller size, --batch 1, or --opt-split-attention."


def failure(error: Exception) -> Failed | None:
    """What to tell the user; None for what should never happen: let that one be raised."""
    if isinstance(error, PluginError):
        cause: BaseException | None = error
        while isinstance(cause, PluginError):
            cause = cause.__cause__
        through = failure(cause) if isinstance(cause, RuntimeError | MemoryError) else None
        if through and through.code in ("out_of_memory", ILLEGAL_ACCESS, DEVICE_LOST):
            return through  # inside the plugin, but not its fault
    if isinstance(error, RuntimeError):
        for words, code, sentence, advice in _DEVICE_ERRORS:
            if words in str(error):
                return Failed(code=code, message=sentence, advice=advice)
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY):
        error = MemoryError(*error.args)
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
        return Failed(code="disk_full", message="The disk is full.", advice="Free some space, then generate again.")
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Failed(code="out_of_memory", message=f"Out of memory: {_first_line(error)}", advice=_OUT_OF_MEMORY)
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
    return str(error).strip().split("\n")[0].split(". ")[0].removesuffix(".") + "."
