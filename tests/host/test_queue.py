"""The queue: its states are those that the architecture draws, and its operations keep their order."""

import itertools
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdterm.api import STATES, FieldError, Resumption, Retry
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.events import Cancelled, Done, Event, Failed, Paused, Waiting
from sdterm.host.home import Home
from sdterm.host.queue import UnknownJobError, WrongStateError
from tests.host.conftest import settings_of, submission

ENDS: dict[str, Event] = {
    "done": Done(images=1, seconds=1.0),
    "failed": Failed(code="nan", message="It is black."),
    "cancelled": Cancelled(images=0),
    "paused": Paused(images=0),
    "waiting": Waiting(code="disk_full", message="The disk is full."),
}


def add(home: Home, prompt: str = "a house", **more: Any) -> int:
    return home.jobs.submit(submission(prompt, **more), home.saving())


def queued(home: Home, limit: int = 500) -> list[int]:
    """The queue from its first to its last, page by page."""
    found: list[int] = []
    cursor = None
    while True:
        page = home.page(["queued"], limit, cursor)
        found += [job.id for job in page.jobs]
        if not page.next:
            return found
        cursor = page.next


def job_in(home: Home, state: str) -> int:
    """A new job, brought into a state by the queue's own operations."""
    job = add(home, paused=state == "paused")
    if state in ("queued", "paused"):
        return job
    home.jobs.move(job, next(iter(queued(home))))
    assert home.jobs.take() == job
    if state != "running":
        home.jobs.end(job, state, ENDS[state])
    return job


# --- states ---------------------------------------------------------------------------------------------------------


def drawn(repo: Path) -> set[tuple[str, str]]:
    text = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", text, re.DOTALL)
    assert diagram
    return set(re.findall(r"^ *(\[\*\]|\w+) --> (\w+)", diagram[1], re.MULTILINE))


def test_the_diagram_and_the_database_have_the_same_states_and_transitions(home: Home, repo: Path) -> None:
    arrows = {(old, new) for old, new in drawn(repo) if old != "[*]"}
    assert arrows == {tuple(row) for row in home.database.rows("SELECT old, new FROM transitions")}
    assert {state for arrow in arrows for state in arrow} == set(STATES)
    assert {row[0] for row in home.database.rows("SELECT state FROM states")} == set(STATES)


def test_exactly_the_drawn_transitions_go_through(home: Home, repo: Path) -> None:
    through = set()
    for old, new in itertools.permutations(STATES, 2):
        job = job_in(home, old)
        before = home.jobs.queue().counts
        try:
            home.database.execute("UPDATE jobs SET state = ? WHERE id = ?", new, job)
        except sqlite3.IntegrityError:
            assert home.job(job).state == old and home.jobs.queue().counts == before
        else:
            through.add((old, new))
            assert home.jobs.queue().counts == {**before, old: before[old] - 1, new: before[new] + 1}
    assert through == {(old, new) for old, new in drawn(repo) if old != "[*]"}


def test_a_job_starts_only_where_the_diagram_starts(home: Home, repo: Path) -> None:
    add(home)
    columns = "position, request, saving, prompt, images, created"
    starts = set()
    for state in (*STATES, "unheard of"):
        try:
            home.database.execute(f"INSERT INTO jobs (state, {columns}) SELECT ?, {columns} FROM jobs LIMIT 1", state)
        except sqlite3.IntegrityError:
            continue
        starts.add(state)
    assert starts == {new for old, new in drawn(repo) if old == "[*]"}


@pytest.mark.parametrize(
    ("operation", "states"),
    [
        (lambda home, job: home.jobs.cancel(job), {"queued", "running", "paused", "waiting"}),
        (lambda home, job: home.jobs.pause(job, None), {"queued", "running", "waiting"}),
        (lambda home, job: home.jobs.resume(job, Resumption()), {"paused", "waiting"}),
        (lambda home, job: home.jobs.retry(job, Retry()), {"failed"}),
        (lambda home, job: home.jobs.move(job, None), {"queued"}),
    ],
    ids=["cancel", "pause", "resume", "retry", "move"],
)
def test_an_operation_works_in_its_states_and_says_so_in_others(home: Home, operation: Any, states: set[str]) -> None:
    for state in STATES:
        job = job_in(home, state)
        last = home.log.last
        if state in states:
            operation(home, job)
            continue
        with pytest.raises(WrongStateError, match=f"JobView {job} is {state} and cannot be "):
            operation(home, job)
        assert home.job(job).state == state and home.log.last == last
    with pytest.raises(UnknownJobError, match="There is no job 999999"):
        operation(home, 999_999)


def test_a_retry_splits_a_job_evenly_and_changes_nothing_that_is_drawn(home: Home) -> None:
    job = home.jobs.submit(submission(batch_size=6, batch_count=2, seed=5), home.saving())
    before = home.details(job).request
    for size, said in ((5, r"images \(12\) can be drawn 1, 2, 3, 4, 6, 12 at a time"), (64, "drawn 1, 2")):
        home.jobs.take()
        home.jobs.end(job, "failed", ENDS["failed"])
        with pytest.raises(FieldError, match=said) as refused:
            home.jobs.retry(job, Retry(batch_size=size))
        assert refused.value.field == "batch_size" and home.details(job).request == before
        home.jobs.retry(job, Retry())
    home.jobs.take()
    home.jobs.end(job, "failed", ENDS["failed"])
    home.jobs.retry(job, Retry(batch_size=3, batch_cond_uncond=False, precision="full"))
    how = {"batch_size": 3, "batch_count": 4, "batch_cond_uncond": False, "precision": "full"}
    assert home.details(job).request == before.model_copy(update=how)


# --- order ----------------------------------------------------------------------------------------------------------


def test_jobs_are_taken_in_the_order_in_which_they_came(home: Home) -> None:
    jobs = [add(home) for _ in range(5)]
    assert queued(home) == jobs
    assert [home.jobs.take() for _ in range(6)] == [*jobs, None]


def test_a_job_moves_before_another_and_to_the_end(home: Home) -> None:
    a, b, c, d = (add(home) for _ in range(4))
    home.jobs.move(d, b)
    assert queued(home) == [a, d, b, c]
    home.jobs.move(a, None)
    assert queued(home) == [d, b, c, a]
    home.jobs.move(c, d)
    assert queued(home) == [c, d, b, a]
    home.jobs.move(b, b)
    assert queued(home) == [c, d, b, a]


def test_any_number_of_jobs_fit_between_the_same_two(home: Home) -> None:
    first, last = add(home), add(home)
    between = []
    for _ in range(120):  # far more than a float has room for
        job = add(home)
        home.jobs.move(job, last)
        between.append(job)
    assert queued(home, 7) == [first, *between, last]
    for job in reversed(between):
        home.jobs.move(job, first)
        first = job
    assert queued(home, 7)[:3] == between[:3]


def test_jobs_that_come_back_share_no_place_with_others(home: Home) -> None:
    """One was queued, one resumed and one tried again, each where it was when the queue was empty."""
    failed = job_in(home, "failed")
    paused = add(home, paused=True)
    other = add(home)
    home.jobs.retry(failed, Retry())
    home.jobs.resume(paused, Resumption())
    assert sorted(queued(home, 1)) == sorted([failed, paused, other])
    late = add(home)
    for before in (failed, paused, other):
        home.jobs.move(late, before)
        order = queued(home, 1)
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
    home = Home(settings_of(folder, device="cpu"), run_folder)
    home.database.execute("PRAGMA synchronous = OFF")
    try:
        count = 0
        for what, one, other in operations:
            if what.startswith("add"):
                count += 1
                add(home, paused=what == "add paused")
            if what == "take":
                expected = next(iter(queued(home)), None)
                assert home.jobs.take() == expected
            job, before = (one % count + 1, other % count + 1) if count else (0, 0)
            try:
                match what:
                    case "move":
                        home.jobs.move(job, before)
                        order = queued(home)
                        assert job == before or order.index(job) + 1 == order.index(before)
                    case "again":
                        home.jobs.again(job)
                        assert queued(home)[0] == job
                    case "cancel":
                        home.jobs.cancel(job)
                    case "pause":
                        home.jobs.pause(job, None)
                    case "resume":
                        home.jobs.resume(job, Resumption())
            except (UnknownJobError, WrongStateError):
                pass
            expected_ids = [row[0] for row in home.database.rows("SELECT id FROM jobs WHERE state = 'queued'")]
            listed = queued(home, 2)
            assert sorted(listed) == expected_ids and listed == queued(home)
            assert home.jobs.queue().counts["queued"] == len(listed)
    finally:
        home.database.close()


# --- what clients ask -------------------------------------------------------------------------------------------------


def test_a_paused_queue_gives_nothing_until_it_is_resumed(home: Home) -> None:
    job = add(home)
    home.jobs.pause_queue(True)
    assert home.jobs.take() is None and home.jobs.queue().paused
    home.jobs.pause_queue(False)
    assert home.jobs.take() == job


def test_a_job_submitted_paused_begins_when_it_is_resumed(home: Home) -> None:
    job = add(home, paused=True)
    assert home.jobs.take() is None and home.job(job).state == "paused"
    home.jobs.resume(job, Resumption(pause_at=7))
    assert home.jobs.take() == job and home.job(job).pause_at == 7


def test_a_queued_job_waits_while_it_is_paused_and_is_gone_once_cancelled(home: Home) -> None:
    kept, gone = add(home), add(home)
    assert not home.jobs.pause(kept, None) and not home.jobs.cancel(gone)
    assert home.jobs.take() is None
    home.jobs.resume(kept, Resumption())
    assert home.jobs.take() == kept and home.job(gone).state == "cancelled" and home.job(gone).ended == 1000.0


def test_only_some_images_of_a_job_go_on(home: Home) -> None:
    job = add(home, batch_size=2, batch_count=3, paused=True)
    home.jobs.resume(job, Resumption(images=(0, 4)))
    assert home.job(job).left_out == (1, 2, 3, 5)
    home.jobs.pause(job, None)
    home.jobs.resume(job, Resumption())
    assert home.job(job).left_out == (1, 2, 3, 5), "what was given up stays so"


@pytest.mark.parametrize("images", [(), (6,), (0, 65536)])
def test_images_that_a_job_does_not_have_are_refused(home: Home, images: tuple[int, ...]) -> None:
    job = add(home, batch_size=2, batch_count=3, paused=True)
    with pytest.raises(ValueError, match="The job has images 0 to 5"):
        home.jobs.resume(job, Resumption(images=images))
    assert home.job(job).state == "paused" and home.job(job).left_out == ()


def test_a_failed_job_keeps_its_reason_until_it_is_tried_again(home: Home) -> None:
    job = job_in(home, "failed")
    reason = home.job(job).reason
    assert reason and (reason.code, reason.message) == ("nan", "It is black.")
    home.jobs.retry(job, Retry())
    assert home.job(job).reason is None and home.job(job).ended is None and home.jobs.take() == job


def test_a_running_job_remembers_what_is_to_become_of_it(home: Home) -> None:
    cancelled, paused, going = (job_in(home, "running") for _ in range(3))
    assert home.jobs.cancel(cancelled) and home.jobs.pause(paused, None)
    assert home.jobs.recover() == [going], "as after the host's death"
    assert [home.job(job).state for job in (cancelled, paused, going)] == ["cancelled", "paused", "queued"]


def test_lists_give_the_newest_first_by_state_and_page(home: Home) -> None:
    jobs = {state: [job_in(home, state) for _ in range(3)] for state in STATES}
    everything = sorted(itertools.chain(*jobs.values()), reverse=True)
    found: list[int] = []
    cursor = None
    while True:
        page = home.page([], 4, cursor)
        found += [job.id for job in page.jobs]
        if not (cursor := page.next):
            break
    assert found == everything
    assert [job.id for job in home.page(["done", "failed"], 500, None).jobs] == sorted(
        jobs["done"] + jobs["failed"], reverse=True
    )
    assert home.jobs.queue().counts == dict.fromkeys(STATES, 3)


def test_a_list_shows_no_prompt_that_a_terminal_would_obey(home: Home) -> None:
    job = add(home, "a\tlong\n\n" + "house " * 1000)
    shown = home.job(job).prompt
    assert shown.startswith("a long house") and len(shown) <= 201


def test_an_accepted_cancel_is_not_overridden_by_a_later_pause(home: Home) -> None:
    job = home.jobs.submit(submission(), home.saving())
    assert home.jobs.take() == job and home.jobs.cancel(job)
    for at_step in (None, 5):
        with pytest.raises(WrongStateError, match="being cancelled"):
            home.jobs.pause(job, at_step)
    assert home.jobs.wish(job) == "cancel"


def test_a_failed_job_is_tried_again_up_to_the_step_it_was_to_wait_at(home: Home) -> None:
    asked = submission().model_copy(update={"pause_at": 6})
    job = home.jobs.submit(asked, home.saving())
    home.jobs.take()
    home.jobs.end(job, "failed", Failed(code="out_of_memory", message="Out of memory."))
    home.jobs.retry(job, Retry())
    assert home.jobs.job(job).pause_at == 6
