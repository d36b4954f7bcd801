"""The host's database: a power cut, damage, other versions, ten thousand jobs and a clock that jumps."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from sdterm.core.planning.plan import Plan
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.events import Done, Queued
from sdterm.host import database as module
from sdterm.host.database import MIGRATIONS, Database, UnusableDatabaseError
from sdterm.host.services import HostServices
from sdterm.request import make_request
from tests.host.conftest import StartHost, settings_of, submission
from tests.host.running import wait_until

FRAME = 24 + 4096  # bytes of one page in SQLite's write-ahead log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host.db"


# --- a power cut ------------------------------------------------------------------------------------------------------


def add(services: HostServices, prompt: str = "a house") -> int:
    return services.jobs.submit(submission(prompt), services.saving())


def acknowledged(services: HostServices) -> tuple[list[tuple[Any, ...]], ...]:
    """All that clients were told: jobs, and the events that came with them."""
    return (
        [tuple(row) for row in services.database.rows("SELECT id, state, position, request FROM jobs ORDER BY id")],
        [tuple(row) for row in services.database.rows("SELECT number, job, event FROM events ORDER BY number")],
    )


def survived(main: bytes, log: bytes, folder: Path) -> tuple[list[tuple[Any, ...]], ...]:
    """What a host finds that starts on these files, which must be sound."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "host.db").write_bytes(main)
    (folder / "host.db-wal").write_bytes(log)
    database = Database(folder / "host.db")
    try:
        assert [row[0] for row in database.rows("PRAGMA integrity_check")] == ["ok"]
        assert not database.rows("PRAGMA foreign_key_check")
        counted = dict(tuple(row) for row in database.rows("SELECT state, jobs FROM states WHERE jobs > 0"))
        assert counted == dict(
            tuple(row) for row in database.rows("SELECT state, count(*) FROM jobs GROUP BY state")
        ), "a transaction happens as a whole or not at all"
        return (
            [tuple(row) for row in database.rows("SELECT id, state, position, request FROM jobs ORDER BY id")],
            [tuple(row) for row in database.rows("SELECT number, job, event FROM events ORDER BY number")],
        )
    finally:
        database.close()
        assert not list(folder.glob("*.broken-*"))


def cuts(log: bytes, synced: int) -> Iterator[bytes]:
    """What may be left of a log of which the first `synced` bytes are on the disk: any beginning, with nothing,
    zeros, garbage or an older log's bytes after it, or a hole."""
    rng = random.Random(0)
    ends = {synced, len(log), *(rng.randrange(synced, len(log)) for _ in range(20))}
    for frame in range(synced, len(log), FRAME):
        ends |= {end for end in (frame + 1, frame + 12, frame + 24, frame + 24 + 512, frame + FRAME - 1, frame + FRAME)}
    for end in sorted(end for end in ends if end <= len(log)):
        yield log[:end]
    for end in rng.sample(sorted(ends), min(20, len(ends))):
        missing = max(len(log) - end, FRAME)
        yield log[:end] + bytes(missing)
        yield log[:end] + rng.randbytes(missing)
        yield log[:end] + log[32 : 32 + missing]
        yield log[:end] + bytes(512) + log[end + 512 :]


def test_a_power_cut_loses_nothing_that_was_acknowledged(services: HostServices, tmp_path: Path) -> None:
    main, log = services.run_folder.database, Path(f"{services.run_folder.database}-wal")
    add(services, "the first")
    services.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tried = 0
    for prompt in ("a house", "a long road " * 400, "a tree"):
        job = add(services, prompt)
        services.jobs.move(job, 1)
        told, synced, kept = acknowledged(services), log.stat().st_size, main.read_bytes()
        for _ in range(3):
            services.log.add(job, Queued(images=1))  # reported, not durable
        with services.database.transaction():  # never acknowledged before the cut
            services.jobs.cancel(job)
            add(services, "too late")
        assert main.read_bytes() == kept, "only the log was written since"
        for left in cuts(log.read_bytes(), synced):
            jobs, events = survived(kept, left, tmp_path / "after")
            assert events[: len(told[1])] == told[1]
            if len(jobs) == len(told[0]):
                assert jobs == told[0]
            else:
                assert jobs[-1][3].startswith('{"prompt":"too late"'), "the whole of the last transaction"
            tried += 1
    assert tried > 200


def test_a_durable_transaction_syncs_before_it_returns_and_others_do_not(services: HostServices) -> None:
    def level() -> int:
        row = services.database.row("PRAGMA synchronous")
        return int(row[0]) if row else -1

    with services.database.transaction():
        assert level() == 2  # FULL
        with services.database.transaction(durable=False):
            pass
        assert level() == 2
    with services.database.transaction(durable=False):
        assert level() == 1  # NORMAL


def test_a_power_cut_while_the_log_is_moved_into_the_file_loses_nothing(services: HostServices, tmp_path: Path) -> None:
    """SQLite syncs the log before it writes to the file, so any mixture of old and new pages is mended from the log."""
    main, log = services.run_folder.database, Path(f"{services.run_folder.database}-wal")
    services.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = main.read_bytes()
    for number in range(20):
        add(services, f"house {number}")
    told, whole = acknowledged(services), log.read_bytes()
    services.database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    after = main.read_bytes()
    rng = random.Random(1)
    pages = range(0, max(len(before), len(after)), 4096)
    for _ in range(20):
        mixed = b"".join((after if rng.random() < 0.5 else before)[page : page + 4096] for page in pages)
        assert survived(mixed, whole, tmp_path / "after") == told


def test_what_follows_a_transaction_happens_once_it_is_committed_and_not_otherwise(services: HostServices) -> None:
    done: list[str] = []
    with services.database.transaction():
        services.database.afterwards(lambda: done.append("first"))
        assert not done
    with pytest.raises(KeyError), services.database.transaction():
        add(services, "undone")
        services.database.afterwards(lambda: done.append("never"))
        raise KeyError
    assert done == ["first"] and services.jobs.queue().counts["queued"] == 0 and services.log.last == 0


# --- damage and versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"this is no database, but a text of some length " * 100,
        lambda whole: bytes(len(whole)),
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:4096] + random.Random(0).randbytes(len(whole) - 4096),
        lambda whole: whole[: 4096 * 3] + bytes(4096) + whole[4096 * 4 :],
    ],
    ids=["a text", "zeros", "half", "garbage", "a page of zeros"],
)
def test_a_damaged_database_is_kept_aside_and_an_empty_one_begun(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    services = HostServices(settings_of(tmp_path, device="cpu"), run_folder)
    for number in range(200):
        services.jobs.submit(submission(f"house {number}"), services.saving())
    services.database.close()
    broken = damage(run_folder.database.read_bytes())
    run_folder.database.write_bytes(broken)

    services = HostServices(settings_of(tmp_path, device="cpu"), run_folder)
    services.recover()
    assert services.page([], 50, None).jobs == ()
    add(services, "a new one")
    services.database.close()
    aside = list(run_folder.folder.glob("host.db.broken-*"))
    assert [file.read_bytes() for file in aside] == [broken]


def test_a_host_starts_beside_a_damaged_database(start_host: StartHost, tmp_path: Path) -> None:
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    run_folder.database.write_bytes(b"no database" * 1000)
    assert start_host(tmp_path, device="cpu").jobs().jobs == ()
    assert "is damaged" in run_folder.log.read_text() and list(run_folder.folder.glob("host.db.broken-*"))


def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnusableDatabaseError, match=r"is of a newer sdterm .* Update sdterm, or move the file away"):
        Database(path)
    assert path.read_bytes() == before and not list(path.parent.glob("*.broken-*"))


def test_a_file_that_cannot_be_opened_is_a_sentence(path: Path) -> None:
    path.mkdir()
    with pytest.raises(UnusableDatabaseError, match="cannot be used"):
        Database(path)


def test_a_plan_that_was_made_before_there_were_passes_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {
        "request": make_request(prompt="a cat", steps=7).model_dump(mode="json"),
        "images": [{"seed": 5, "variation_seed": 0, "prompt": "a cat", "negative_prompt": ""}],
        "width": 64,
        "height": 128,
        "sampler": "Euler a",
        "scheduler": "Automatic",
        "sampler_options": {"eta": 0.5},
        "scheduler_options": {},
        "format_options": {"quality": 80},
        "options": {},
        "model": "demo",
        "model_hash": "00",
    }
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", MIGRATIONS[:3])
        old = Database(path)
        insert = "INSERT INTO jobs (state, position, request, saving, prompt, images, plan, created) VALUES ({})"
        values = ("paused", 1.0, "{}", "{}", "a cat", 1)
        old.execute(insert.format(", ".join("?" * 8)), *values, json.dumps(before), 0.0)
        old.execute(insert.format(", ".join("?" * 8)), *values, None, 0.0)
        old.close()
    migrated = Database(path)
    plans = [row["plan"] for row in migrated.rows("SELECT plan FROM jobs ORDER BY id")]
    migrated.close()
    assert plans[1] is None
    plan = Plan.model_validate_json(plans[0])
    (only,) = plan.passes
    assert (only.width, only.height, only.steps, only.sampler) == (64, 128, 7, "Euler a")
    assert only.sampler_options == {"eta": 0.5} and only.scheduler_options == {}
    assert plan.format_options == {"quality": 80} and plan.images[0].seed == 5
    assert json.loads(plans[0]).keys() <= json.loads(plan.model_dump_json()).keys(), "nothing of the old form is left"


def test_every_version_is_reached_from_nothing_and_keeps_what_it_has(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in range(len(MIGRATIONS) + 1):
        with monkeypatch.context() as patch:
            patch.setattr(module, "MIGRATIONS", MIGRATIONS[:version])
            Database(path).close()
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
        database.close()
    fresh = Database(path.with_name("fresh.db"))
    migrated = Database(path)
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    assert [tuple(row) for row in migrated.rows(schema)] == [tuple(row) for row in fresh.rows(schema)]
    migrated.execute("UPDATE queue SET paused = 1")
    migrated.close()
    again = Database(path)
    row = again.row("SELECT paused FROM queue")
    assert row and row[0] == 1
    again.close()
    fresh.close()


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Database(path).close()
    (tmp_path / "bad.sql").write_text("CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);")
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, str(tmp_path / "bad.sql")))
    with pytest.raises(UnusableDatabaseError):
        Database(path)
    monkeypatch.undo()
    database = Database(path)
    assert not database.rows("SELECT 1 FROM sqlite_master WHERE name = 'half'")
    database.close()


# --- ten thousand jobs, and the clock ---------------------------------------------------------------------------------


def work(services: HostServices) -> dict[str, int]:
    """SQLite virtual-machine steps, in tens, of what is done while a queue is long."""
    steps = 0

    def tick() -> None:
        nonlocal steps
        steps += 1

    def counted(act: Callable[[], object]) -> int:
        nonlocal steps
        steps = 0
        act()
        return steps

    connection = services.database._connection
    connection.set_progress_handler(tick, 10)
    first = services.page(["queued"], 50, None)
    middle = services.page(["queued"], 20, first.next)
    job = middle.jobs[-1].id
    costs = {
        "first page": counted(lambda: services.page(["queued"], 50, None)),
        "next page": counted(lambda: services.page(["queued"], 50, first.next)),
        "newest": counted(lambda: services.page([], 50, None)),
        "two states": counted(lambda: services.page(["queued", "running"], 50, None)),
        "one job": counted(lambda: services.job(job)),
        "counts": counted(services.jobs.queue),
        "snapshot": counted(services.jobs.open),
        "submit": counted(lambda: add(services, "one more")),
        "move": counted(lambda: services.jobs.move(job, first.jobs[3].id)),
        "move to the end": counted(lambda: services.jobs.move(job, None)),
        "take": counted(services.jobs.take),
        "again": counted(lambda: services.jobs.again(first.jobs[0].id)),
        "cancel": counted(lambda: services.jobs.cancel(job)),
        "waiting": counted(services.jobs.waiting),
    }
    connection.set_progress_handler(None, 0)
    return costs


@pytest.mark.heavy
def test_a_long_queue_costs_no_more_than_a_short_one(services: HostServices) -> None:
    def fill(number: int) -> None:
        with services.database.transaction():
            for _ in range(number):
                add(services, "a house")

    fill(150)
    short = work(services)
    fill(9_850)
    long = work(services)
    assert all(short[what] + 20 >= cost for what, cost in long.items() if what != "snapshot"), (short, long)
    assert long["snapshot"] <= 1.5 * short["snapshot"] + 20


def test_a_clock_that_jumps_changes_no_order(tmp_path: Path) -> None:
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    now = [2e9]
    services = HostServices(settings_of(tmp_path, device="cpu"), run_folder, lambda: now[0])
    jobs = []
    for seconds in (2e9, 1e9, 0.0, -5.0, 3e9, 1e12):
        now[0] = seconds
        jobs.append(add(services, "a house"))
    assert [job.id for job in services.page(["queued"], 50, None).jobs] == jobs
    assert [job.id for job in services.page([], 50, None).jobs] == jobs[::-1]
    assert [row[0] for row in services.database.rows("SELECT job FROM events ORDER BY number")] == jobs
    assert [services.jobs.take() for _ in jobs] == jobs
    now[0] = 1.0
    for job in jobs:
        services.jobs.again(job)
    assert services.jobs.take() == jobs[-1]
    services.database.close()


def test_a_database_on_a_full_disk_refuses_and_keeps_what_it_has(services: HostServices) -> None:
    """SQLite's own page limit stands in for the disk."""
    kept = add(services, "a house")
    pages = services.database.row("PRAGMA page_count")
    services.database.execute(f"PRAGMA max_page_count = {pages[0] if pages else 0}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        add(services, "a long road " * 5000)
    services.database.execute("PRAGMA max_page_count = 1000000")
    later = add(services, "a long road " * 5000)
    assert [job.id for job in services.page(["queued"], 9, None).jobs] == [kept, later]


def test_a_database_that_is_deleted_while_it_is_put_back_loses_nothing(services: HostServices) -> None:
    folder, database, moments = services.run_folder.folder, services.database, random.Random(0)
    kept, failed = [], 0

    def delete(after: float) -> None:
        time.sleep(after)
        shutil.rmtree(folder, ignore_errors=True)

    for _ in range(60):
        kept.append(add(services, "a house"))
        delete(0)
        deleting = threading.Thread(target=delete, args=[moments.uniform(0, 0.03)])
        deleting.start()
        while deleting.is_alive() or not database.is_intact:
            if not database.is_intact:
                try:
                    make_private(services.run_folder)
                    database.restore()
                except (OSError, sqlite3.Error):
                    failed += 1
    assert failed, "else nothing was seen"
    assert [job.id for job in services.page(["queued"], 99, None).jobs] == kept
    with sqlite3.connect(services.run_folder.database) as beside:
        assert beside.execute("SELECT count(*) FROM jobs").fetchone() == (60,)
    beside.close()


@pytest.mark.heavy
@pytest.mark.parametrize(
    "damage", [lambda log: log.unlink(), lambda log: log.write_bytes(b""), lambda log: log.write_bytes(bytes(99_999))]
)
def test_a_log_that_is_lost_loses_nothing_that_is_a_moment_old(
    start_host: StartHost, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    client, run_folder = start_host(tmp_path, device="cpu"), run_folder_of(tmp_path)
    host, log = psutil.Process(client.health().pid), Path(f"{run_folder.database}-wal")
    job = client.submit(submission(paused=True)).id
    wait_until(lambda: not log.stat().st_size)
    host.kill()
    host.wait(20)
    damage(log)
    with start_host(tmp_path, device="cpu") as again:
        assert again.job(job).state == "paused" and not again.health().notices


def test_of_the_tapes_of_finished_jobs_the_newest_are_kept(
    services: HostServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdterm.host.dispatch.KEPT_TAPES", 10)
    jobs = [add(services) for _ in range(4)]
    tapes = [services.dispatcher.tape(job) for job in jobs]
    for tape in tapes:
        tape.parent.mkdir(exist_ok=True)
        tape.write_bytes(b"123456")
    services.jobs.cancel(jobs[0])
    for job in jobs[1:]:
        assert services.jobs.take() == job
        services.jobs.end(job, "done", Done(images=1, seconds=1.0))
    for job in jobs:
        services.dispatcher.forget_tape(job)
    assert [tape.exists() for tape in tapes] == [False, False, False, True], "the cancelled one is never wanted again"


def test_a_tape_without_its_job_is_kept_and_told(services: HostServices) -> None:
    job = add(services)
    known, lost = (services.run_folder.tapes / f"{number}.tape" for number in (job, 12))
    known.write_bytes(b"known")
    lost.write_bytes(b"lost")
    services.recover()
    (kept,) = services.run_folder.folder.glob("tapes.lost-*")
    assert [file.read_bytes() for file in kept.iterdir()] == [b"lost"] and known.exists()
    (notice,) = services.health().notices
    assert "has lost jobs (12)" in notice and str(kept) in notice
    assert add(services) == 13, "no new job is given the number of a lost one"


def test_pictures_of_a_lost_gallery_are_found_again_with_what_they_say(start_host: StartHost, tmp_path: Path) -> None:
    (day := tmp_path / "outputs" / "2026-11-28").mkdir(parents=True)
    infotext = "a red house\nSteps: 7, Sampler: Euler a, CFG scale: 7.0, Seed: 99, Size: 8x16"
    for name, text in (("00000-99", infotext), ("00000-99-mask", infotext), ("grid-0000", infotext), ("cat", None)):
        info = PngInfo()
        if text:
            info.add_text("parameters", text)
        PillowImage.new("RGB", (8, 16)).save(day / f"{name}.png", pnginfo=info)
    (day / "broken.png").write_bytes(b"no picture")
    shutil.copy(day / "00000-99.png", day / os.fsdecode(b"caf\xe9.png"))
    client = start_host(tmp_path, device="cpu")
    (notice,) = client.health().notices
    assert "The gallery is empty" in notice and "sdterm gallery --rescan" in notice
    command = [sys.executable, "-m", "sdterm", "gallery", "sampler:euler seed:99", "--rescan"]
    for _ in range(2):  # a second time finds nothing new
        done = subprocess.run(command, env={**os.environ, "SDTERM_DATA": str(tmp_path)}, capture_output=True, text=True)
        assert done.returncode == 0
        listed = [Path(line.split()[-1]).name for line in done.stdout.splitlines()]
        assert listed == ["grid-0000.png", "00000-99-mask.png", "00000-99.png"]
        assert "(grid) a red house" in done.stdout and "(mask) a red house" in done.stdout
    found = {Path(picture.path).name: picture for picture in client.pictures().pictures}
    assert {name: (p.job, p.kind, p.seed, p.width, p.height) for name, p in found.items()} == {
        "00000-99.png": (None, "image", 99, 8, 16),
        "00000-99-mask.png": (None, "mask", 99, 8, 16),
        "grid-0000.png": (None, "grid", 99, 8, 16),
    }
    assert client.thumbnail(found["00000-99.png"].id)
