"""Embeddings that people share as pictures: A1111 writes the numbers into a PNG's text and into the pixels.

In the pixels they are at both sides, parted by black columns: the low four bits of each colour are, on the left, the
low four bits of each byte, on the right the high ones, veiled by a fixed row of numbers.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.core.files import regular
from sdterm.core.library.tensors import ModelFileError
from sdterm.core.text import printable
from sdterm.messages import message

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL import Image

_TEXT = "sd-ti-embedding"
_TENSOR = "TORCHTENSOR"
_MOST_PIXELS = 4096 * 4096
_MOST_BYTES = 64 * 2**20
_MOST_NUMBERS = 10_000_000


@dataclass(frozen=True)
class PicturedFile:
    """A picture with an embedding in it. Implements the `WeightsReader` that network formats read from."""

    path: Path

    @cached_property
    def _read(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Raises ModelFileError."""
        from PIL import Image  # which, with numpy, whoever reads no such picture does not owe

        try:
            with open(self.path, "rb", opener=regular) as file, Image.open(file) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    raise ValueError
                said = getattr(picture, "text", {}).get(_TEXT)
                value = json.loads(base64.b64decode(said) if said else _in_pixels(picture))
            if not isinstance(value, dict):
                raise ValueError
            tensors: dict[str, NDArray[Any]] = {}
            _flatten("", value, tensors)
        except (OSError, ValueError, SyntaxError, RecursionError, zlib.error, Image.DecompressionBombError) as error:
            raise ModelFileError(
                message("{file} is an image without an embedding in it.", file=printable(self.path.name))
            ) from error
        return tensors, {key: str(word) for key, word in value.items() if isinstance(word, str | int)}

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {key: tensor.shape for key, tensor in self._read[0].items()}

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._read[1]

    config = preview = content = vae = None

    def read(self, keys: Sequence[str], device: torch.device, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        loaded: Any = sys.modules["torch"]  # whoever says on which of its devices has loaded it
        return {key: loaded.from_numpy(self._read[0][key]).to(device=device, dtype=dtype) for key in keys}


def _flatten(name: str, value: Any, into: dict[str, NDArray[Any]]) -> None:
    """Tensors by their path in the nested value, joined by dots. Raises ValueError."""
    import numpy as np

    if not isinstance(value, dict):
        return
    if _TENSOR in value:
        into[name] = np.array(value[_TENSOR], dtype=np.float32)
        if into[name].size > _MOST_NUMBERS:
            raise ValueError
        return
    for key, inner in value.items():
        _flatten(f"{name}.{key}" if name else str(key), inner, into)


def _in_pixels(picture: Image.Image) -> bytes:
    """Source: A1111 image_embedding.extract_image_data_embed. Raises ValueError, zlib.error."""
    import numpy as np

    pixels: NDArray[Any] = np.asarray(picture.convert("RGB"))
    lit = np.asarray((pixels > 0).all(2))
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    if not (len(rows) and len(columns)):
        raise ValueError
    low = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 0x0F
    black = np.flatnonzero(low.sum(axis=(0, 2)) == 0)
    if len(black) < 2:
        raise ValueError
    left, right = (_unveiled(side) for side in (low[:, : black[0]], low[:, black[-1] + 1 :]))
    if left.size != right.size:
        raise ValueError
    packed = ((right << 4) | left).tobytes()
    data = zlib.decompressobj().decompress(packed, _MOST_BYTES)
    if len(data) == _MOST_BYTES:
        raise ValueError
    return data


def _unveiled(block: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    seed, veil = 0, bytearray(block.size)
    for i in range(block.size):
        seed = (1664525 * seed + 1013904223) % 2**32
        veil[i] = seed % 255
    unveiled: NDArray[Any] = block.flatten() ^ (np.frombuffer(veil, np.uint8) & 0x0F)
    return unveiled
