"""The queue: its states are those that the architecture draws, and its operations keep their order."""

import itertools
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdterm import Engine, load_plugins
from sdterm.api import STATES, FieldError, Resumption, Retry
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.events import Cancelled, Done, Event, Failed, Paused, Started, SteppedDown, Waiting
from sdterm.host.queue import UnknownJobError, WrongStateError
from sdterm.host.services import HostServices
from tests.host.conftest import settings_of, submission

ENDS: dict[str, Event] = {
    "done": Done(images=1, seconds=1.0),
    "failed": Failed(code="nan", message="It is black."),
    "cancelled": Cancelled(images=0),
    "paused": Paused(images=0),
    "waiting": Waiting(code="disk_full", message="The disk is full."),
}


def add(services: HostServices, prompt: str = "a house", **more: Any) -> int:
    return services.jobs.submit(submission(prompt, **more), services.saving())


def queued(services: HostServices, limit: int = 500) -> list[int]:
    """The queue from its first to its last, page by page."""
    found: list[int] = []
    cursor = None
    while True:
        page = services.page(["queued"], limit, cursor)
        found += [job.id for job in page.jobs]
        if not page.next:
            return found
        cursor = page.next


def job_in(services: HostServices, state: str) -> int:
    """A new job, brought into a state by the queue's own operations."""
    job = add(services, paused=state == "paused")
    if state in ("queued", "paused"):
        return job
    services.jobs.move(job, next(iter(queued(services))))
    assert services.jobs.take() == job
    if state != "running":
        services.jobs.end(job, state, ENDS[state])
    return job


# --- states ---------------------------------------------------------------------------------------------------------


def drawn(repo: Path) -> set[tuple[str, str]]:
    text = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", text, re.DOTALL)
    assert diagram
    return set(re.findall(r"^ *(\[\*\]|\w+) --> (\w+)", diagram[1], re.MULTILINE))


def test_the_diagram_and_the_database_have_the_same_states_and_transitions(services: HostServices, repo: Path) -> None:
    arrows = {(old, new) for old, new in drawn(repo) if old != "[*]"}
    assert arrows == {tuple(row) for row in services.database.rows("SELECT old, new FROM transitions")}
    assert {state for arrow in arrows for state in arrow} == set(STATES)
    assert {row[0] for row in services.database.rows("SELECT state FROM states")} == set(STATES)


def test_exactly_the_drawn_transitions_go_through(services: HostServices, repo: Path) -> None:
    through = set()
    for old, new in itertools.permutations(STATES, 2):
        job = job_in(services, old)
        before = services.jobs.queue().counts
        try:
            services.database.execute("UPDATE jobs SET state = ? WHERE id = ?", new, job)
        except sqlite3.IntegrityError:
            assert services.job(job).state == old and services.jobs.queue().counts == before
        else:
            through.add((old, new))
            assert services.jobs.queue().counts == {**before, old: before[old] - 1, new: before[new] + 1}
    assert through == {(old, new) for old, new in drawn(repo) if old != "[*]"}


def test_a_job_starts_only_where_the_diagram_starts(services: HostServices, repo: Path) -> None:
    add(services)
    columns = "position, request, saving, prompt, images, created"
    starts = set()
    for state in (*STATES, "unheard of"):
        try:
            services.database.execute(
                f"INSERT INTO jobs (state, {columns}) SELECT ?, {columns} FROM jobs LIMIT 1", state
            )
        except sqlite3.IntegrityError:
            continue
        starts.add(state)
    assert starts == {new for old, new in drawn(repo) if old == "[*]"}


@pytest.mark.parametrize(
    ("operation", "states"),
    [
        (lambda services, job: services.jobs.cancel(job), {"queued", "running", "paused", "waiting"}),
        (lambda services, job: services.jobs.pause(job, None), {"queued", "running", "waiting"}),
        (lambda services, job: services.jobs.resume(job, Resumption()), {"paused", "waiting"}),
        (lambda services, job: services.jobs.retry(job, Retry()), {"failed"}),
        (lambda services, job: services.jobs.move(job, None), {"queued"}),
    ],
    ids=["cancel", "pause", "resume", "retry", "move"],
)
def test_an_operation_works_in_its_states_and_says_so_in_others(
    services: HostServices, operation: Any, states: set[str]
) -> None:
    for state in STATES:
        job = job_in(services, state)
        last = services.log.last
        if state in states:
            operation(services, job)
            continue
        with pytest.raises(WrongStateError, match=f"Job {job} is {state} and cannot be "):
            operation(services, job)
        assert services.job(job).state == state and services.log.last == last
    with pytest.raises(UnknownJobError, match="There is no job 999999"):
        operation(services, 999_999)


def test_a_retry_splits_a_job_evenly_and_changes_nothing_that_is_drawn(services: HostServices) -> None:
    job = services.jobs.submit(submission(batch_size=6, batch_count=2, seed=5), services.saving())
    before = services.details(job).request
    refusals = {5: r"this job \(12\) can only be split into batches of 1, 2, 3, 4, 6, 12", 64: "batches of 1, 2"}
    for size, said in refusals.items():
        services.jobs.take()
        services.jobs.end(job, "failed", ENDS["failed"])
        with pytest.raises(FieldError, match=said) as refused:
            services.jobs.retry(job, Retry(batch_size=size))
        assert refused.value.field == "batch_size" and services.details(job).request == before
        services.jobs.retry(job, Retry())
    services.jobs.take()
    services.jobs.end(job, "failed", ENDS["failed"])
    services.jobs.retry(job, Retry(batch_size=3, batch_cond_uncond=False, precision="full"))
    how = {"batch_size": 3, "batch_count": 4, "batch_cond_uncond": False, "precision": "full"}
    assert services.details(job).request == before.model_copy(update=how)


def test_how_far_down_the_ladder_each_run_of_a_job_began_is_kept(services: HostServices, tmp_path: Path) -> None:
    """Of the plan alone: whoever asked for the job did not ask for that."""
    asked = submission(steps=1, width=64, height=64)
    engine = Engine(library=Library(tmp_path), device="cpu")
    started = next(event for event in engine.run(asked.request, load_plugins()) if isinstance(event, Started))
    plan = Plan.model_validate_json(started.data)
    job = services.jobs.submit(asked, services.saving())
    for rungs in ((), ("lean-attention",), ("apart",), ()):
        begun = plan.model_copy(update={"request": plan.request.model_copy(update={"rungs": rungs})})
        services.jobs.prepared(job, started.model_copy(update={"data": begun.model_dump_json().encode()}), [])
    assert services.details(job).rungs == ("lean-attention", "apart") and not services.details(job).request.rungs
    services.jobs.stepped_down(job, SteppedDown(rung="vae-tiling", message="", phase="decode"))
    assert services.details(job).rungs == ("lean-attention", "apart", "vae-tiling")
    assert services.details(job).request.rungs == ("vae-tiling",)
    for number in (4, 2):
        services.jobs.stepped_down(job, SteppedDown(rung="split-batch", message="", phase="sample", together=number))
        assert Plan.model_validate_json(services.jobs.plan(job) or "").together == number
    services.jobs.take()
    services.jobs.end(job, "failed", ENDS["failed"])
    services.jobs.retry(job, Retry(rungs=services.details(job).rungs))
    assert Plan.model_validate_json(services.jobs.plan(job) or "").together == 2


def test_a_job_that_was_begun_on_other_hardware_waits_for_it_and_holds_up_no_other(services: HostServices) -> None:
    begun, new = add(services), add(services)
    drawn = {"model": "m", "model_hash": "", "sampler": "Euler", "scheduler": "Karras", "seed": 1, "images": 1}
    services.jobs.prepared(begun, Started(**drawn, width=64, height=64), [], "NVIDIA GeForce RTX 3060")

    def next_of(*elsewhere: str) -> list[int]:
        return [job.id for job in services.jobs.next(1, ["cuda:0"], ["cuda:0", "cuda:1"], elsewhere)]

    assert next_of() == [begun] and next_of("NVIDIA GeForce RTX 3060") == [new]
    services.jobs.pin(begun, "cuda:0")
    assert next_of("NVIDIA GeForce RTX 3060") == [begun], "its user wants it there"


# --- order ----------------------------------------------------------------------------------------------------------


def test_jobs_are_taken_in_the_order_in_which_they_came(services: HostServices) -> None:
    jobs = [add(services) for _ in range(5)]
    assert queued(services) == jobs
    assert [services.jobs.take() for _ in range(6)] == [*jobs, None]


def test_a_job_moves_before_another_and_to_the_end(services: HostServices) -> None:
    a, b, c, d = (add(services) for _ in range(4))
    services.jobs.move(d, b)
    assert queued(services) == [a, d, b, c]
    services.jobs.move(a, None)
    assert queued(services) == [d, b, c, a]
    services.jobs.move(c, d)
    assert queued(services) == [c, d, b, a]
    services.jobs.move(b, b)
    assert queued(services) == [c, d, b, a]


def test_any_number_of_jobs_fit_between_the_same_two(services: HostServices) -> None:
    first, last = add(services), add(services)
    between = []
    for _ in range(120):  # far more than a float has room for
        job = add(services)
        services.jobs.move(job, last)
        between.append(job)
    assert queued(services, 7) == [first, *between, last]
    for job in reversed(between):
        services.jobs.move(job, first)
        first = job
    assert queued(services, 7)[:3] == between[:3]


def test_jobs_that_come_back_share_no_place_with_others(services: HostServices) -> None:
    """One was queued, one resumed and one tried again, each where it was when the queue was empty."""
    failed = job_in(services, "failed")
    paused = add(services, paused=True)
    other = add(services)
    services.jobs.retry(failed, Retry())
    services.jobs.resume(paused, Resumption())
    assert sorted(queued(services, 1)) == sorted([failed, paused, other])
    late = add(services)
    for before in (failed, paused, other):
        services.jobs.move(late, before)
        order = queued(services, 1)
        assert order.index(late) + 1 == order.index(before) and len(order) == 4


OPERATIONS = st.lists(
    st.one_of(
        st.just(("add", 0, 0)),
        st.just(("add paused", 0, 0)),
        st.just(("take", 0, 0)),
        st.tuples(
            st.sampled_from(["move", "cancel", "pause", "resume", "again"]), st.integers(0, 5), st.integers(0, 5)
        ),
    ),
    min_size=10,
    max_size=40,
)


@settings(max_examples=25)
@given(OPERATIONS)
def test_whatever_is_done_every_queued_job_is_listed_once_and_taken_first_to_last(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("queue")
    run_folder = run_folder_of(folder)
    make_private(run_folder)
    services = HostServices(settings_of(folder, device="cpu"), run_folder)
    services.database.execute("PRAGMA synchronous = OFF")
    try:
        count = 0
        for what, one, other in operations:
            if what.startswith("add"):
                count += 1
                add(services, paused=what == "add paused")
            if what == "take":
                expected = next(iter(queued(services)), None)
                assert services.jobs.take() == expected
            job, before = (one % count + 1, other % count + 1) if count else (0, 0)
            try:
                match what:
                    case "move":
                        services.jobs.move(job, before)
                        order = queued(services)
                        assert job == before or order.index(job) + 1 == order.index(before)
                    case "again":
                        services.jobs.again(job)
                        assert queued(services)[0] == job
                    case "cancel":
                        services.jobs.cancel(job)
                    case "pause":
                        services.jobs.pause(job, None)
                    case "resume":
                        services.jobs.resume(job, Resumption())
            except (UnknownJobError, WrongStateError):
                pass
            expected_ids = [row[0] for row in services.database.rows("SELECT id FROM jobs WHERE state = 'queued'")]
            listed = queued(services, 2)
            assert sorted(listed) == expected_ids and listed == queued(services)
            assert services.jobs.queue().counts["queued"] == len(listed)
    finally:
        services.database.close()


# --- what clients ask -------------------------------------------------------------------------------------------------


def test_a_paused_queue_gives_nothing_until_it_is_resumed(services: HostServices) -> None:
    job = add(services)
    services.jobs.pause_queue(True)
    assert services.jobs.take() is None and services.jobs.queue().paused
    services.jobs.pause_queue(False)
    assert services.jobs.take() == job


def test_a_job_submitted_paused_begins_when_it_is_resumed(services: HostServices) -> None:
    job = add(services, paused=True)
    assert services.jobs.take() is None and services.job(job).state == "paused"
    services.jobs.resume(job, Resumption(pause_at=7))
    assert services.jobs.take() == job and services.job(job).pause_at == 7


def test_a_queued_job_waits_while_it_is_paused_and_is_gone_once_cancelled(services: HostServices) -> None:
    kept, gone = add(services), add(services)
    assert not services.jobs.pause(kept, None) and not services.jobs.cancel(gone)
    assert services.jobs.take() is None
    services.jobs.resume(kept, Resumption())
    assert (
        services.jobs.take() == kept and services.job(gone).state == "cancelled" and services.job(gone).ended == 1000.0
    )


def test_only_some_images_of_a_job_go_on(services: HostServices) -> None:
    job = add(services, batch_size=2, batch_count=3, paused=True)
    services.jobs.resume(job, Resumption(images=(0, 4)))
    assert services.job(job).left_out == (1, 2, 3, 5)
    services.jobs.pause(job, None)
    services.jobs.resume(job, Resumption())
    assert services.job(job).left_out == (1, 2, 3, 5), "what was given up stays so"


@pytest.mark.parametrize("images", [(), (6,), (0, 65536)])
def test_images_that_a_job_does_not_have_are_refused(services: HostServices, images: tuple[int, ...]) -> None:
    job = add(services, batch_size=2, batch_count=3, paused=True)
    with pytest.raises(ValueError, match="The job has images 0 to 5"):
        services.jobs.resume(job, Resumption(images=images))
    assert services.job(job).state == "paused" and services.job(job).left_out == ()


def test_a_failed_job_keeps_its_reason_until_it_is_tried_again(services: HostServices) -> None:
    job = job_in(services, "failed")
    reason = services.job(job).reason
    assert reason and (reason.code, reason.message) == ("nan", "It is black.")
    services.jobs.retry(job, Retry())
    assert services.job(job).reason is None and services.job(job).ended is None and services.jobs.take() == job


def test_a_running_job_remembers_what_is_to_become_of_it(services: HostServices) -> None:
    cancelled, paused, going = (job_in(services, "running") for _ in range(3))
    assert services.jobs.cancel(cancelled) and services.jobs.pause(paused, None)
    assert services.jobs.recover() == [going], "as after the host's death"
    assert [services.job(job).state for job in (cancelled, paused, going)] == ["cancelled", "paused", "queued"]


def test_lists_give_the_newest_first_by_state_and_page(services: HostServices) -> None:
    jobs = {state: [job_in(services, state) for _ in range(3)] for state in STATES}
    everything = sorted(itertools.chain(*jobs.values()), reverse=True)
    found: list[int] = []
    cursor = None
    while True:
        page = services.page([], 4, cursor)
        found += [job.id for job in page.jobs]
        if not (cursor := page.next):
            break
    assert found == everything
    assert [job.id for job in services.page(["done", "failed"], 500, None).jobs] == sorted(
        jobs["done"] + jobs["failed"], reverse=True
    )
    assert services.jobs.queue().counts == dict.fromkeys(STATES, 3)


def test_a_list_shows_no_prompt_that_a_terminal_would_obey(services: HostServices) -> None:
    job = add(services, "a\tlong\n\n" + "house " * 1000)
    shown = services.job(job).prompt
    assert shown.startswith("a long house") and len(shown) <= 201


def test_an_accepted_cancel_is_not_overridden_by_a_later_pause(services: HostServices) -> None:
    job = services.jobs.submit(submission(), services.saving())
    assert services.jobs.take() == job and services.jobs.cancel(job)
    for at_step in (None, 5):
        with pytest.raises(WrongStateError, match="being cancelled"):
            services.jobs.pause(job, at_step)
    assert services.jobs.wish(job) == "cancel"


def test_a_failed_job_is_tried_again_up_to_the_step_it_was_to_wait_at(services: HostServices) -> None:
    asked = submission().model_copy(update={"pause_at": 6})
    job = services.jobs.submit(asked, services.saving())
    services.jobs.take()
    services.jobs.end(job, "failed", Failed(code="out_of_memory", message="Out of memory."))
    services.jobs.retry(job, Retry())
    assert services.jobs.job(job).pause_at == 6
