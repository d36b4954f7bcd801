"""The prompts that were drawn: a line of JSON each, the newest last."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sdterm.core.output import write_atomically

FILE = "prompts.jsonl"
KEPT = 5000
"""Entries; once there are half as many more, the oldest go."""


@dataclass(frozen=True)
class Entry:
    """A prompt, and when it was drawn, in seconds since 1970."""

    prompt: str
    negative: str
    at: float


def append(path: Path, entry: Entry) -> None:
    """Add an entry, unless it is the last one again. Raises OSError."""
    entries = read(path)
    if entries and (entries[0].prompt, entries[0].negative) == (entry.prompt, entry.negative):
        return
    line = json.dumps(asdict(entry)) + "\n"
    if len(entries) >= KEPT * 3 // 2:
        kept = [*reversed(entries[: KEPT - 1])]
        write_atomically(path, "".join(json.dumps(asdict(old)) + "\n" for old in kept).encode() + line.encode())
        return
    # One write at the end of the file: two workstations at once mix no lines. A torn line before it ends there.
    torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, ("\n" if torn else "").encode() + line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Entry]:
    """The newest first. Lines that are none of ours, or torn, are passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [*_entries(reversed(lines))]


def _entries(lines: Iterator[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            said = json.loads(line)
            yield Entry(str(said["prompt"]), str(said["negative"]), float(said["at"]))
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
