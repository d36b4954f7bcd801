"""EXIF with an infotext in it, byte for byte as A1111 (through piexif) writes it: for the savers beside this file."""

import struct

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_LONG, _UNDEFINED = 4, 7


def exif(infotext: str) -> bytes:
    """An EXIF block with nothing but UserComment: `UNICODE\\0` and UTF-16, big end first, no byte order mark. What
    UTF-16 or a reader cannot hold (lone surrogates, NUL) is replaced."""
    comment = b"UNICODE\0" + storable(infotext).encode("utf-16-be")
    # A directory is a count and 12 bytes an entry; the first one's link to a next is empty, the second has none.
    first = struct.pack(">HHHIII", 1, _EXIF_IFD, _LONG, 1, 26, 0)
    second = struct.pack(">HHHII", 1, _USER_COMMENT, _UNDEFINED, len(comment), 40)
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + first + second + comment


def storable(infotext: str) -> str:
    """The text without what no file can hold: NUL ends it for many readers, lone surrogates have no encoding."""
    return infotext.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
