"""Each failure that a key can help with has its key."""

from typing import Any

import torch

from sdterm.api import JobDetails, Retry
from sdterm.core.output.saving import Saving
from sdterm.engine.decode import BlackImageError
from sdterm.engine.failures import failure
from sdterm.request import make_request
from sdterm.tui.remedies import Change, applied, remedies


def job(plan: dict[str, Any] | None = None, *, state: str = "failed", **fields: object) -> JobDetails:
    request = make_request(prompt="lake", **fields)
    facts = {"id": 1, "state": state, "prompt": "lake", "images": 1, "done": 0, "created": 0}
    return JobDetails(**facts, request=request, saving=Saving("/"), plan=plan)  # type: ignore[arg-type]


def change(words: str) -> Change:
    """The remedy for too little memory that is called so."""
    return dict(remedies("out_of_memory"))[words]


def test_what_the_engine_calls_its_failures_is_known() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), BlackImageError("black")):
        said = failure(error)
        assert said and remedies(said.code)
    for code in ("illegal_memory_access", "misaligned_address", "ecc_error", "device_lost", "worker_died"):
        assert remedies(code)
    assert remedies("bad_request") == []


def test_a_step_of_the_ladder_lets_the_same_job_go_on() -> None:
    asked = job(width=512, height=768, batch_size=4, batch_count=2, rungs=("apart",))
    assert applied(change("one image at a time"), asked) == Retry(rungs=("apart", "split-batch"), batch_size=1)
    assert applied(change("decode in tiles"), job()) == Retry(rungs=("vae-tiling",))
    planned = job(PLAN | {"request": {"rungs": ["lean-attention"]}})
    assert applied(change("decode in tiles"), planned) == Retry(rungs=("lean-attention", "vae-tiling"))
    everything = applied(change("everything that needs less memory"), asked)
    assert isinstance(everything, Retry) and everything.ladder == "on" and len(everything.rungs or ()) == 8
    for code in ("not_a_number", "worker_died"):
        assert isinstance(applied(remedies(code)[0][1], asked), Retry)


def test_another_size_is_another_job_with_the_seeds_of_this_one() -> None:
    asked = job(PLAN, width=512, height=768, batch_size=4)
    fields = asked.request.model_dump(mode="json")
    smaller = change("a smaller size, as a new job")
    assert applied(smaller, asked) == {**fields, "width": 384, "height": 576, "seed": 77}
    varied = applied(smaller, job(PLAN, variation_strength=0.5))
    assert isinstance(varied, dict) and (varied["seed"], varied["variation_seed"]) == (77, 99)


def test_another_precision_is_another_job_too() -> None:
    asked = job(PLAN, width=512)
    fields = asked.request.model_dump(mode="json")
    bf16 = applied(change("precision bf16 in place of float32, as a new job"), asked)
    assert bf16 == {**fields, "precision": "bf16", "seed": 77}


def test_a_job_that_did_not_fail_is_drawn_again_as_another_one() -> None:
    asked = job(PLAN, state="waiting", batch_size=4, batch_count=2)
    fields = asked.request.model_dump(mode="json")
    assert applied(change("one image at a time"), asked) == {**fields, "rungs": ["split-batch"], "seed": 77}


def test_a_size_that_was_left_to_the_model_is_made_smaller_too() -> None:
    fields = applied(change("a smaller size, as a new job"), job(PLAN))
    assert isinstance(fields, dict) and (fields["width"], fields["height"]) == (384, 384)


PLAN = {"width": 512, "height": 512, "images": [{"seed": 77, "variation_seed": 99}], "request": {"rungs": []}}
