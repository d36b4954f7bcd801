"""Making pictures larger is a job like any other: queued, cancelled, paused, and done though processes die."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from sdterm.client import RefusedError
from sdterm.events import Cancelled, Done, Image, Interrupted, Step
from tests.host.running import Running, images


@pytest.fixture(scope="module")
def host(drawing_host: Running) -> Running:
    return drawing_host


@pytest.fixture(scope="module")
def digests(host: Running) -> tuple[str, str]:
    return put(host, 16), put(host, 120)


def put(host: Running, side: int) -> str:
    buffer = BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Picture.fromarray(pixels).save(buffer, "PNG")
    return host.client.put_input(buffer.getvalue())


def submit(host: Running, digests: tuple[str, ...], **fields: Any) -> int:
    """In many small tiles."""
    given: dict[str, Any] = {
        "prompt": "",
        "upscaler": "rrdb-x4",
        "upscale_tile": 12,
        "upscale_overlap": 4,
        "upscale_images": digests,
    }
    return host.submit(**given | fields)


def at_tile(host: Running, job: int, picture: int) -> None:
    for entry in host.entries(job):
        if isinstance(entry.event, Step) and entry.event.batch == picture:
            return


@pytest.mark.heavy
def test_a_worker_that_dies_costs_the_picture_that_it_was_at_and_none_twice(
    host: Running, digests: tuple[str, str]
) -> None:
    undisturbed = images(host.events(submit(host, digests)))
    job = submit(host, digests)
    at_tile(host, job, 1)
    host.worker.kill()
    events = host.events(job)
    assert isinstance(events[-1], Done) and any(isinstance(event, Interrupted) for event in events)
    drawn = images(events)
    assert [image.index for image in drawn] == [0, 1]
    assert [image.pixel_hash for image in drawn] == [image.pixel_hash for image in undisturbed]
    page = host.client.pictures(job=job)
    assert [picture.number for picture in page.pictures] == [1, 0]
    assert all(Path(picture.path).is_file() for picture in page.pictures)
    assert page.pictures[0].infotext == "Postprocess upscale by: 4.0, Postprocess upscaler: rrdb-x4"
    assert host.client.job(job).prompt == "Upscale: rrdb-x4"


def test_it_is_cancelled_within_a_tile(host: Running, digests: tuple[str, str]) -> None:
    job = submit(host, digests)
    at_tile(host, job, 1)
    host.client.cancel(job)
    events = host.events(job)
    assert isinstance(events[-1], Cancelled) and events[-1].images == 1
    assert not any(isinstance(event, Interrupted) for event in events)


def test_it_is_paused_and_goes_on_with_what_is_left(host: Running, digests: tuple[str, str]) -> None:
    job = submit(host, digests)
    at_tile(host, job, 1)
    host.client.pause(job)
    assert [image.index for image in images(host.events(job))] == [0]
    after = host.client.job(job).last_event
    host.client.resume(job)
    rest = [entry.event for entry in host.entries(job, after=after) if isinstance(entry.event, Image)]
    assert [image.index for image in rest] == [1]


def test_what_is_not_there_is_refused_before_anything_is_queued(host: Running, digests: tuple[str, str]) -> None:
    for fields, field in (
        ({"upscaler": "rrdb-x5"}, "request.upscaler"),
        ({"second_upscaler": "nobody"}, "request.second_upscaler"),
        ({"upscale_images": ("0" * 64,)}, "request.upscale_images"),
    ):
        with pytest.raises(RefusedError) as refused:
            submit(host, digests, **fields)
        assert refused.value.problem.field == field, refused.value


@pytest.mark.heavy
def test_a_picture_of_the_gallery_is_made_larger_and_keeps_what_it_said(host: Running) -> None:
    (drawn,) = images(host.events(host.submit(steps=2, width=64, height=64)))
    picture = host.client.pictures("lake").pictures[0]
    digest = host.client.put_input(host.client.file(picture.id))
    (larger,) = images(host.events(submit(host, (digest,), upscaler="Nearest", upscale_by=2.0)))
    assert (larger.seed, larger.prompt, larger.width) == (7, "sunset, lake", 128)
    assert larger.infotext == f"{drawn.infotext}, Postprocess upscale by: 2.0, Postprocess upscaler: Nearest"
    found = host.client.pictures("lake size:128x128").pictures
    assert not found or found[0].path == larger.path
    assert host.client.pictures("Postprocess lake").pictures[0].path == larger.path
