"""The status line and the way out, while a job is drawn that has not come to a step."""

from pathlib import Path
from textwrap import dedent

from textual.pilot import Pilot

from sdterm.api import Queue
from sdterm.tui.app import Workstation
from sdterm.tui.screens.pick import Ask
from sdterm.tui.state import State, words
from tests.host.running import Running
from tests.tui.conftest import drive, screen_text, until


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
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Ask) and f"#{jobs[0]} is running" in screen_text(app))
        assert "idle" not in said
        go_on.touch()
        await until(pilot, lambda: says("idle"), "the end of both")

    drive(host, act)
    assert host.client.job(jobs[1]).state == "done"


def test_what_can_begin_is_about_to() -> None:
    def first(**counts: int) -> str:
        queue = Queue(paused=False, counts=counts)
        return words(State(host="up").counted(queue), "model", "seed")[0]

    assert first(queued=1) == "> preparing"
    assert first() == first(waiting=1) == "idle"
    held = Queue(paused=True, counts={"queued": 1})
    assert words(State(host="up").counted(held), "model", "seed")[:2] == ["idle", "queue on hold"]
