"""Jobs that start from pictures, and whose worker is killed in the middle."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from sdterm.client import RefusedError
from sdterm.core.inputs import Inputs
from sdterm.events import Cancelled, Failed, Image, Resumed, SideImage
from tests.host.running import Running, images

PICTURES = np.load(Path(__file__).parents[1] / "golden" / "img2img.npz")
SIZE: dict[str, Any] = {"width": 64, "height": 64}


@pytest.fixture(scope="module")
def host(drawing_host: Running) -> Running:
    return drawing_host


def kept(host: Running, name: str) -> str:
    """A picture of the golden data as an input."""
    buffer = BytesIO()
    Picture.fromarray(PICTURES[name]).save(buffer, "PNG")
    return Inputs(host.settings.root).put(buffer.getvalue())


def drawn(host: Running, **fields: Any) -> list[Image]:
    return images(host.events(host.submit(**SIZE | fields)))


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["img2img", "masked", "soft"])
def test_a_worker_killed_in_the_middle_changes_no_bit(how: str, host: Running) -> None:
    fields: dict[str, Any] = {
        "init_images": [kept(host, "@scene")],
        "denoising_strength": 0.9,
        "steps": 20,
        "batch_size": 2,
    }
    if how != "img2img":
        fields |= {"mask": kept(host, "@mask_disc"), "inpaint_area": "Only masked", "masked_content": "latent noise"}
    if how == "soft":
        fields |= {"denoise_hooks": ["Soft inpainting"], "color_correction": True}
    undisturbed = [image.pixel_hash for image in drawn(host, **fields)]
    job = host.submit(**SIZE | fields)
    host.at_step(job, 6)
    host.worker.kill()
    events = host.events(job)
    assert [image.pixel_hash for image in images(events)] == undisturbed
    assert any(isinstance(event, Resumed) and event.calls >= 5 for event in events)


@pytest.mark.heavy
def test_image_k_of_a_batch_is_the_single_image_and_each_init_has_its_turn(host: Running) -> None:
    scene, other = kept(host, "@scene"), kept(host, "@scene2")
    both = drawn(host, init_images=[scene, other], batch_size=2, steps=6)
    (alone,) = drawn(host, init_images=[other], seed=8, steps=6)
    assert len(both) == 2 and alone.path and both[1].path
    pixels = [np.asarray(Picture.open(image.path)).astype(int) for image in (alone, both[1]) if image.path]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_outside_the_mask_the_picture_is_the_original_pixel_for_pixel(host: Running) -> None:
    init, mask = kept(host, "@large"), kept(host, "@mask_large")
    fields: dict[str, Any] = {
        "init_images": [init],
        "mask": mask,
        "inpaint_area": "Only masked",
        "return_mask_composite": True,
    }
    events = host.events(host.submit(**SIZE | fields | {"return_mask": True, "steps": 4}))
    (image,) = images(events)
    sides = {event.kind: event for event in events if isinstance(event, SideImage)}
    assert image.path and {*sides} == {"mask", "mask composite"}
    picture = np.asarray(Picture.open(image.path))
    shown = np.asarray(Picture.open(sides["mask"].path or ""))[..., 0]
    assert picture.shape == PICTURES["@large"].shape
    assert np.array_equal(picture[shown == 0], PICTURES["@large"][shown == 0])
    assert not np.array_equal(picture[shown > 0], PICTURES["@large"][shown > 0])
    composite = Picture.open(sides["mask composite"].path or "")
    assert composite.mode == "RGBA" and not np.asarray(composite)[..., 3][shown == 0].any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"init_images": ["f" * 64]}, "init_images names an image that does not exist here"),
        ({"mask": "@mask_disc"}, "no init image"),
        ({"init_images": ["@scene"], "hires": True}, "Hires fix cannot be combined with an init image"),
        ({"init_images": ["@scene"], "init_upscaler": "nobody"}, "no upscaler named 'nobody'"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], said: str, host: Running) -> None:
    known: dict[str, Any] = {name: kept(host, text) if str(text) in PICTURES else text for name, text in fields.items()}
    if isinstance(fields.get("init_images"), list) and fields["init_images"] == ["@scene"]:
        known["init_images"] = [kept(host, "@scene")]
    try:
        events = host.events(host.submit(**SIZE | known, steps=2))
    except RefusedError as error:  # what can be told without the model
        assert said in str(error)
    else:
        assert isinstance(events[-1], Failed) and said in events[-1].message, events[-1]


def test_a_job_from_a_picture_can_be_cancelled(host: Running) -> None:
    job = host.submit(**SIZE, init_images=[kept(host, "@scene")], steps=1000, denoising_strength=1.0)
    host.at_step(job, 1)
    host.client.cancel(job)
    assert isinstance(host.events(job)[-1], Cancelled)
