"""Requests whose answer can be asked for again: a row in the database, and a folder with what the answer will be made
of, in the end with the answer itself."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdterm.core.files import write_atomically
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host.database import Database
from sdterm.host.sdapi.replies import Reply

_REPLY, _ANSWER = "reply.json", "answer.json"


class UsedKeyError(SdtermError, ValueError):
    """An Idempotency-Key came again with another request."""

    code = BAD_REQUEST


class BegunError(Exception):
    """Another request with the same key was faster. job: its job."""

    def __init__(self, job: int) -> None:
        super().__init__(job)
        self.job = job


class KeptRequests:
    """The rows. Methods raise sqlite3.Error."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self.folder = folder
        """Where each has a folder."""

    def job(self, key: str, asked: str) -> int | None:
        """The job that has that key. asked: `fingerprint` of the request. Raises UsedKeyError if it was another."""
        row = self._database.row("SELECT job, asked FROM deliveries WHERE key = ?", key)
        if row and row["asked"] != asked:
            raise UsedKeyError(
                f"This Idempotency-Key belongs to job {row['job']}, which was asked for something else. A new request "
                "needs a new key."
            )
        return row["job"] if row else None

    def add(self, key: str | None, asked: str, folder: Path, job: int) -> None:
        """Note one, in the transaction that queues its job. Raises BegunError, UsedKeyError."""
        if key and (begun := self.job(key, asked)) is not None:
            raise BegunError(begun)
        row = (job, key, asked, folder.name)
        self._database.execute("INSERT INTO deliveries (job, key, asked, folder) VALUES (?, ?, ?, ?)", *row)

    def folder_of(self, job: int) -> Path | None:
        """The folder of a job that is one of these."""
        row = self._database.row("SELECT folder FROM deliveries WHERE job = ?", job)
        return self.folder / row["folder"] if row else None

    def all(self) -> Iterator[tuple[int, Path]]:
        """The jobs, with their folders."""
        for row in self._database.rows("SELECT job, folder FROM deliveries"):
            yield row["job"], self.folder / row["folder"]

    def remove(self, job: int) -> None:
        """Forget one: its folder is nobody's then."""
        self._database.execute("DELETE FROM deliveries WHERE job = ?", job)


def fingerprint(path: str, body: Any) -> str:
    """Of a request: the same for the same values, however they are written."""
    return hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()


def write_reply(folder: Path, reply: Reply) -> None:
    """Keep what the answer will be made of. Raises OSError."""
    write_atomically(folder / _REPLY, json.dumps(asdict(reply)).encode())


def read_reply(folder: Path) -> Reply:
    """The same. Raises OSError."""
    return Reply(**json.loads((folder / _REPLY).read_bytes()))


def write_answer(folder: Path, answer: bytes) -> None:
    """Keep the answer. Raises OSError."""
    write_atomically(folder / _ANSWER, answer)


def has_answer(folder: Path) -> bool:
    """Whether the answer is there."""
    return os.path.exists(folder / _ANSWER)  # which raises nothing


def read_answer(folder: Path) -> bytes | None:
    """The answer, if it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / _ANSWER).read_bytes()
    return None


def remove_all_but_answer(folder: Path) -> None:
    """Remove what the answer was made of, as far as the disk lets it go."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name != _ANSWER:
                (folder / name).unlink(missing_ok=True)


def remove_others(folder: Path, kept: set[Path], before: float) -> None:
    """Remove folders in there that no row speaks of. before: a newer one may not have its row yet. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        for found in os.scandir(folder):
            if Path(found.path) not in kept and found.stat().st_mtime < before:
                shutil.rmtree(found.path, ignore_errors=True)
