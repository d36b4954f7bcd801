"""The prompts that were drawn: a line of JSON each, the newest last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

FILE = "prompts.jsonl"
KEPT = 5000
"""Entries; once there are half as many more, the oldest go."""
_PRIVATE = 0o600


@dataclass(frozen=True)
class Entry:
    """A prompt, and when it was drawn, in seconds since 1970."""

    prompt: str
    negative: str
    at: float


def append(path: Path, entry: Entry) -> None:
    """Add an entry, unless it is the last one again. Raises OSError."""
    lines = _lines(path)
    last = next(_entries(reversed(lines)), None)
    if last and (last.prompt, last.negative) == (entry.prompt, entry.negative):
        return
    line = json.dumps(asdict(entry)).encode()
    if len(lines) >= KEPT * 3 // 2:
        from sdterm.core.files import write_atomically

        write_atomically(path, b"\n".join([*lines[1 - KEPT :], line, b""]))
        path.chmod(_PRIVATE)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write at the end of the file: two workstations at once mix no lines.
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _PRIVATE)
    try:
        os.write(descriptor, (b"\n" if _torn(descriptor) else b"") + line + b"\n")
    finally:
        os.close(descriptor)


def _torn(descriptor: int) -> bool:
    """Whether the file ends within a line, as a full disk leaves it."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if not size:
        return False
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1) != b"\n"


def read(path: Path) -> list[Entry]:
    """The newest first. Lines that are none of ours, or torn, are passed over; a file that cannot be read is empty."""
    try:
        return [*_entries(reversed(_lines(path)))]
    except OSError:
        return []


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    for line in lines:
        try:
            said = json.loads(line)
            prompt, negative, at = said["prompt"], said["negative"], float(said["at"])
            if isinstance(prompt, str) and isinstance(negative, str) and isfinite(at):
                yield Entry(_whole(prompt), _whole(negative), at)
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
            continue


def _whole(text: str) -> str:
    """The text without halves of characters, which JSON can say and no terminal can show."""
    return text.encode("utf-8", "replace").decode("utf-8")
