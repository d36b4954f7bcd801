"""Each failure that a key can help with has its key."""

import torch

from sdterm.core.jobs import JobDetails
from sdterm.core.output import Saving
from sdterm.engine.decode import BlackImageError
from sdterm.engine.failures import failure
from sdterm.request import make_request
from sdterm.tui.remedies import applied, remedies


def job(plan: dict[str, int] | None = None, **fields: object) -> JobDetails:
    request = make_request(prompt="lake", **fields)
    facts = {"id": 1, "state": "failed", "prompt": "lake", "images": 1, "done": 0, "created": 0}
    return JobDetails(**facts, request=request, saving=Saving("/"), plan=plan)  # type: ignore[arg-type]


def test_what_the_engine_calls_its_failures_is_known() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), BlackImageError("black")):
        said = failure(error)
        assert said and remedies(said.code)
    for code in ("illegal_memory_access", "device_lost", "worker_died", "worker_hung"):
        assert remedies(code)
    assert remedies("bad_request") == []


def test_a_remedy_changes_what_it_says_and_nothing_else() -> None:
    smaller, alone, tiles = (change for _, change in remedies("out_of_memory")[:3])
    asked = job(width=512, height=768, batch_size=4, batch_count=2, memory=("sliced",))
    fields = asked.request.model_dump(mode="json")
    assert applied(smaller, asked) == {**fields, "width": 384, "height": 576}
    assert applied(alone, asked) == {**fields, "batch_size": 1, "batch_count": 8}
    assert applied(tiles, asked) == {**fields, "memory": ["sliced", "vae-tiling"]}


def test_a_size_that_was_left_to_the_model_is_made_smaller_too() -> None:
    smaller = remedies("out_of_memory")[0][1]
    fields = applied(smaller, job(plan={"width": 512, "height": 512}))
    assert (fields["width"], fields["height"]) == (384, 384)
