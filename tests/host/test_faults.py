"""What must not lose a step: each fault happens to real processes drawing with the embedded model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from sdterm.cli import sdterm as command
from sdterm.client import RefusedError
from sdterm.core.infotext.files import read_pixels
from sdterm.events import Event, Failed, Grid, Image, Interrupted, Resumed, Waiting, Warning
from tests.host.running import ENDS, REPOSITORY, Running, images, is_there, names, running, steps, wait_until

STEPS = 30
# Stand-ins for a full card leave measurements, by which the memory plan would choose other ways to compute.
LONG: dict[str, Any] = {"steps": STEPS, "width": 128, "height": 128, "ladder": "off"}

BAD_SAMPLERS = '''
    """Samplers that do harm once, or always."""
    import ctypes, os, signal, subprocess, sys, time
    from pathlib import Path
    from sdterm.hooks import OutputSaver, Sampler, hookimpl

    def first_time(name):
        try:
            Path(os.environ["MARKS"], name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def loop(denoise, x, sigmas, *, noise, callback, harm):
        for i in range(len(sigmas) - 1):
            x0 = denoise(x, sigmas[i].expand(len(x))).x0
            callback(i, x0)
            if i == 5:
                harm()
            x = x0 + (x - x0) * (sigmas[i + 1] / sigmas[i])
        return x

    def native():
        """Stuck in C with the interpreter locked, as a broken driver has it."""
        if first_time("native"):
            ctypes.PyDLL(None).sleep(1000)

    def segfault():
        os.kill(os.getpid(), signal.SIGSEGV)

    def illegal():
        if first_time("illegal"):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def memory():
        import torch
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    def greedy(denoise, x, sigmas, *, noise, callback):
        """Room for one image at a time."""
        def harm():
            if len(x) > 1:
                memory()
        return loop(denoise, x, sigmas, noise=noise, callback=callback, harm=harm)

    def deaf(denoise, x, sigmas, *, noise, callback):
        """Nothing that is raised ends it."""
        while True:
            try:
                x0 = denoise(x, sigmas[0].expand(len(x))).x0
                callback(0, x0)
            except BaseException:
                pass

    def breed():
        """Processes that outlive the one that started them, and hold its pipes; one is in a session of its own."""
        if first_time("breed"):
            sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
            started = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
            forked = os.fork()
            if not forked:
                time.sleep(600)
            Path(os.environ["MARKS"], "brood").write_text(" ".join(map(str, [forked, *(p.pid for p in started)])))

    def spoil(image, infotext):
        raise KeyError("spoilt")

    @hookimpl
    def sdterm_output_savers():
        return [OutputSaver("spoilt", "Spoilt", ".spoilt", spoil)]

    @hookimpl
    def sdterm_samplers():
        def made(harm):
            return lambda *a, **k: loop(*a, **k, harm=harm)
        harms = {"stuck": native, "crash": segfault, "illegal": illegal, "hungry": memory, "breed": breed}
        made_so = [Sampler(id=name, label=name, sample=made(harm)) for name, harm in harms.items()]
        return [*made_so, *(Sampler(id=f.__name__, label=f.__name__, sample=f) for f in (deaf, greedy))]
'''


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One host for all faults: that it lives on is part of what is tested."""
    data, marks = tmp_path_factory.mktemp("host") / "data", tmp_path_factory.mktemp("marks")
    (data / "extensions").mkdir(parents=True)
    (data / "extensions" / "harm.py").write_text(dedent(BAD_SAMPLERS))
    with running(data, SDTERM_HANG_LIMIT="3", MARKS=str(marks)) as it:
        yield it


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A host that takes nothing for stuck within a test."""
    data = tmp_path_factory.mktemp("patient") / "data"
    (data / "extensions").mkdir(parents=True)
    (data / "extensions" / "harm.py").write_text(dedent(BAD_SAMPLERS))
    (data / "extensions" / "hang.py").write_text(dedent(HANG.format(endless=True)))
    with running(data, SDTERM_HANG_LIMIT="600") as it:
        yield it


@pytest.fixture(scope="module")
def undisturbed(host: Running) -> Image:
    """What the long job draws when nothing happens to it."""
    return images(host.events(host.submit(**LONG)))[0]


def test_a_killed_worker_costs_at_most_the_call_in_flight_and_one_more(host: Running, undisturbed: Image) -> None:
    job = host.submit(**LONG)
    host.at_step(job, 17)
    host.worker.kill()
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    assert steps(events) == [(0, step) for step in range(1, STEPS + 1)], "each step is told once"
    assert names(events, "started", "interrupted", "resumed", "image", "done") == [
        "started",
        "interrupted",
        "resumed",
        "image",
        "done",
    ]
    told_before = [event for event in events[: names(events).index("interrupted")] if event.event == "step"]
    resumed = next(event for event in events if isinstance(event, Resumed))
    assert resumed.calls >= len(told_before), "a step that was told is not computed again"


@pytest.mark.heavy
def test_a_job_that_lost_its_worker_goes_on_as_far_down_the_ladder_as_it_was(host: Running) -> None:
    job = host.submit(**LONG | {"batch_size": 2, "sampler": "greedy", "ladder": "on"})
    host.at_step(job, 8)
    host.worker.kill()
    events = host.events(job)
    found = names(events)
    assert found[-1] == "done" and "stepped_down" in found[: found.index("interrupted")]
    assert "stepped_down" not in found[found.index("interrupted") :]


@pytest.mark.heavy
def test_a_client_that_loses_its_terminal_finds_its_job_again(host: Running, undisturbed: Image) -> None:
    env = os.environ | {"SDTERM_DATA": str(host.settings.root), "PYTHONUNBUFFERED": "1"}
    sdterm = [sys.executable, "-m", "sdterm"]
    drawing = ["generate", "sunset, lake", "--sampler", "Euler a", "--seed", "7", "--steps", str(STEPS)]
    client = subprocess.Popen(
        [*sdterm, *drawing, "--size", "128x128", "--json"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )
    assert client.stdout
    for line in client.stdout:
        if json.loads(line).get("step") == 10:
            break
    client.send_signal(signal.SIGHUP)
    assert client.wait(20) == -signal.SIGHUP
    job = host.client.jobs(limit=1).jobs[0]
    assert job.state == "running"
    shown = subprocess.run(
        [*sdterm, "attach", str(job.id), "--json"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    image = next(event for event in events if event["event"] == "image")
    assert image["pixel_hash"] == undisturbed.pixel_hash and Path(image["path"]).is_file()
    assert [event["step"] for event in events if event["event"] == "step"] == [*range(1, STEPS + 1)]


@pytest.mark.heavy
def test_a_killed_host_takes_its_workers_along_and_the_next_one_goes_on(host: Running, undisturbed: Image) -> None:
    job = host.submit(**LONG)
    host.at_step(job, 12)
    host.kill_host()
    host.again()
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    assert steps(events) == [(0, step) for step in range(1, STEPS + 1)]
    assert names(events, "started", "resumed", "image", "done") == ["started", "resumed", "image", "done"]


def test_steps_that_only_the_tape_knows_are_told_by_the_next_host(host: Running, undisturbed: Image) -> None:
    job = host.submit(**LONG)
    host.at_step(job, 5)
    process, tape = host.host, host.settings.root / "run" / "tapes" / f"{job}.tape"
    process.suspend()  # it hears nothing of what its worker draws meanwhile
    before = tape.stat().st_size
    row = before // 8
    wait_until(lambda: tape.stat().st_size > before + 4 * row)
    host.kill_host(process)
    host.again()
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    assert steps(events) == [(0, step) for step in range(1, STEPS + 1)]
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.step >= 8


@pytest.mark.heavy
def test_wherever_the_host_is_killed_each_image_is_saved_and_indexed_once(host: Running) -> None:
    job = host.submit(steps=3, width=64, height=64, batch_count=8, grid=True)
    for kill in range(4):
        for entry in host.entries(job):
            if isinstance(entry.event, Image) and entry.event.index >= 2 * kill:
                break
        host.kill_host()
        host.again()
    events = host.events(job)
    assert sorted(image.index for image in images(events)) == [*range(8)]
    pictures = host.client.pictures(job=job).pictures
    assert sorted((picture.kind, picture.number) for picture in pictures) == [
        ("grid", 0),
        *(("image", n) for n in range(8)),
    ]
    paths = [Path(picture.path) for picture in pictures]
    assert len({*paths}) == 9 and all(path.is_file() for path in paths)
    assert host.client.job(job).done == 8
    known = {Path(picture.path) for picture in host.client.pictures(limit=500).pictures}
    assert {*paths[0].parent.glob("*.png")} <= known, "no file beyond those indexed"


@pytest.mark.heavy
def test_a_stopped_worker_is_replaced_and_its_job_goes_on(host: Running, undisturbed: Image) -> None:
    job = host.submit(**LONG)
    host.at_step(job, 8)
    stopped = host.worker
    stopped.send_signal(signal.SIGSTOP)
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    assert [event.code for event in events if isinstance(event, Interrupted)] == ["worker_hung"]
    assert not stopped.is_running() and steps(events) == [(0, step) for step in range(1, STEPS + 1)]


@pytest.mark.heavy
def test_a_worker_stuck_in_native_code_is_replaced(host: Running) -> None:
    events = host.events(host.submit(sampler="stuck", steps=10))
    assert [event.code for event in events if isinstance(event, Interrupted)] == ["worker_hung"]
    assert names(events)[-1] == "done" and len(images(events)) == 1


@pytest.mark.heavy
def test_a_job_that_kills_three_workers_is_set_aside_and_the_queue_goes_on(host: Running) -> None:
    bad, good = host.submit(sampler="crash", steps=10), host.submit(steps=2, width=64, height=64)
    events = host.events(bad)
    assert [event.attempt for event in events if isinstance(event, Interrupted)] == [1, 2, 3]
    last = events[-1]
    assert isinstance(last, Failed) and last.code == "worker_died" and "SIGSEGV" in last.message and last.advice
    reason = host.client.job(bad).reason
    assert reason and reason.code == "worker_died"
    assert names(host.events(good))[-1] == "done"


def test_what_a_plugin_started_ends_with_its_process_and_the_queue_goes_on(host: Running) -> None:
    job = host.submit(sampler="breed", steps=10)
    brood = Path(host.environ["MARKS"], "brood")
    wait_until(brood.exists)
    started = [psutil.Process(int(pid)) for pid in brood.read_text().split()]
    host.worker.kill()
    events = host.events(job)
    assert [event.code for event in events if isinstance(event, Interrupted)] == ["worker_died"]
    assert names(events)[-1] == "done"
    wait_until(lambda: not any(map(is_there, started)))


HANG = """
    from sdterm.hooks import Sampler, hookimpl

    def sample(denoise, x, sigmas, *, noise, callback):
        while {endless}:
            pass
        for i in range(len(sigmas) - 1):
            x = denoise(x, sigmas[i].expand(len(x))).x0
            callback(i, x)
        return x

    @hookimpl
    def sdterm_samplers():
        return [Sampler(id="hang", label="hang", sample=sample)]
"""


@pytest.mark.heavy
def test_an_extension_that_hangs_before_its_first_call_is_disabled_and_its_job_waits(host: Running) -> None:
    extension = host.settings.root / "extensions" / "hang.py"
    extension.write_text(dedent(HANG.format(endless=True)))
    job = host.submit(sampler="hang", steps=2, width=64, height=64)
    events = [entry.event for entry in host.entries(job, ends=(*ENDS, Waiting))]
    losses = [event for event in events if isinstance(event, Interrupted)]
    assert [loss.code for loss in losses] == ["worker_hung"] * 3
    assert all("code of the extension hang" in loss.message for loss in losses)
    (waits,) = [event for event in events if isinstance(event, Waiting)]
    assert waits.code == "needs_plugin" and "hang is disabled until it changes" in waits.message
    assert names(host.events(host.submit(steps=1, width=64, height=64)))[-1] == "done", "the queue goes on"
    assert host.client.job(job).state == "waiting"
    (listed,) = [each for each in host.client.extensions() if each.slug == "hang"]
    assert listed.state == "aside" and "cost 3 processes" in listed.message
    extension.write_text(dedent(HANG.format(endless=False)))
    assert names(host.events(job))[-1] == "done", "mended, it goes on by itself"


@pytest.mark.parametrize("sampler", ["hang", pytest.param("deaf", marks=pytest.mark.heavy)])
def test_a_job_that_does_not_stop_is_cancelled_with_its_process(patient: Running, sampler: str) -> None:
    """Before its first network call, or deaf to all that is raised; long before the limit for what hangs."""
    job = patient.submit(sampler=sampler, steps=60)
    if sampler == "deaf":
        patient.at_step(job, 1)
    else:
        wait_until(lambda: patient.client.health().workers[0].phase == "sample")
    worker = patient.worker
    patient.client.cancel(job)
    events = patient.events(job)
    (loss,) = [event for event in events if isinstance(event, Interrupted)]
    assert "did not stop within 5 s" in loss.message and "code of the extension" in loss.message
    assert names(events)[-1] == "cancelled" and not is_there(worker)


def test_pictures_whose_saver_fails_are_saved_as_png(host: Running) -> None:
    events = host.events(host.submit(format="spoilt", steps=2, width=64, height=64, batch_size=2, grid=True))
    assert names(events)[-1] == "done"
    (warning,) = [event for event in events if isinstance(event, Warning)]
    assert (warning.code, warning.source) == ("saver_failed", "harm")
    assert "KeyError: 'spoilt' (harm.py:" in warning.message
    pictures = [event for event in events if isinstance(event, Image | Grid)]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.path and picture.path.endswith(".png")
        assert read_pixels(Path(picture.path)).shape == (picture.height, picture.width, 3)


def test_a_broken_device_costs_a_process_but_not_the_job(host: Running) -> None:
    """A stand-in for a card that breaks: the words of CUDA's error, since no card is here."""
    before = host.worker.pid if host.client.health().workers[0].pid else None
    events = host.events(host.submit(sampler="illegal", steps=10))
    assert [event.code for event in events if isinstance(event, Interrupted)] == ["illegal_memory_access"]
    assert names(events)[-1] == "done" and host.worker.pid != before


def test_out_of_memory_is_a_failure_with_advice_and_can_be_tried_again(host: Running) -> None:
    """A stand-in for a full card: torch's own error, raised by a sampler."""
    job = host.submit(sampler="hungry", steps=10)
    last = host.events(job)[-1]
    assert isinstance(last, Failed) and last.code == "out_of_memory" and "smaller" in last.advice
    known = host.client.job(job).last_event
    assert host.client.retry(job).state == "queued"
    assert [entry.event.event for entry in host.entries(job, after=known)][-1] == "failed", "it is no less hungry now"


def test_a_lighter_retry_is_the_same_job_with_its_seeds_and_goes_on_from_its_tape(host: Running) -> None:
    job = host.submit(sampler="greedy", steps=10, seed=-1, batch_size=2, width=64, height=64, ladder="off")
    assert host.events(job)[-1].event == "failed"
    before = host.client.job(job)
    assert before.plan
    retry = ["queue", "retry", str(job), "--batch", "1", "--optimize", "sliced"]
    done = CliRunner().invoke(command, [*retry, "--data-dir", str(host.settings.root)])
    assert done.exit_code == 0, done.output
    events = [entry.event for entry in host.entries(job, after=before.last_event)]
    assert names(events)[-1] == "done" and not names(events, "started", "warning")
    assert [(event.first, event.images) for event in events if isinstance(event, Resumed)] == [(0, 1), (1, 1)]
    assert all(event.calls >= 5 for event in events if isinstance(event, Resumed))
    assert [image.seed for image in images(events)] == [image["seed"] for image in before.plan["images"]]
    assert all("memory=sliced" in image.infotext for image in images(events))
    after = host.client.job(job)
    assert (after.request.batch_size, after.request.batch_count, after.request.memory) == (1, 2, ("sliced",))
    assert after.plan == {**before.plan, "request": after.request.model_dump(mode="json"), "together": 1}


@pytest.mark.few(1)
@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_what_was_asked_of_a_job_holds_though_the_host_dies(host: Running, wish: str) -> None:
    job = host.submit(steps=1000, width=128, height=128)
    host.at_step(job, 5)
    host.worker.send_signal(signal.SIGSTOP)  # so that it cannot stop before the host is gone
    known = host.client.cancel(job) if wish == "cancel" else host.client.pause(job)
    assert known.state == "running"
    worker = host.worker
    host.host.kill()
    worker.kill()
    host.again()
    assert host.client.job(job).state == {"cancel": "cancelled", "pause": "paused"}[wish]
    if wish == "pause":
        host.client.cancel(job)


@pytest.mark.heavy
def test_paused_at_a_step_a_job_shows_all_its_images_and_goes_on_with_those_chosen(host: Running) -> None:
    plain = images(host.events(host.submit(steps=12, width=64, height=64, batch_count=4)))
    job = host.submit(steps=12, width=64, height=64, batch_count=4, pause_at=6)
    first = host.events(job)
    assert names(first)[-1] == "paused" and not images(first)
    assert [step for _, step in steps(first)] == [*range(1, 7)] * 4
    host.client.resume(job, [1, 3])
    seen = max(entry.number for entry in host.entries(job))
    rest = [entry.event for entry in host.entries(job, after=seen)]
    assert [(image.index, image.pixel_hash) for image in images(rest)] == [
        (image.index, image.pixel_hash) for image in plain if image.index in (1, 3)
    ]
    assert [step for _, step in steps(rest)] == [*range(7, 13)] * 2, "what was computed is not computed again"
    assert host.client.job(job).state == "done"


def test_a_running_job_is_paused_and_goes_on_bit_for_bit(host: Running, undisturbed: Image) -> None:
    job = host.submit(**LONG)
    host.at_step(job, 9)
    host.client.pause(job)
    assert names(host.events(job))[-1] == "paused"
    seen = max(entry.number for entry in host.entries(job))
    host.client.resume(job)
    events: list[Event] = [entry.event for entry in host.entries(job, after=seen)]
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash and "resumed" in names(events)


@pytest.mark.heavy
def test_each_device_has_a_worker_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path / "data", SDTERM_DEVICE="cpu,cpu", OMP_NUM_THREADS="1") as host:
        jobs = [host.submit(steps=60, width=128, height=128, seed=seed) for seed in (1, 2)]
        for job in jobs:
            host.at_step(job, 1)
        both = [worker.job for worker in host.client.health().workers]
        assert sorted(job or 0 for job in both) == jobs
        host.client.cancel(jobs[0])
        assert names(host.events(jobs[0]))[-1] == "cancelled" and names(host.events(jobs[1]))[-1] == "done"


@pytest.mark.heavy
def test_a_device_that_is_not_there_costs_no_job(tmp_path: Path) -> None:
    with running(tmp_path / "data", SDTERM_DEVICE="cpu,mps") as host:
        jobs = [host.submit(steps=4, width=64, height=64, seed=seed) for seed in range(4)]
        assert [names(host.events(job))[-1] for job in jobs] == ["done"] * 4
        troubles = [worker.trouble for worker in host.client.health().workers]
        assert troubles[0] is None and "mps" in (troubles[1] or "")


@pytest.mark.heavy
def test_the_only_device_that_is_not_there_is_a_failure_with_advice(tmp_path: Path) -> None:
    with running(tmp_path / "data", SDTERM_DEVICE="mps") as host:
        last = host.events(host.submit(steps=1))[-1]
        assert isinstance(last, Failed) and last.code == "no_device" and "host start --device" in last.advice


@pytest.mark.heavy
def test_a_stuck_worker_does_not_outlive_its_host(host: Running, undisturbed: Image) -> None:
    job = host.submit(**LONG)
    host.at_step(job, 8)
    host.worker.send_signal(signal.SIGSTOP)
    host.kill_host()
    host.again()
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash and names(events)[-1] == "done"


@pytest.mark.heavy
def test_what_was_resolved_is_not_resolved_again(host: Running) -> None:
    styles = host.settings.root / "styles.csv"
    styles.write_text("name,prompt,negative_prompt\nnight,stars,\n")
    job = host.submit(steps=8, width=64, height=64, styles=("night",), pause_at=4)
    assert names(host.events(job))[-1] == "paused"
    styles.write_bytes(b"\xff\xfe broken")
    try:
        host.client.resume(job)
        seen = max(entry.number for entry in host.entries(job))
        (image,) = images([entry.event for entry in host.entries(job, after=seen)])
    finally:
        styles.unlink()
    assert image.prompt == "sunset, lake, stars"


@pytest.mark.heavy
def test_idle_it_lets_go_of_the_model_and_then_ends(tmp_path: Path) -> None:
    with running(tmp_path / "data", SDTERM_IDLE_UNLOAD="1", SDTERM_IDLE_EXIT="4") as host:
        assert names(host.events(host.submit(steps=1, width=64, height=64)))[-1] == "done"
        process, worker = host.host, host.worker
        worker.wait(20)
        assert process.is_running(), "first the model goes, then the host"
        process.wait(20)


FULL_DISK = """
    import sys
    from pathlib import Path
    from sdterm.client import RefusedError
    from sdterm.api import Submission
    from sdterm.core.output.saving import Saving
    from sdterm.request import GenerationRequest
    from tests.host.running import images, names, running

    what, full, data, outputs = sys.argv[1], *map(Path, sys.argv[2:])
    request = GenerationRequest(prompt="sunset, lake", sampler="Euler a", seed=7, steps=30, width=128, height=128)
    submission = Submission(request=request, saving=Saving(outputs))
    with running(data) as host:
        plain = images(host.events(host.client.submit(submission).id))[0]
        job = host.client.submit(submission).id
        host.at_step(job, 3)
        ballast = full / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        if what == "database":
            while host.client.health().workers[0].pid:
                pass
            try:
                host.client.submit(submission)
            except RefusedError as error:
                assert error.status == 507 and "Free some space" in str(error), error
            else:
                raise AssertionError("accepted what cannot be kept")
        else:
            waiting = next(entry for entry in host.client.events(after=0, job=job) if entry.event.event == "waiting")
            assert waiting.event.code == "disk_full" and host.client.job(job).state == "waiting"
        ballast.unlink()
        events = host.events(job)
        assert names(events)[-1] == "done" and [image.pixel_hash for image in images(events)] == [plain.pixel_hash]
        print("all is well")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a mount namespace")
@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("tape", "run/tapes"),
        pytest.param("image", "outputs", marks=pytest.mark.heavy),
        pytest.param("database", "run", marks=pytest.mark.heavy),
    ],
)
def test_on_a_full_disk_the_job_waits_the_host_lives_and_all_goes_on_with_room(
    tmp_path: Path, what: str, where: str
) -> None:
    """A small tmpfs in a mount namespace of its own, filled while the job runs."""
    data, outputs, script = tmp_path / "data", tmp_path / "data" / "outputs", tmp_path / "full.py"
    for folder in (outputs, data / "run" / "tapes"):
        folder.mkdir(parents=True)
    script.write_text(dedent(FULL_DISK))
    full = data / where
    inner = (
        f"mount -t tmpfs -o size=8m,mode=700 none '{full}' && exec '{sys.executable}' '{script}' {what} '{full}' "
        f"'{data}' '{outputs}'"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=180,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert done.stdout == "all is well\n", done.stderr


def test_a_moved_file_is_noticed_and_hurts_nothing(host: Running) -> None:
    job = host.submit(steps=1, width=64, height=64)
    image = images(host.events(job))[0]
    assert image.path
    shutil.move(image.path, f"{image.path}.moved")
    picture = host.client.pictures(job=job).pictures[0]
    assert picture.missing and host.client.picture(picture.id).missing
    shutil.move(f"{image.path}.moved", image.path)
    assert not host.client.picture(picture.id).missing
    assert read_pixels(host.client.file(picture.id)).shape == (64, 64, 3)
    assert read_pixels(host.client.thumbnail(picture.id, 32)).shape == (32, 32, 3)


def test_a_pipe_in_the_place_of_a_picture_keeps_nobody_waiting(host: Running) -> None:
    job = host.submit(steps=1, width=64, height=64)
    (image,) = images(host.events(job))
    (picture,) = host.client.pictures(job=job).pictures
    assert image.path
    Path(image.path).unlink()
    os.mkfifo(image.path)
    host.client.pause_queue()
    try:
        with ThreadPoolExecutor(50) as pool:
            asked = [pool.submit(host.client.thumbnail, picture.id) for _ in range(45)]
            asked += [pool.submit(host.client.file, picture.id) for _ in range(5)]
            assert host.client.models() and host.client.networks() and host.client.styles() == []
            host.client.cancel(host.submit(steps=1))
            assert [type(one.exception(60)) for one in asked] == [RefusedError] * 50
        assert host.client.picture(picture.id).missing
    finally:
        host.client.resume_queue()
        Path(image.path).unlink()


DEAD_DISK = """
    import ctypes
    import os
    import sys
    import threading
    import time
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from sdterm.client import RefusedError
    from sdterm.api import Submission
    from sdterm.core.output.saving import Saving
    from sdterm.request import GenerationRequest
    from tests.host.running import images, running

    data, outputs, others = map(Path, sys.argv[1:])
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    with running(data) as host:
        client, request = host.client, GenerationRequest(prompt="sunset, lake", steps=2, width=64, height=64)
        def draw(folder):
            return images(host.events(client.submit(Submission(request=request, saving=Saving(folder))).id))
        assert draw(outputs)
        (picture,) = client.pictures().pictures
        if ctypes.CDLL(None).mount(b"none", os.fsencode(outputs), b"fuse", 0, options.encode()):
            sys.exit("mount: fuse is not possible here")
        calls = [client.thumbnail, client.file, client.picture] * 15
        with ThreadPoolExecutor(45) as pool:
            asked = [pool.submit(call, picture.id) for call in calls]
            assert client.models() and client.networks() and client.styles() == [] and client.pictures(limit=1).total
            assert draw(others)
            try:
                draw(outputs)
            except RefusedError as error:
                assert error.status == 503 and "did not answer" in str(error), error
            else:
                raise AssertionError("accepted what cannot be saved")
            kinds = {type(one.exception(120)) for one in asked}
            assert kinds == {RefusedError, type(None)}, kinds
        client.stop()
        os.close(device)  # the disk is gone for good: whatever waits for it goes on
    print("all is well")
"""


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="needs a mount namespace")
def test_a_disk_that_hangs_stops_neither_other_requests_nor_the_end_of_the_host(tmp_path: Path) -> None:
    """A file system that answers nothing: FUSE, with nobody behind it."""
    folders = [tmp_path / name for name in ("data", "outputs", "others")]
    for folder in folders:
        folder.mkdir()
    script = tmp_path / "dead.py"
    script.write_text(dedent(DEAD_DISK))
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, script, *folders],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=300,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr or "/dev/fuse" in done.stderr:
        pytest.skip(f"no such file system here: {done.stderr.strip()}")
    assert done.stdout == "all is well\n", done.stderr


def test_no_process_is_left(host: Running) -> None:
    children = host.host.children(recursive=True)
    assert [child.pid for child in children] == [w.pid for w in host.client.health().workers if w.pid]
    assert not [p for p in psutil.process_iter(["ppid", "cmdline"]) if _orphan(p)]


def _orphan(process: psutil.Process) -> bool:
    return process.info["ppid"] == 1 and "sdterm.worker" in " ".join(process.info["cmdline"] or ())
