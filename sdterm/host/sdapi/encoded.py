"""Pictures as A1111's API has them: the base64 text of their files."""

import base64
import binascii
from typing import Any

from sdterm.errors import BAD_REQUEST, SdtermError


class BadImageError(SdtermError, ValueError):
    """A1111's 500 for a picture that it cannot read."""

    code = BAD_REQUEST


def picture(text: Any) -> bytes:
    """The file in a field of A1111's: base64, after `data:image/png;base64,` or by itself. Raises BadImageError."""
    said = str(text)
    if said.startswith(("http://", "https://")):
        raise BadImageError("Requests not allowed")
    if said.startswith("data:image/"):
        said = said.partition(",")[2]
    try:
        data = base64.b64decode(said)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise BadImageError("Invalid encoded image")
    return data
