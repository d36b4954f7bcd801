"""Jobs of two passes on a real host: killed anywhere, paused in either, gone on with from another job."""

import json

import pytest
from click.testing import CliRunner

from sdterm.api import FirstPassOf, Submission
from sdterm.cli import sdterm as command
from sdterm.events import Event, Image, Paused, Resumed, Step
from sdterm.request import GenerationRequest
from tests.host.running import Running, images, names

STEPS = 6
SMALL = {"prompt": "sunset, lake", "sampler": "Euler a", "seed": 7, "steps": STEPS, "width": 64, "height": 64}
HIRES = {**SMALL, "hires": True, "hires_scale": 1.5, "hires_upscaler": "Lanczos", "denoising_strength": 0.6}
EACH_STEP = [(pass_no, step) for pass_no in (0, 1) for step in range(1, STEPS + 1)]


@pytest.fixture(scope="module")
def host(drawing_host: Running) -> Running:
    return drawing_host


def submit(host: Running, fields: dict[str, object], **how: object) -> int:
    request = GenerationRequest.model_validate(fields)
    return host.client.submit(Submission.model_validate({"request": request, **how})).id


def drawn(host: Running, job: int) -> Image:
    (image,) = images(host.events(job))
    return image


def told(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.pass_no, event.step) for event in events if isinstance(event, Step)]


@pytest.fixture(scope="module")
def undisturbed(host: Running) -> Image:
    return drawn(host, submit(host, HIRES))


@pytest.mark.heavy
@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("pass_no", "step"), [(0, 2), pytest.param(0, STEPS, marks=pytest.mark.heavy), (1, 2)], ids=str
)
def test_a_worker_killed_in_a_pass_or_between_two_costs_no_step_and_changes_nothing(
    host: Running, undisturbed: Image, pass_no: int, step: int
) -> None:
    job = submit(host, HIRES)
    for entry in host.entries(job):
        if isinstance(entry.event, Step) and (entry.event.pass_no, entry.event.step) >= (pass_no, step):
            host.worker.kill()
            break
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    assert told(events) == EACH_STEP, "each step is told once, with its pass"
    assert "interrupted" in names(events)
    assert any(isinstance(event, Resumed) and event.pass_no == 0 for event in events)


@pytest.mark.heavy
def test_a_picture_of_the_first_pass_is_kept_once_over_a_lost_worker(host: Running, undisturbed: Image) -> None:
    job = submit(host, {**HIRES, "save_before_hires": True})
    for entry in host.entries(job):
        if isinstance(entry.event, Step) and (entry.event.pass_no, entry.event.step) >= (1, 3):
            host.worker.kill()
            break
    events = host.events(job)
    assert names(events, "side_image", "image") == ["side_image", "image"]
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    before, image = sorted(host.client.pictures(job=job).pictures, key=lambda picture: picture.width)
    assert (before.kind, before.width, image.kind) == ("before hires", 64, "image")
    assert before.path.endswith("-before-highres-fix.png") and before.infotext == image.infotext


@pytest.mark.heavy
def test_a_job_waits_in_the_pass_that_it_is_told_to(host: Running, undisturbed: Image) -> None:
    job = submit(host, HIRES, pause_at=3, pause_pass=1)
    events = host.events(job)
    paused = events[-1]
    assert isinstance(paused, Paused) and (paused.pass_no, paused.step) == (1, 3)
    assert told(events) == EACH_STEP[: STEPS + 3]
    host.client.resume(job)
    (image,) = [entry.event for entry in host.entries(job, after=last(host, job)) if isinstance(entry.event, Image)]
    assert image.pixel_hash == undisturbed.pixel_hash


def last(host: Running, job: int) -> int:
    return host.client.job(job).last_event


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "gone"])
def test_a_finished_picture_becomes_its_hires_version_without_drawing_it_again(
    host: Running, undisturbed: Image, kept: bool
) -> None:
    first = submit(host, {**SMALL, "batch_count": 2, "seed": 6})
    host.events(first)
    tape = host.settings.root / "run" / "tapes" / f"{first}.tape"
    assert tape.exists()
    if not kept:
        tape.unlink()
    job = submit(host, HIRES, first_pass=FirstPassOf(job=first, image=1))
    events = host.events(job)
    assert images(events)[0].pixel_hash == undisturbed.pixel_hash
    resumed = [(event.pass_no, event.calls) for event in events if isinstance(event, Resumed)]
    assert resumed == ([(0, STEPS)] if kept else [])
    assert told(events) == EACH_STEP


def test_a_picture_that_another_request_would_draw_is_not_gone_on_with(host: Running) -> None:
    first = submit(host, SMALL)
    host.events(first)
    events = host.events(submit(host, {**HIRES, "cfg_scale": 5.0}, first_pass=FirstPassOf(job=first, image=0)))
    assert not any(isinstance(event, Resumed) for event in events) and images(events)


def test_a_picture_becomes_its_hires_version_by_its_number(host: Running, undisturbed: Image) -> None:
    first = submit(host, SMALL)
    host.events(first)
    (picture,) = host.client.pictures(job=first).pictures
    asked = ["hires", str(picture.id), "--hires-scale", "1.5", "--hires-upscaler", "Lanczos", "--denoising", "0.6"]
    env = {"SDTERM_DATA": str(host.settings.root)}
    said = CliRunner().invoke(command, [*asked, "--json", "--no-show"], env=env, catch_exceptions=False)
    events = [json.loads(text) for text in said.stdout.splitlines()]
    assert said.exit_code == 0 and not [event for event in events if event["event"] == "warning"]
    assert [event["pixel_hash"] for event in events if event["event"] == "image"] == [undisturbed.pixel_hash]
    assert [event["calls"] for event in events if event["event"] == "resumed"] == [STEPS]


def test_a_picture_that_is_none_is_named(host: Running) -> None:
    wrong = CliRunner().invoke(command, ["hires", "many"], env={"SDTERM_DATA": str(host.settings.root)})
    assert wrong.exit_code and "many" in wrong.output + str(wrong.exception)
