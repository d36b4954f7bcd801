"""The init image of a picture that is drawn again is found, or asked for."""

import hashlib
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdterm.core.infotext.source import MissingSourceError, find_pixels, with_sources
from sdterm.core.inputs import Inputs


def picture(shade: int, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 4), (shade, 0, 0)).save(file, kind)
    return file.getvalue()


def md5(shade: int) -> str:
    return hashlib.md5(Image.new("RGB", (8, 4), (shade, 0, 0)).tobytes()).hexdigest()


def a1111(shade: int | None = None, mask: bool = False) -> str:
    """An infotext as A1111 writes it."""
    said = f", Init image hash: {md5(shade)}" if shade is not None else ""
    return f"a house\nSteps: 4, Size: 8x4, Denoising strength: 0.5{said}{', Mask blur: 4' if mask else ''}"


def sources(root: Path, infotext: str, fields: Mapping[str, Any] | None = None, **how: Any) -> tuple[Any, Any]:
    found = with_sources(infotext, {"steps": 4, **(fields or {})}, root, root / "outputs", **how)
    assert found["steps"] == 4
    return found.get("init_images", ()), found.get("mask", "")


def test_an_input_that_is_there_is_taken_and_nothing_read(tmp_path: Path) -> None:
    digest = Inputs(tmp_path).put(picture(1))
    assert sources(tmp_path, a1111(), {"init_images": (digest,)}) == ((digest,), "")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("where", ["inputs", "outputs/2026-11-29", "outputs/init-images"])
def test_one_that_is_known_by_its_pixels_is_found_wherever_it_is(tmp_path: Path, where: str) -> None:
    digest = hashlib.sha256(picture(7)).hexdigest()
    for shade in (3, 7, 5):
        (folder := tmp_path / where).mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(picture(shade)).hexdigest() if where == "inputs" else f"{shade}.png"
        (folder / name).write_bytes(picture(shade))
    for _ in range(2):  # the second time its name is known
        assert sources(tmp_path, a1111(7)) == ((digest,), "")
    assert Inputs(tmp_path).has(digest)
    lost = {"init_images": ("a" * 64,)}
    assert sources(tmp_path, a1111(7), lost) == ((digest,), ""), "an input that is gone is found by its pixels, too"


def test_one_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    for infotext, fields in ((a1111(9), {}), (a1111(), {}), (a1111(), {"init_images": ("a" * 64,)})):
        with pytest.raises(
            MissingSourceError, match=r"init image that is missing here\. Provide it with --init FILE"
        ) as error:
            sources(tmp_path, infotext, fields)
        assert error.value.field == "init_images"
        assert sources(tmp_path, infotext, fields, given=("init_images",)) == (fields.get("init_images", ()), "")


def test_a_mask_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    init, mask = inputs.put(picture(1)), inputs.put(picture(255))
    fields = {"init_images": (init,)}
    for infotext, given in ((a1111(mask=True), fields), (a1111(), {**fields, "mask": "b" * 64})):
        with pytest.raises(MissingSourceError, match="a mask that is missing here"):
            sources(tmp_path, infotext, given)
    assert sources(tmp_path, a1111(mask=True), {**fields, "mask": mask}) == ((init,), mask)
    assert sources(tmp_path, a1111(mask=True), fields, given=("mask",)) == ((init,), "")


def test_pictures_that_began_with_noise_ask_for_nothing(tmp_path: Path) -> None:
    assert sources(tmp_path, "a house\nSteps: 4, Size: 8x4") == ((), "")
    assert sources(tmp_path, a1111(), {"hires": True}) == ((), ""), "a strength is that of its second pass"


def test_files_are_read_once_and_no_longer_than_that(tmp_path: Path) -> None:
    files = [tmp_path / f"{shade}.png" for shade in (1, 2)]
    for file in files:
        file.write_bytes(picture(int(file.stem)))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "torn.png").write_bytes(picture(1)[:40])
    odd = [tmp_path / "pipe.png", tmp_path / "torn.png", tmp_path / "gone.png", tmp_path]
    cache = tmp_path / "cache.json"
    assert find_pixels(md5(2), [*odd, *files], cache, seconds=0) is None
    assert find_pixels(md5(2), [*odd, *files], cache) == files[1]
    assert find_pixels(md5(2).upper(), [*odd, *files], cache, seconds=0) == files[1]
    files[1].write_bytes(picture(3, "BMP"))
    assert find_pixels(md5(2), files, cache) is None
    assert find_pixels(md5(3), files, cache) == files[1]
    cache.write_bytes(b"torn")
    assert find_pixels(md5(3), files, cache) == files[1]
