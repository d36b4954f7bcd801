"""Embeddings in pictures are read as A1111 wrote them."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdterm.core.library.checkpoints import ModelFileError
from sdterm.core.library.pictured import PicturedFile

VECTORS = [[0.25, -1.5, 3.0], [1e-3, 0.0, 2.0]]
CONTENT = json.dumps({"string_to_param": {"*": {"TORCHTENSOR": VECTORS}}, "name": "x", "step": 5}).encode()
CPU = torch.device("cpu")


def veil(count: int) -> np.ndarray:
    seed, row = 0, []
    for _ in range(count):
        seed = (1664525 * seed + 1013904223) % 2**32
        row.append(seed % 255)
    return np.array(row, np.uint8) & 0x0F


def in_pixels(path: Path, data: bytes) -> None:
    """A1111's insert_image_data_embed, without the pattern in the high bits."""
    height = 64
    padded = np.frombuffer(data.ljust(-(-len(data) // (3 * height)) * 3 * height, b"\0"), np.uint8)
    sides = [(part ^ veil(len(padded))).reshape(height, -1, 3) | 0x10 for part in (padded & 0x0F, padded >> 4)]
    black = np.zeros((height, 2, 3), np.uint8)
    middle = np.full((height, 40, 3), 0x35, np.uint8)
    edges = np.pad(np.concatenate([sides[0], black, middle, black, sides[1]], 1), ((3, 3), (5, 5), (0, 0)))
    Image.fromarray(edges).save(path, lossless=True)


def in_text(path: Path, data: bytes) -> None:
    text = PngInfo()
    text.add_text("sd-ti-embedding", base64.b64encode(data).decode())
    Image.new("RGB", (8, 8)).save(path, pnginfo=text)


def check(path: Path) -> None:
    file = PicturedFile(path)
    assert file.shapes() == {"string_to_param.*": (2, 3)} and file.metadata == {"name": "x", "step": "5"}
    (tensor,) = file.read(["string_to_param.*"], CPU, None).values()
    assert torch.equal(tensor, torch.tensor(VECTORS))


def test_a_png_with_the_numbers_in_its_text(tmp_path: Path) -> None:
    in_text(tmp_path / "x.png", CONTENT)
    check(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_picture_with_the_numbers_in_its_pixels(tmp_path: Path, suffix: str) -> None:
    in_pixels(tmp_path / f"x{suffix}", zlib.compress(CONTENT))
    check(tmp_path / f"x{suffix}")


@pytest.mark.parametrize(
    "data", [b"[1]", b"{", b"7", b'{"a": {"TORCHTENSOR": "no"}}', b'{"a": {"TORCHTENSOR": [[1], 2]}}']
)
def test_a_picture_that_holds_none_is_refused_with_a_sentence(tmp_path: Path, data: bytes) -> None:
    pictures = [
        tmp_path / name for name in ("text.png", "pixels.png", "plain.png", "black.png", "noise.png", "torn.png")
    ]
    in_text(pictures[0], data)
    in_pixels(pictures[1], zlib.compress(data))
    Image.new("RGB", (64, 64), "red").save(pictures[2])
    Image.new("RGB", (64, 64)).save(pictures[3])
    in_pixels(pictures[4], bytes(range(256)))
    pictures[5].write_bytes(pictures[0].read_bytes()[:40])
    for path in pictures:
        with pytest.raises(ModelFileError, match="is an image without an embedding in it"):
            PicturedFile(path).shapes()
