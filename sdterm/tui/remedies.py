"""What helps when a job failed: by its code, each as words and the request's fields that it changes."""

from collections.abc import Callable, Mapping
from typing import Any

from sdterm.core.language import tr

Change = Mapping[str, Any]


def remedies(code: str, values: Mapping[str, Any]) -> list[tuple[str, Change]]:
    """The most promising first; empty if there is nothing but the advice that came with the failure.

    A value that is a function is called with the job's request.
    """
    match code:
        case "out_of_memory":
            return [
                (tr("a smaller size"), {"width": _smaller("width"), "height": _smaller("height")}),
                (tr("one image at a time"), {"batch_size": 1, "batch_count": _all_alone}),
                (tr("decode in tiles"), {"memory": _with("vae-tiling")}),
                (tr("attention in slices"), {"memory": _with("sliced")}),
                (tr("prompt and negative prompt one after the other"), {"batch_cond_uncond": False}),
            ]
        case "nan" | "not_a_number" | "black_image":
            return [(tr("compute in full precision"), {"precision": "full"})]
        case "illegal_memory_access" | "device_lost" | "worker_lost" | "hung":
            return [(tr("the same again"), {})]
    return []


def _smaller(side: str) -> Callable[[Any], int | None]:
    """Three quarters of it, in steps of 64; a size that was left to the model stays so."""

    def of(request: Any) -> int | None:
        now = getattr(request, side)
        return None if now is None else max(64, now * 3 // 4 // 64 * 64)

    return of


def _all_alone(request: Any) -> int:
    images: int = request.batch_count * request.batch_size
    return min(1000, images)


def _with(optimizer: str) -> Callable[[Any], list[str]]:
    return lambda request: [*dict.fromkeys((*request.memory, optimizer))]
