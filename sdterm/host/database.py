"""The host's SQLite file: opened, brought up to date, and changed in transactions that survive a power cut."""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from errno import EDQUOT, ENOSPC
from importlib.resources import files
from pathlib import Path

from sdterm.core.file_systems import on_network
from sdterm.errors import SdtermError
from sdterm.host.gallery_filter import fact
from sdterm.messages import message

MIGRATIONS = (
    *("schema.sql", "facts.sql", "found.sql", "passes.sql", "trash.sql", "inputs.sql", "second_passes.sql"),
    *("kinds.sql", "devices.sql", "deliveries.sql", "hardware.sql"),
)
"""The files that bring a database from version k to k + 1."""

_BESIDE = ("-wal", "-shm")
_log = logging.getLogger(__name__)


class UnusableDatabaseError(SdtermError, RuntimeError):
    """The database cannot be used."""

    code = "database"


def is_full(error: sqlite3.Error | OSError) -> bool:
    """Whether it is the disk that has no room, or does not take what is written."""
    if isinstance(error, OSError):
        return error.errno in (ENOSPC, EDQUOT)
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Database:
    """One connection, used from one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._after: list[Callable[[], None]] = []
        self._inside = False
        self._unsettled = True  # whether the log has what a client or a file depends on
        self.damaged: Path | None = None
        """Where a damaged one was put aside: this one began empty."""
        try:
            self._connection = _opened(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise UnusableDatabaseError(
                    message("The queue's database {path} cannot be used: {error}.", path=path, error=error)
                ) from error
            aside = path.with_name(f"{path.name}.broken-{time.time():.0f}")
            _log.error("%s is damaged (%s): kept as %s, starting with an empty one", path, error, aside.name)
            for suffix in ("", *_BESIDE):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{path}{suffix}", f"{aside}{suffix}")
            self._connection = _opened(path)
            self.damaged = aside
        self._files = self._identities()

    @property
    def is_intact(self) -> bool:
        """Whether the files that lie there are those that are written."""
        return bool(self._files) and self._identities() == self._files

    def restore(self) -> None:
        """Write all to a new file, in place of one that somebody deleted. Raises sqlite3.Error, OSError: nothing is
        lost then, and this can be tried again."""
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(new)) as file:
            self._connection.backup(file)
        copy = _prepared(sqlite3.connect(":memory:", isolation_level=None))  # in use where the next steps fail
        self._connection.backup(copy)
        self._connection.close()
        self._connection, self._files = copy, []
        for suffix in _BESIDE:
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        new.replace(self._path)
        self._connection = _opened(self._path, create=False)
        copy.close()
        self._files = self._identities()

    def _identities(self) -> list[tuple[int, int]]:
        """Of the file and of the log beside it, which has what is newest; none if one of them is missing."""
        has_log = self._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        found: list[tuple[int, int]] = []
        for suffix in ("", "-wal")[: 1 + has_log]:
            try:
                there = os.stat(f"{self._path}{suffix}")
            except OSError:
                return []
            found.append((there.st_dev, there.st_ino))
        return found

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All of the block happens or nothing. durable: on disk before this returns; else a power cut, though no
        crash, may undo it. Raises sqlite3.Error. A transaction within one is part of it."""
        if self._inside:
            yield
            return
        self._unsettled |= durable
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")
        self._inside = True
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._after.clear()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._inside = False
        after, self._after = self._after, []
        for act in after:
            act()

    def checkpoint(self) -> None:
        """Move what was committed from the log into the file. Where only the log has it, a damaged log loses it. Raises
        sqlite3.Error."""
        if self._unsettled:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._unsettled = False

    def afterwards(self, act: Callable[[], None]) -> None:
        """Do something once this transaction is committed, and not otherwise."""
        self._after.append(act)

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self.execute(sql, *values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.execute(sql, *values).fetchone()
        return found

    def close(self) -> None:
        self._connection.close()


def _opened(path: Path, *, create: bool = True) -> sqlite3.Connection:
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10)
    try:
        _prepared(connection)
        # A log beside the file needs shared memory, which network file systems lack.
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if on_network(path) else 'WAL'}")
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(" ".join(found.split()))
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    connection.create_function("fact", 2, fact, deterministic=True)  # for migrations
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise UnusableDatabaseError(
            message(
                "{path} is of a newer sdterm (version {version}). Update sdterm, or move the file away.",
                path=path,
                version=version,
            )
        )
    for number, name in enumerate(MIGRATIONS[version:], version + 1):
        script = files("sdterm.host").joinpath(name).read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
