"""Pictures as A1111's API has them: the base64 text of their files."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from sdterm.errors import BAD_REQUEST, SdtermError

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"iTXt", b"zTXt", b"eXIf")


class BadImageError(SdtermError, ValueError):
    """A1111's 500 for a picture that it cannot read."""

    code = BAD_REQUEST


Fetch = Callable[[str], bytes]
"""The picture's file at a URL. Raises BadImageError."""


def picture(text: Any, fetch: Fetch | None = None) -> bytes:
    """The file in a field of A1111's: base64, after `data:image/png;base64,` or by itself, or a URL where such may be
    fetched. Raises BadImageError."""
    said = str(text)
    if said.startswith(("http://", "https://")):
        if not fetch:
            raise BadImageError("Requests not allowed: pictures by URL are fetched only with `api_fetch = true`.")
        return fetch(said)
    if said.startswith("data:image/"):
        said = said.partition(",")[2]
    try:
        data = base64.b64decode(said)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise BadImageError("Invalid encoded image")
    return data


def without_texts(file: bytes) -> bytes:
    """A picture without what is written in it, as A1111 sends a PNG where `enable_pnginfo` is off. Other formats stay
    as they are."""
    if not file.startswith(_PNG):
        return file
    kept, at = [_PNG], len(_PNG)
    while at < len(file):
        end = at + 12 + int.from_bytes(file[at : at + 4])  # length, kind, content, checksum
        if file[at + 4 : at + 8] not in _TEXTS:
            kept.append(file[at:end])
        at = end
    return b"".join(kept)
