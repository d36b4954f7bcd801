"""Cache files: JSON under its checksum. Whatever a disk has made of one otherwise is no cache."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sdterm.core.files import regular, write_atomically


def write_sealed(path: Path, content: Any) -> None:
    """Raises OSError."""
    text = json.dumps(content).encode()
    write_atomically(path, _seal(text) + b"\n" + text)


def read_sealed(path: Path) -> Any:
    """What was written; None if that is not there any more, to the bit."""
    try:
        with open(path, "rb", opener=regular) as file:
            seal, _, text = file.read().partition(b"\n")
    except OSError:
        return None
    return json.loads(text) if seal == _seal(text) else None


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
