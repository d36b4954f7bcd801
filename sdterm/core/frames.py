"""Messages between the host and a worker: a JSON header and a binary payload, over any stream of bytes.

A frame is 4 bytes that say what it is, the sizes of header and payload (unsigned 32-bit, big-endian), header, payload.
docs/protocol.md lists the messages.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

from sdterm.errors import SdtermError
from sdterm.messages import message

MAX_HEADER = 16 * 2**20
MAX_PAYLOAD = 512 * 2**20
"""Bytes; a frame that claims more is refused before anything is allocated for it."""

_MAGIC = b"sdt1"
_HEAD = struct.Struct(">4sII")
HEAD_SIZE = _HEAD.size


class FrameError(SdtermError, ValueError):
    """What came is no frame: the stream cannot be used any more."""

    code = "bad_frame"


def pack(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """A frame's bytes. Raises FrameError if it is too large."""
    text = json.dumps(header, separators=(",", ":")).encode()  # ASCII: paths may be no UTF-8
    if len(text) > MAX_HEADER or len(payload) > MAX_PAYLOAD:
        raise FrameError(
            message("A message of {header} + {payload} bytes is too large.", header=len(text), payload=len(payload))
        )
    return _HEAD.pack(_MAGIC, len(text), len(payload)) + text + payload


def sizes(head: bytes) -> tuple[int, int]:
    """Bytes of header and payload, from a frame's first `HEAD_SIZE` bytes. Raises FrameError."""
    try:
        magic, header, payload = _HEAD.unpack(head)
    except struct.error:
        raise FrameError(message("A message was cut off.")) from None
    if magic != _MAGIC or header > MAX_HEADER or payload > MAX_PAYLOAD:
        raise FrameError(message("Not a message: it starts with {start}.", start=repr(head)))
    return header, payload


def unpack(text: bytes) -> dict[str, Any]:
    """A frame's header. Raises FrameError unless it is an object with the text `type`."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameError(message("The header of a message is not JSON: {start}.", start=repr(text[:60]))) from None
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise FrameError(message("A message has no type: {start}.", start=repr(text[:60])))
    return header


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame of a blocking stream; None at its end. Raises FrameError."""
    head = stream.read(HEAD_SIZE)
    if not head:
        return None
    header, payload = sizes(head)
    body = stream.read(header + payload)
    if len(body) != header + payload:
        raise FrameError(message("A message was cut off."))
    return unpack(body[:header]), body[header:]
