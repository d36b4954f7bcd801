"""What helps when a job failed: by its code, each as words and the request's fields that it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.api import JobDetails, Retry

Change = Mapping[str, Any]


def remedies(code: str) -> list[tuple[str, Change]]:
    """The most promising first; empty if there is nothing but the advice that came with the failure.

    A value that is a function is called with the job.
    """
    match code:
        case "out_of_memory":
            return [
                (tr("a smaller size"), {"width": _smaller("width"), "height": _smaller("height")}),
                (tr("one image at a time"), {"batch_size": _fewest}),
                (tr("decode in tiles"), {"memory": _with("vae-tiling")}),
                (tr("attention in slices"), {"memory": _with("sliced")}),
                (tr("prompt and negative prompt one after the other"), {"batch_cond_uncond": False}),
            ]
        case "not_a_number":
            return [(tr("compute in full precision"), {"precision": "full"})]
        case "illegal_memory_access" | "device_lost" | "worker_died" | "worker_hung":
            return [(tr("the same again"), {})]
    return []


def applied(change: Change, job: JobDetails) -> Retry | dict[str, Any]:
    """A failed job goes on, computed in another way. Where what is drawn changes it is the request of another job, with
    the seeds of this one."""
    from sdterm.api import Retry

    given = {name: value(job) if callable(value) else value for name, value in change.items()}
    if job.state == "failed" and given.keys() <= Retry.model_fields.keys():
        return Retry(**given)
    if "batch_size" in given:
        given["batch_count"] = job.request.batch_size * job.request.batch_count // given["batch_size"]
    return {**job.request.model_dump(mode="json"), **_seeds(job), **given}


def _seeds(job: JobDetails) -> dict[str, int]:
    """Those that the job was drawn with, once they are known."""
    images = (job.plan or {}).get("images")
    if not images:
        return {}
    varied = {"variation_seed": images[0]["variation_seed"]} if job.request.variation_strength else {}
    return {"seed": images[0]["seed"], **varied}


def _smaller(side: str) -> Callable[[JobDetails], int | None]:
    """Three quarters of it, in steps of 64; of a size that was left to the model, what the model made of it."""

    def of(job: JobDetails) -> int | None:
        now = getattr(job.request, side) or (job.plan or {}).get(side)
        return None if now is None else max(64, now * 3 // 4 // 64 * 64)

    return of


def _fewest(job: JobDetails) -> int:
    """One, but where there are too many images for so many batches."""
    from sdterm.api import batch_sizes

    return batch_sizes(job.request.batch_size * job.request.batch_count)[0]


def _with(optimizer: str) -> Callable[[JobDetails], list[str]]:
    return lambda job: [*dict.fromkeys((*job.request.memory, optimizer))]
