"""What helps when a job failed: by its code, each as words and the request's fields that it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from sdterm.fields import Rung
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.api import JobDetails, Retry

Change = Mapping[str, Any]
_ALL = get_args(Rung)


def remedies(code: str) -> list[tuple[str, Change]]:
    """The most promising first; empty if there is nothing but the advice that came with the failure.

    A value that is a function is called with the job.
    """
    match code:
        case "out_of_memory":
            return [
                (tr("everything that needs less memory"), {"ladder": "on", "rungs": _ALL, "batch_size": _singly}),
                (tr("decode in tiles"), {"rungs": _with("vae-tiling")}),
                (tr("prompt and negative prompt one after the other"), {"rungs": _with("apart")}),
                (tr("one image at a time"), {"rungs": _with("split-batch"), "batch_size": _singly}),
                (tr("one component of the model at a time"), {"rungs": _with("component-offload")}),
                (tr("a smaller size, as a new job"), {"width": _smaller("width"), "height": _smaller("height")}),
                (tr("precision bf16 in place of float32, as a new job"), {"precision": "bf16", "seed": _seed}),
            ]
        case "not_a_number":
            return [(tr("compute in full precision"), {"precision": "full"})]
        case (
            "illegal_memory_access" | "misaligned_address" | "ecc_error" | "device_lost" | "worker_died" | "worker_hung"
        ):
            return [(tr("the same again"), {})]
    return []


def applied(change: Change, job: JobDetails) -> Retry | dict[str, Any]:
    """A failed job goes on, computed in another way. Where what is drawn changes it is the request of another job, with
    the seeds of this one."""
    from sdterm.api import Retry

    given = {name: value(job) if callable(value) else value for name, value in change.items()}
    if job.state == "failed" and given.keys() <= Retry.model_fields.keys():
        return Retry(**given)
    return {**job.request.model_dump(mode="json"), **_seeds(job), **given}


def _seeds(job: JobDetails) -> dict[str, int]:
    """Those that the job was drawn with, once they are known."""
    images = (job.plan or {}).get("images")
    if not images:
        return {}
    varied = {"variation_seed": images[0]["variation_seed"]} if job.request.variation_strength else {}
    return {"seed": images[0]["seed"], **varied}


def _seed(job: JobDetails) -> int:
    """The one that the job was drawn with. A change of the seed, even to the same, makes another job."""
    return _seeds(job).get("seed", job.request.seed)


def _smaller(side: str) -> Callable[[JobDetails], int | None]:
    """Three quarters of it, in steps of 64; of a size that was left to the model, what the model made of it."""

    def of(job: JobDetails) -> int | None:
        now = getattr(job.request, side) or (job.plan or {}).get(side)
        return None if now is None else max(64, now * 3 // 4 // 64 * 64)

    return of


def _singly(job: JobDetails) -> int:
    """One at a time, or as few as its images can be split into. Another job has as many images as this one."""
    from sdterm.api import batch_sizes

    asked = job.request
    return min(batch_sizes(asked.batch_size * asked.batch_count)) if job.state == "failed" else asked.batch_size


def _with(rung: str) -> Callable[[JobDetails], list[str]]:
    """One more step of the ladder."""
    return lambda job: [*dict.fromkeys((*job.rungs, rung))]
