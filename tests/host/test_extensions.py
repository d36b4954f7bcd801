"""Extensions that are written, broken, moved and deleted while a host draws with them."""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner

from sdterm.api import Extension
from sdterm.cli import sdterm as command
from sdterm.client import Client
from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.events import Done, Event, ExtensionChanged, Failed, Image, Interrupted, Paused, Queued, Waiting
from sdterm.host.services import HostServices
from tests.host.conftest import opened_files, settings_of, submission
from tests.host.running import Running, images, running, wait_until

SMALL = {"steps": 4, "width": 64, "height": 64}
WITHIN = 60.0  # seconds
T = TypeVar("T", bound=Event)


def sampler(name: str = "Mine", factor: float = 1.0, harm: str = "pass") -> str:
    """The code of Euler's method under another name, whose result is `factor` times as large."""
    return dedent(f"""
        from sdterm.hooks import Sampler, hookimpl

        def sample(denoise, x, sigmas, *, noise, callback):
            for i in range(len(sigmas) - 1):
                x0 = denoise(x, sigmas[i].expand(len(x))).x0
                callback(i, x0)
                {harm}
                x = x + (x - x0) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
            return x * {factor}

        @hookimpl
        def sdterm_samplers():
            return [Sampler(id="{name.lower()}", label="{name}", sample=sample)]
    """)


def first(kind: type[T], client: Client, job: int) -> T:
    """What happens to a job, up to the first event of that kind."""
    return next(entry.event for entry in client.events(job=job, after=0) if isinstance(entry.event, kind))


class Home:
    """A host, its extensions folder, and the eyes to see what becomes of what is put there."""

    def __init__(self, host: Running) -> None:
        self.host, self.client = host, host.client
        self.folder = host.settings.root / "extensions"

    def last(self) -> int:
        return self.client.health().last_event

    def told(self, after: int, fits: Callable[[ExtensionChanged], bool]) -> ExtensionChanged:
        """What the host says next about extensions that fits."""
        deadline = time.monotonic() + WITHIN
        for entry in self.client.events(after=after):
            if isinstance(entry.event, ExtensionChanged) and fits(entry.event):
                return entry.event
            assert time.monotonic() < deadline
        raise AssertionError("the stream ended")

    def put(self, name: str, text: str, loaded: bool = True) -> ExtensionChanged:
        """Write a file as an editor does, and wait until the host has taken it up, or says why not."""
        after = self.last()
        (self.folder / name).write_text(text)
        return self.told(after, lambda event: event.slug == Path(name).stem and event.loaded == loaded)

    def standing(self, slug: str) -> Extension:
        return next(extension for extension in self.client.extensions() if extension.slug == slug)

    def until_there_are(self, *slugs: str) -> None:
        """Wait until the host knows exactly these extensions."""
        wait_until(lambda: {extension.slug for extension in self.client.extensions()} == {*slugs}, WITHIN)

    def draw(self, **fields: Any) -> Image:
        job = self.host.submit(**{**SMALL, "sampler": "Mine", **fields})
        events = self.host.events(job)
        assert isinstance(events[-1], Done), events[-1]
        return images(events)[0]


@pytest.fixture(scope="module")
def running_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("data"), SDTERM_HANG_LIMIT="5") as host:
        yield host


@pytest.fixture
def home(running_host: Running) -> Iterator[Home]:
    """The host of this file, with nothing in its folder but the shipped example."""
    it = Home(running_host)
    it.until_there_are("example_midpoint")  # the host has looked once: from now on it tells what changes
    yield it
    for path in it.folder.iterdir():
        if path.name not in ("README.md", "example_midpoint.py"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    it.until_there_are("example_midpoint")


# --- written, and used by the next picture ----------------------------------------------------------------------------


def test_a_saved_file_draws_the_next_picture_and_an_edit_the_one_after(home: Home) -> None:
    assert "gives Sampler Mine" in home.put("mine.py", sampler()).message
    first = home.draw()
    home.put("mine.py", sampler(factor=0.5))
    second = home.draw()
    home.put("mine.py", sampler())
    third = home.draw()
    assert first.pixel_hash == third.pixel_hash != second.pixel_hash
    assert f"plugin=mine%40{home.standing('mine').digest}" in third.infotext


def test_what_was_saved_just_before_a_job_draws_it(home: Home) -> None:
    (home.folder / "mine.py").write_text(sampler(factor=0.25))
    drawn = home.draw()
    assert f"plugin=mine%40{home.standing('mine').digest}" in drawn.infotext


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def (", "invalid syntax (mine.py:1)"),
        ("x = 1\nraise RuntimeError('no')", "RuntimeError: no (mine.py:2)"),
        ("import os\nos._exit(3)", "loading it ended the process (exit code 3)"),
        ("import ctypes\nctypes.string_at(0)", "loading it crashed the process (SIGSEGV)"),
        ("hog = bytearray(64 << 30)", "MemoryError"),
        ("raise KeyboardInterrupt", "loading it ended the process"),
        (
            "from sdterm.hooks import hookimpl\n@hookimpl\ndef sdterm_samplerz(): return []",
            "there is no hook sdterm_samplerz; did you mean sdterm_samplers? (mine.py:3)",
        ),
        (sampler().replace("label=", "lable="), "Sampler has no field lable; did you mean label?"),
        (sampler("Euler a"), "Sampler 'euler a'"),
        pytest.param("while True: pass", "took longer than 15 s", marks=pytest.mark.heavy),
    ],
    ids=["syntax", "raises", "exits", "crashes", "hogs", "interrupts", "no hook", "no field", "taken name", "endless"],
)
def test_a_bad_version_harms_nobody_and_the_last_good_one_goes_on(home: Home, code: str, said: str) -> None:
    home.put("mine.py", sampler())
    before, worker, host = home.draw(), home.host.worker.pid, home.host.host.pid
    event = home.put("mine.py", code, loaded=False)
    assert said in event.message
    assert event.message.endswith("Its last good version stays in use.")
    assert home.draw().pixel_hash == before.pixel_hash
    assert (home.standing("mine").state, said in home.standing("mine").message) == ("stale", True)
    assert (home.host.worker.pid, home.host.host.pid) == (worker, host)
    home.put("mine.py", sampler(factor=0.9))
    assert home.standing("mine").state == "serving"


def test_half_a_file_is_no_mistake_yet(tmp_path: Path) -> None:
    """Each look sees what an editor has written so far."""
    file = tmp_path / "extensions" / "mine.py"

    async def save_in_pieces() -> list[str]:
        async with parts(tmp_path) as home:
            await home.extensions.settled()
            for whole in (sampler("First"), sampler("Second")):
                for end in ("hookimpl", "denoise, x", "return [", "label="):
                    file.write_text(whole[: whole.rindex(end)])
                    await home.extensions.settled()
                file.write_text(whole)
                await home.extensions.settled()
            return [extension.state for extension in await home.extensions.listed()] + told(home)

    def told(home: HostServices) -> list[str]:
        rows = home.database.rows("SELECT event FROM events")
        return [json.loads(row["event"])["message"] for row in rows]

    assert asyncio.run(save_in_pieces()) == [
        "serving",
        "mine is loaded and gives Sampler First.",
        "mine is loaded and gives Sampler Second.",
    ]


# --- what takes long, or kills ----------------------------------------------------------------------------------------


def marking(mark: Path, harm: str) -> str:
    """The code of an extension that leaves a mark each time that it is loaded, and then does harm."""
    return f"open({str(mark)!r}, 'a').write('x')\n{harm}\n"


@contextlib.asynccontextmanager
async def parts(root: Path) -> AsyncIterator[HostServices]:
    """A host in this process; only what tries out plugins is a process of its own."""
    run_folder = run_folder_of(root)
    make_private(run_folder)
    (root / "extensions").mkdir(exist_ok=True)
    home = HostServices(settings_of(root, device="cpu"), run_folder)
    try:
        yield home
    finally:
        await home.extensions.end()
        home.database.close()


def test_nobody_waits_for_a_try_that_hangs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def ask() -> None:
        async with parts(tmp_path) as home:
            (tmp_path / "extensions" / "mine.py").write_text(marking(mark, "while True: pass"))
            trying = asyncio.create_task(home.extensions.settled())
            while not mark.exists():
                await asyncio.sleep(0.01)
            for _ in range(2):
                assert (await home.extensions.now()).names.sampler("Euler a")
            assert await home.extensions.listed() == [] and not trying.done()
            await home.check(submission(sampler="Euler a"))
            assert not trying.done()
            trying.cancel()

    asyncio.run(ask())


def test_a_name_that_nobody_gives_is_looked_for_in_what_is_being_tried(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    wait = f"import time\nwhile not __import__('os').path.exists({str(mark)!r} + '2'): time.sleep(0.05)\n"

    async def ask() -> None:
        async with parts(tmp_path) as home:
            (tmp_path / "extensions" / "mine.py").write_text(marking(mark, wait) + sampler())
            trying = asyncio.create_task(home.extensions.settled())
            while not mark.exists():
                await asyncio.sleep(0.01)
            await home.extensions.now()
            checking = asyncio.create_task(home.check(submission(sampler="Mine")))
            drawing = asyncio.create_task(home.extensions.for_job(submission(sampler="Mine").request, ()))
            await asyncio.sleep(0)
            Path(f"{mark}2").touch()
            await asyncio.gather(trying, checking)
            assert "mine" in [source.slug for source in await drawing]

    asyncio.run(ask())


@pytest.mark.heavy
def test_an_edit_among_hundreds_costs_one_copy_and_one_try_and_a_look_reads_nothing(tmp_path: Path) -> None:
    number, mark, opened = 300, tmp_path / "mark", opened_files()
    folder = tmp_path / "extensions"

    async def read_in_a_look(home: HostServices) -> set[str]:
        """The extensions that are read in it."""
        opened.clear()
        await home.extensions.settled()
        return {Path(path).stem for path in opened if Path(path).name.startswith("mine")}

    async def work() -> None:
        async with parts(tmp_path) as home:
            for index in range(number):
                (folder / f"mine{index}.py").write_text(marking(mark, "") + sampler(f"Mine{index}"))
            await home.extensions.settled()
            assert len(mark.read_text()) == number, "each is loaded once"
            deadline = time.monotonic() + WITHIN
            while await read_in_a_look(home):
                assert time.monotonic() < deadline, "what has not changed is read again and again"
            mark.write_text("")
            (folder / "mine7.py").write_text(marking(mark, "") + sampler("Mine7", 0.5))
            assert await read_in_a_look(home) == {"mine7"}
            assert len(mark.read_text()) == number, "the whole set is tried, once"

    asyncio.run(work())


@pytest.mark.heavy
def test_of_several_what_hangs_is_tried_once_and_the_others_are_not_kept_waiting(home: Home, tmp_path: Path) -> None:
    after, mark, began = home.last(), tmp_path / "mark", time.time()
    for slug, code in {
        "a": sampler("A"),
        "b": marking(mark, "while True: pass"),
        "c": sampler("C"),
        "d": marking(mark, "while True: pass"),
    }.items():
        (home.folder / f"{slug}.py").write_text(code)
    home.draw(sampler="Euler a")
    told = [home.told(after, lambda event, slug=slug: event.slug == slug) for slug in "bacd"]  # type: ignore[misc]
    assert [event.loaded for event in told] == [False, True, True, False]
    assert "took longer than 15 s" in told[0].message and "took longer than 15 s" in told[3].message
    assert mark.read_text() == "xx"
    at = {entry.event.slug: entry.at for entry in _changes(home, after)}
    assert at["b"] - began < 2 * 15
    assert at["a"] - at["b"] < 5 < at["d"] - at["b"] and at["c"] <= at["d"], "what works does not wait for what hangs"


def _changes(home: Home, after: int) -> Iterator[Any]:
    for entry in home.client.events(after=after):
        if isinstance(entry.event, ExtensionChanged):
            yield entry
            if entry.event.slug == "d":
                return


@pytest.mark.heavy
def test_a_worker_that_takes_long_to_start_is_no_reason_against_an_extension(home: Home) -> None:
    """A stopped process stands in for a slow disk."""
    home.client.unload_models()
    job = home.host.submit(**SMALL)
    wait_until(lambda: any(worker.pid for worker in home.client.health().workers))
    worker = home.host.worker
    worker.suspend()
    assert [worker.phase for worker in home.client.health().workers] == ["starting"]
    try:
        assert "gives Sampler Mine" in home.put("mine.py", sampler()).message
    finally:
        worker.resume()
    assert f"plugin=mine%40{home.standing('mine').digest}" in home.draw().infotext
    assert isinstance(home.host.events(job)[-1], Done)


@pytest.mark.heavy
def test_what_took_too_long_is_tried_again_by_the_next_host(home: Home, tmp_path: Path) -> None:
    there = tmp_path / "there"
    wait = f"import os, time\nwhile not os.path.exists({str(there)!r}): time.sleep(0.1)\n"
    assert "took longer than 15 s" in home.put("mine.py", wait + sampler(), loaded=False).message
    there.touch()
    home.host.kill_host()
    home.host.again()
    home.client = home.host.client
    assert home.draw().infotext


def test_one_of_several_that_kills_is_found_at_once(home: Home, tmp_path: Path) -> None:
    after, mark = home.last(), tmp_path / "mark"
    home.client.pause_queue()
    (home.folder / ".new").mkdir()
    for slug in "abcd":
        code = sampler(slug.upper()) if slug != "c" else ""
        (home.folder / ".new" / f"{slug}.py").write_text(marking(mark, "import os; os._exit(3)" * (slug == "c")) + code)
    for path in [*(home.folder / ".new").iterdir()]:
        path.rename(home.folder / path.name)
    assert "ended the process (exit code 3)" in home.told(after, lambda event: event.slug == "c").message
    for slug in "abd":
        home.told(after, lambda event, slug=slug: event.slug == slug and event.loaded)  # type: ignore[misc]
    home.client.resume_queue()


def test_one_that_never_worked_is_named_and_the_others_work(home: Home) -> None:
    assert "No module named 'nowhere'" in home.put("mine.py", "import nowhere", loaded=False).message
    assert home.standing("mine").state == "failed"
    home.put("other.py", sampler("Other"))
    home.draw(sampler="Other")


# --- however files are written ----------------------------------------------------------------------------------------


def atomic(folder: Path, text: str) -> None:
    (folder / "mine.py.tmp").write_text(text)
    (folder / "mine.py.tmp").rename(folder / "mine.py")


def restored_time(folder: Path, text: str) -> None:
    before = (folder / "mine.py").stat()
    (folder / "mine.py").write_text(text)
    os.utime(folder / "mine.py", ns=(before.st_atime_ns, before.st_mtime_ns))


def deleted_and_made_again(folder: Path, text: str) -> None:
    (folder / "mine.py").unlink()
    (folder / "mine.py").write_text(text)


def in_pieces(folder: Path, text: str) -> None:
    with (folder / "mine.py").open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()


def root_made_again(folder: Path, text: str) -> None:
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    for path in folder.with_name("before").iterdir():
        path.rename(folder / path.name)
    folder.with_name("before").rmdir()
    (folder / "mine.py").write_text(text)


@pytest.mark.parametrize("write", [atomic, restored_time, deleted_and_made_again, in_pieces, root_made_again])
def test_a_change_is_seen_however_it_was_written(home: Home, write: Callable[[Path, str], None]) -> None:
    home.put("mine.py", sampler("Before"))
    after = home.last()
    write(home.folder, sampler("Afterwards"))
    home.told(after, lambda event: event.loaded and "Afterwards" in event.message)


def test_a_folder_of_several_files_behind_a_link_is_seen_to_change(home: Home, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "numbers.py").write_text("FACTOR = 1.0\n")
    body = sampler("Linked").replace("x * 1.0", "x * FACTOR")
    (real / "__init__.py").write_text("from .numbers import FACTOR\n" + body)
    after = home.last()
    (home.folder / "mine").symlink_to(real)
    home.told(after, lambda event: event.slug == "mine" and event.loaded)
    first = home.draw(sampler="Linked")
    after = home.last()
    (real / "numbers.py").write_text("FACTOR = 0.5\n")
    home.told(after, lambda event: event.slug == "mine" and event.loaded)
    assert home.draw(sampler="Linked").pixel_hash != first.pixel_hash


@pytest.mark.heavy
def test_a_folder_that_is_deleted_is_told_once_and_looked_for(home: Home) -> None:
    home.put("mine.py", sampler())
    log = home.host.settings.root / "run" / "host.log"
    before, after = len(log.read_text()), home.last()
    away = home.folder.with_name("away")
    home.folder.rename(away)
    home.told(after, lambda event: event.message == "mine was removed.")
    for _ in range(3):
        home.draw(sampler="Euler a")
    after = home.last()
    away.rename(home.folder)
    home.told(after, lambda event: event.slug == "mine" and event.loaded)
    written = log.read_text()[before:]
    assert "Traceback" not in written and written.count("extensions is gone: no extension is loaded") == 1


@pytest.mark.heavy
def test_what_is_renamed_is_another_and_what_is_deleted_is_gone(home: Home) -> None:
    home.put("mine.py", sampler())
    after = home.last()
    (home.folder / "mine.py").rename(home.folder / "yours.py")
    home.told(after, lambda event: event.slug == "yours" and event.loaded)
    assert "mine" not in [extension.slug for extension in home.client.extensions()]
    after = home.last()
    (home.folder / "yours.py").unlink()
    assert home.told(after, lambda event: event.slug == "yours").message == "yours was removed."


# --- jobs keep what they began with -----------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_running_job_keeps_its_version_even_deleted_and_over_a_dead_worker(home: Home) -> None:
    long: dict[str, Any] = {"sampler": "Mine", "steps": 30, "width": 128, "height": 128}
    home.put("mine.py", sampler(factor=0.8))
    wanted = images(home.host.events(home.host.submit(**long)))[0].pixel_hash
    job = home.host.submit(**long)
    home.host.at_step(job, 5)
    home.put("mine.py", sampler(factor=0.1))
    home.host.at_step(job, 10)
    after = home.last()
    (home.folder / "mine.py").unlink()
    home.told(after, lambda event: event.message == "mine was removed.")
    home.host.worker.kill()
    events = home.host.events(job)
    assert "interrupted" in [event.event for event in events]
    assert images(events)[0].pixel_hash == wanted
    assert not [event for event in events if getattr(event, "code", "") == "plugins_changed"]


def test_a_job_whose_sampler_is_gone_waits_for_it(home: Home) -> None:
    home.put("mine.py", sampler())
    home.client.pause_queue()
    job = home.host.submit(**SMALL, sampler="Mine")
    after = home.last()
    (home.folder / "mine.py").rename(home.folder / ".away")
    home.told(after, lambda event: event.message == "mine was removed.")
    home.client.resume_queue()
    waiting = first(Waiting, home.client, job)
    assert waiting.code == "needs_plugin"
    assert "It needs the sampler 'Mine' from the extension mine" in waiting.message
    (home.folder / ".away").rename(home.folder / "mine.py")
    events = home.host.events(job)
    assert isinstance(events[-1], Done) and [type(e) for e in events].count(Queued) == 2


POSTPROCESSOR = """
from sdterm.hooks import Postprocessor, hookimpl

@hookimpl
def sdterm_postprocessors():
    return [Postprocessor(id="mine", label="Mine", apply=lambda image, rng: 255 - image)]
"""


def test_a_job_waits_for_whatever_it_asks_for_by_name(home: Home) -> None:
    home.put("mine.py", POSTPROCESSOR)
    home.client.pause_queue()
    job = home.host.submit(**SMALL, postprocess=["Mine"])
    after = home.last()
    (home.folder / "mine.py").unlink()
    home.told(after, lambda event: event.message == "mine was removed.")
    home.client.resume_queue()
    waiting = first(Waiting, home.client, job)
    assert "It needs the postprocessor 'Mine' from the extension mine" in waiting.message
    home.client.cancel(job)


@pytest.mark.heavy
def test_a_host_without_extensions_runs_none_for_a_job_that_began_with_them(tmp_path: Path) -> None:
    """Not even its own copy of one: that may be what harms it. What names one waits, the others go on."""
    ran = tmp_path / "ran"
    with running(tmp_path / "data") as host:
        mine = f"open({str(ran)!r}, 'a').close()\n" + dedent(sampler())
        (host.settings.root / "extensions" / "mine.py").write_text(mine)
        wait_until(lambda: any(one.slug == "mine" for one in host.client.extensions()), WITHIN)
        jobs = [host.submit(**SMALL | {"sampler": name, "steps": 6}, pause_at=2) for name in ("Mine", "Euler a")]
        for job in jobs:
            assert isinstance(host.events(job)[-1], Paused)
        host.kill_host()
    ran.unlink()
    with running(tmp_path / "data", SDTERM_EXTENSIONS="false") as host:
        for job in jobs:
            host.client.resume(job)
        waiting = first(Waiting, host.client, jobs[0])
        assert waiting.code == "needs_plugin" and "the sampler 'Mine' from an extension" in waiting.message
        first(Done, host.client, jobs[1])
        host.kill_host()
    assert not ran.exists()
    with running(tmp_path / "data") as host:
        first(Done, host.client, jobs[0])


@pytest.mark.heavy
def test_a_job_that_was_begun_with_what_is_disabled_by_now_waits_for_it(home: Home) -> None:
    home.put("mine.py", sampler())
    job = home.host.submit(**SMALL | {"sampler": "Mine", "steps": 6}, pause_at=2)
    assert isinstance(home.host.events(job)[-1], Paused)
    after = home.last()
    enable = ["--data-dir", str(home.host.settings.root)]
    assert CliRunner().invoke(command, ["ext", "disable", "mine", *enable]).exit_code == 0
    wait_until(lambda: home.standing("mine").state == "off", WITHIN)
    home.client.resume(job)
    assert "It needs the sampler 'Mine' from the extension mine" in first(Waiting, home.client, job).message
    assert CliRunner().invoke(command, ["ext", "enable", "mine", *enable]).exit_code == 0
    assert isinstance(
        next(e.event for e in home.client.events(job=job, after=after) if isinstance(e.event, Done)), Done
    )


@pytest.mark.heavy
def test_the_next_host_serves_what_the_last_one_did(home: Home) -> None:
    home.put("mine.py", sampler(factor=0.7))
    before = home.draw().pixel_hash
    home.put("mine.py", "def (", loaded=False)
    home.host.kill_host()
    home.host.again()
    home.client = home.host.client
    assert home.standing("mine").state == "stale"
    assert home.draw().pixel_hash == before


@pytest.mark.heavy
def test_a_damaged_record_of_what_served_is_not_believed(tmp_path: Path) -> None:
    async def catalogue() -> Catalogue:
        async with parts(tmp_path) as home:
            return (await home.extensions.settled()).catalogue

    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "mine.py").write_text(sampler())
    right = asyncio.run(catalogue())
    kept = tmp_path / "cache" / "plugin_set.json"
    kept.write_bytes(kept.read_bytes().replace(b'"Euler a"', b'"Fuler a"'))
    assert asyncio.run(catalogue()) == right
    (copy,) = (tmp_path / "cache" / "extensions" / "mine").glob("*/mine.py")
    copy.write_text(sampler(factor=0.5))
    assert asyncio.run(catalogue()) == right
    assert copy.read_text() == sampler()


# --- set aside --------------------------------------------------------------------------------------------------------


def test_one_that_spoils_three_jobs_is_set_aside_until_it_changes(home: Home) -> None:
    home.put("mine.py", sampler(harm="raise ArithmeticError('spoilt')"))
    for number in range(3):
        after = home.last()
        failed = home.host.events(home.host.submit(**SMALL, sampler="Mine"))[-1]
        assert isinstance(failed, Failed) and failed.source == "mine", number
    home.told(after, lambda event: event.slug == "mine" and "failed in 3 jobs" in event.message)
    assert home.standing("mine").state == "aside"
    home.put("mine.py", sampler())
    home.draw()


@pytest.mark.heavy
def test_one_that_hangs_is_named_and_its_job_goes_on_in_another_process(home: Home, tmp_path: Path) -> None:
    """It hangs once, since in a process that has not measured a call yet it would be waited for much longer."""
    once = tmp_path / "once"
    home.put("mine.py", sampler(harm=f"while i == 3 and not __import__('os').path.exists({str(once)!r}): pass"))
    lost = []
    for entry in home.host.entries(home.host.submit(**SMALL | {"steps": 6}, sampler="Mine")):
        if isinstance(entry.event, Interrupted):
            lost.append(entry.event)
            once.touch()
    assert [event.code for event in lost] == ["worker_hung"] and "code of the extension mine" in lost[0].message
    assert isinstance(entry.event, Done)
