"""Which device draws which job: plain values in, plain values out."""

from sdterm.host.placement import Candidate, WaitingJob, placed

COLD, WARM = Candidate("cuda:0"), Candidate("cuda:1", frozenset({"lake"}), is_running=True)
OTHER = Candidate("cuda:2", frozenset({"other"}), is_running=True)
ALL = frozenset({"cuda:0", "cuda:1", "cuda:2"})


def job(number: int, model: str = "lake", device: str | None = None, hardware: str = "") -> WaitingJob:
    return WaitingJob(number, model, device, hardware)


def test_a_job_goes_where_its_model_is_in_memory() -> None:
    assert placed([job(1)], [COLD, WARM, OTHER], ALL) == {"cuda:1": 1}
    assert placed([job(1, "other")], [COLD, WARM, OTHER], ALL) == {"cuda:2": 1}


def test_else_where_no_model_has_to_go() -> None:
    assert placed([job(1, "new")], [WARM, COLD, OTHER], ALL) == {"cuda:0": 1}
    assert placed([job(1, "new")], [WARM, OTHER], ALL) == {"cuda:1": 1}


def test_of_two_that_are_free_the_one_with_more_memory() -> None:
    small, large = Candidate("cuda:0", free=4), Candidate("cuda:2", free=8)
    assert placed([job(1)], [small, large], ALL) == {"cuda:2": 1}


def test_each_job_takes_a_device_in_the_order_of_the_queue() -> None:
    assert placed([job(1), job(2), job(3)], [COLD, WARM], ALL) == {"cuda:1": 1, "cuda:0": 2}


def test_a_pinned_job_waits_for_its_device_and_holds_up_no_other() -> None:
    assert placed([job(1, device="cuda:2"), job(2)], [COLD, WARM], ALL) == {"cuda:1": 2}
    assert placed([job(1, device="cuda:0")], [COLD, WARM], ALL) == {"cuda:0": 1}


def test_a_job_that_is_pinned_to_what_is_not_there_goes_where_it_is_told_so() -> None:
    assert placed([job(1, device="cuda:9")], [COLD, WARM], ALL) == {"cuda:1": 1}


def test_a_job_that_was_begun_goes_on_with_hardware_like_that() -> None:
    old, new, unknown = (Candidate(f"cuda:{n}", hardware=name) for n, name in enumerate(("old", "new", "")))
    begun = job(1, hardware="old")
    assert placed([begun], [new, old, unknown], ALL) == {"cuda:0": 1}
    assert placed([begun, job(2, hardware="old")], [new, old], ALL) == {"cuda:0": 1}, "it waits for such a one"
    assert placed([begun], [new, unknown], ALL) == {"cuda:2": 1}, "it may be such a one"
    assert placed([begun], [new], ALL) == {"cuda:1": 1}, "where there is none, it begins again"
    assert placed([job(1, device="cuda:1", hardware="old")], [new, old], ALL) == {"cuda:1": 1}, "as its user wants it"
