"""The status line and the way out, while a job is drawn that has not come to a step."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from textual.pilot import Pilot

from sdterm.api import Entry, Queue
from sdterm.events import Cancelled, Done, ModelLoading, Resumed, Started, Step, Waiting
from sdterm.tui.app import Workstation
from sdterm.tui.progress import after
from sdterm.tui.screens.pick import Ask
from sdterm.tui.state import Run, State, words
from sdterm.tui.widgets.bars import StatusLine
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, text_of, until


def held_up(until_there_is: Path) -> str:
    """The code of a sampler that does nothing before a file is there."""
    return dedent(f"""
        import time
        from pathlib import Path
        from sdterm.hooks import Sampler, hookimpl

        def sample(denoise, x, sigmas, *, noise, callback):
            while not Path({str(until_there_is)!r}).exists():
                time.sleep(0.01)
            return x

        @hookimpl
        def sdterm_samplers():
            return [Sampler(id="held_up", label="Held up", sample=sample)]
    """)


def test_the_first_job_says_from_its_first_second_what_is_done(host: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    host.client.unload_models()  # its process ends
    said: set[str] = set()

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        become = app._become

        def listening(*given: Any) -> None:  # a look now and then would miss what is short
            become(*given)
            said.update(app.status())

        monkeypatch.setattr(app, "_become", listening)

        def says(word: str) -> bool:
            return any(word in part for part in said)

        await until(pilot, lambda: app.state.host == "up")
        said.update(app.status())
        await pilot.press("f5")
        await until(pilot, lambda: says("starting the worker"))
        await until(pilot, lambda: says("/20 ["), "a step")
        assert says("idle")  # before

    drive(host, act)


def test_a_model_that_is_read_says_how_far_and_how_long_still() -> None:
    state = State(host="up", runs=(Run(3),))
    said = []
    for at, fraction in ((10.0, None), (12.0, 0.4), (14.0, 0.8)):
        event = ModelLoading(model="big \x1b[31m", done=False, fraction=fraction)
        state = after(state, Entry(number=1, at=at, job=3, event=event))
        said.append(words(state, "model", "seed")[0])
    assert said == [
        "> #3 loading big �[31m",
        "> #3 loading big �[31m 40%, 3s left",
        "> #3 loading big �[31m 80%, 1s left",
    ]
    done = Entry(number=1, at=15.0, job=3, event=ModelLoading(model="big", done=True))
    assert words(after(state, done), "model", "seed")[0] == "> #3 preparing"


@pytest.mark.heavy
def test_a_job_without_a_step_is_no_idleness(host: Running, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    (host.settings.root / "extensions" / "held_up.py").write_text(held_up(go_on))
    jobs = [host.submit(sampler="Held up"), host.submit(steps=1)]
    for entry in host.client.events(job=jobs[0], after=0):
        if entry.event.event == "started":
            break
    said: set[str] = set()

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        def says(word: str) -> bool:
            said.update(app.status())
            return word in said

        await until(pilot, lambda: says(f"> #{jobs[0]} preparing"))
        await until(pilot, lambda: says("q1"))
        await pilot.press("ctrl+c")
        assert f"Esc Esc stops the job; {app.key('quit')} leaves sdterm" in screen_text(app)
        await pilot.press("escape")
        assert f"Esc again stops #{jobs[0]}." in screen_text(app)
        await until(pilot, lambda: "again stops" not in screen_text(app), "the end of that offer")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Ask) and f"#{jobs[0]} is running" in screen_text(app))
        assert "idle" not in said
        go_on.touch()
        await until(pilot, lambda: says("idle"), "the end of both")

    drive(host, act)
    assert host.client.job(jobs[1]).state == "done"


def test_a_second_pass_leaves_room_for_the_seed(host: Running) -> None:
    run = Run(12, step=12, steps=20, since=1.0, first=1, at=10.0, pass_no=1, passes=2)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up" and "sdterm-demo" in screen_text(app), "the model")
        app._become(State(host="up", runs=(run,)))
        await until(pilot, lambda: "pass 2/2 12/20" in screen_text(app), "the pass")
        assert "seed random" in screen_text(app)

    drive(host, act)


def test_what_can_begin_is_about_to() -> None:
    def first(**counts: int) -> str:
        queue = Queue(paused=False, counts=counts)
        return words(State(host="up").counted(queue), "model", "seed")[0]

    assert first(queued=1) == "> preparing"
    assert first() == first(waiting=1) == "idle"
    held = Queue(paused=True, counts={"queued": 1})
    assert words(State(host="up").counted(held), "model", "seed")[:2] == ["idle", "queue paused"]


def test_what_stopped_a_job_is_said_until_it_goes_on_or_is_cancelled() -> None:
    full = Waiting(code="disk_full", message="The disk is full.")
    stopped = after(State(host="up"), Entry(number=1, at=0.0, job=3, event=full))
    assert words(stopped, "model", "seed")[0] == "! disk full"
    for event in (Resumed(first=0, images=1, calls=20), Done(images=1, seconds=2.0), Cancelled(images=0)):
        state = after(stopped, Entry(number=2, at=1.0, job=3, event=event))
        assert not state.trouble, event.event


def test_of_a_job_that_two_devices_draw_the_pace_is_that_of_both() -> None:
    state, at = State(host="up"), 0.0
    started = Started(model="m", model_hash="0", sampler="Euler", scheduler="", seed=1, width=64, height=64, images=4)
    state = after(state, Entry(number=1, at=at, job=3, event=started))
    for step in range(1, 6):
        for batch in (0, 2):
            at += 0.5
            told = Step(batch=batch, batches=4, step=step, steps=10)
            state = after(state, Entry(number=1, at=at, job=3, event=told))
    (run,) = state.runs
    assert run.is_shared and run.pace == pytest.approx(2.0)
    assert run.left == pytest.approx((4 * 10 - 2 * 5) / 2.0)
    assert (run.batch, run.step) == (0, 5), "one of the two is shown, and stays"


def test_the_status_line_says_which_other_machine_one_works_on(host: Running, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sdterm_" + "a" * 43)
    token.chmod(0o600)

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "on 127.0.0.1:9" in text_of(app.screen.query_one(StatusLine)))
        await pilot.press("f4")
        await until(pilot, lambda: "on 127.0.0.1:9" in text_of(app.screen.query_one(StatusLine)))

    drive(host, act, connect="http://127.0.0.1:9", token_file=str(token))
