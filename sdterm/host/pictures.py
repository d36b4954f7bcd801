"""The index of saved images: each is written once, found by its text, and noticed when its file is gone."""

import contextlib
import hashlib
import mimetypes
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sdterm.api import FieldError, Picture, PicturePage, picture_event
from sdterm.core.files import regular
from sdterm.core.infotext.grammar import parse as parse_infotext
from sdterm.errors import SdtermError
from sdterm.events import IMAGE_KINDS, AnyPicture, Grid, PictureKind, kind_of
from sdterm.host.database import Database
from sdterm.host.gallery_filter import FilterError, facts, parse, sql
from sdterm.host.gallery_order import NEWEST, OrderError, Value
from sdterm.host.gallery_order import parse as parse_order
from sdterm.host.log import EventLog
from sdterm.host.threads import SlowDiskError, Threads, in_thread
from sdterm.host.thumbnail import ThumbnailError, thumbnail
from sdterm.messages import message

THREADS, LIMIT = 4, 5.0
"""How many picture files are read at a time, and seconds that each may take."""
_CHUNK = 2**20  # bytes


class UnknownPictureError(SdtermError, LookupError):
    """There is no such picture."""

    code = "unknown_picture"


@dataclass(frozen=True)
class FoundPicture:
    """A picture's file that no job is known of. saved: seconds since 1970."""

    path: str
    width: int
    height: int
    infotext: str
    saved: float
    kind: PictureKind


@dataclass(frozen=True)
class PictureFile:
    """A picture's file, open to be read once."""

    size: int
    media_type: str
    chunks: AsyncIterator[bytes]


class Pictures:
    """The gallery's index. Methods raise sqlite3.Error if nothing can be written. The database is used from the loop,
    files from threads."""

    def __init__(self, database: Database, log: EventLog, clock: Callable[[], float]) -> None:
        self._database, self._log, self._clock = database, log, clock
        self._threads = Threads(THREADS, LIMIT)

    def saved(self, job: int, event: AnyPicture) -> str | None:
        """Where that picture of a job is saved, if it is."""
        sql = "SELECT path FROM pictures WHERE job = ? AND kind = ? AND number = ? AND saved IS NOT NULL"
        row = self._database.row(sql, job, kind_of(event), _number(event))
        return str(row["path"]) if row else None

    def reserve(self, job: int, event: AnyPicture, path: Path) -> None:
        """Note, for good, where an image is about to get its name: if this process dies between that and `commit`,
        `recover` finds it."""
        which = (job, kind_of(event), _number(event))
        seed = None if isinstance(event, Grid) else event.seed
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM pictures WHERE job = ? AND kind = ? AND number = ? AND saved IS NULL", *which
            )
            row = {
                **dict(zip(("job", "kind", "number"), which, strict=True)),
                "path": str(path),
                "digest": hashlib.sha256(event.data).hexdigest(),
                "seed": None if seed is None else str(seed),
                "width": event.width,
                "height": event.height,
                "infotext": event.infotext,
            }
            self._insert(row)

    def commit(self, job: int, event: AnyPicture) -> None:
        """The image has its name: tell everyone. `event` has the path."""
        with self._database.transaction():
            self._saved(job, kind_of(event), _number(event))
            self._log.add(job, event)

    def release(self, job: int, event: AnyPicture) -> None:
        """That picture of a job is not being written any more."""
        sql = "DELETE FROM pictures WHERE job = ? AND kind = ? AND number = ? AND saved IS NULL"
        with self._database.transaction():
            self._database.execute(sql, job, kind_of(event), _number(event))

    def forget(self, job: int) -> None:
        """List nothing of a job any more: its files were somebody's for a moment only."""
        with self._database.transaction(durable=False):  # the next host would do it again
            self._database.execute("DELETE FROM pictures WHERE job = ?", job)

    def forget_below(self, folder: Path) -> None:
        """List nothing any more that lies in that folder or below it."""
        first, behind = f"{folder}/", f"{folder}0"  # "0" is the character behind "/": the index finds what is between
        with self._database.transaction(durable=False):  # the next host would do it again
            self._database.execute("DELETE FROM pictures WHERE path >= ? AND path < ?", first, behind)

    async def recover(self, job: int, images: Collection[int] | None = None) -> None:
        """Before a job goes on: an image that was getting its name when the host died, or could not write that it has
        it, either has it or is drawn again from the tape. Waits as long as the disk takes to say. images: only these,
        while somebody draws the others."""
        for row in self._database.rows("SELECT * FROM pictures WHERE saved IS NULL AND job = ?", job):
            if images is not None and (row["kind"] == "grid" or row["number"] not in images):
                continue
            path = Path(row["path"])
            is_saved = await in_thread(partial(_digest, path)) == row["digest"]
            with self._database.transaction():
                if is_saved:
                    self._saved(row["job"], row["kind"], row["number"])
                    self._log.add(row["job"], _event_of(row))
                    continue
                self._database.execute("DELETE FROM pictures WHERE id = ?", row["id"])
            await in_thread(partial(_remove_lone_text, path, row["infotext"] + "\n"))

    def lists(self, path: Path) -> bool:
        """Whether a file is a picture of the gallery."""
        return bool(self._database.row("SELECT 1 FROM pictures WHERE path = ? AND trash IS NULL", str(path)))

    def are_none(self) -> bool:
        return not self._database.row("SELECT 1 FROM pictures LIMIT 1")

    def add_found(self, found: Iterable[FoundPicture | None]) -> int:
        """List pictures that no job is known of. Returns how many."""
        added = 0
        with self._database.transaction():
            for picture in filter(None, found):
                row = {
                    "job": None,
                    "kind": picture.kind,
                    "number": 0,
                    "path": picture.path,
                    "digest": "",
                    "saved": picture.saved,
                    "seed": dict(parse_infotext(picture.infotext).parameters).get("Seed"),
                    "width": picture.width,
                    "height": picture.height,
                    "infotext": picture.infotext,
                }
                self._insert(row)
                added += 1
        return added

    async def get(self, picture: int) -> Picture:
        """Raises UnknownPictureError."""
        return (await self._looked_at([self._row(picture)]))[0]

    async def file(self, picture: int) -> PictureFile:
        """The file as it was saved. Raises UnknownPictureError, ThumbnailError, SlowDiskError."""
        path = Path(self._row(picture)["path"])
        try:
            return await self.read(path)
        except FileNotFoundError as error:
            raise ThumbnailError(
                message("The file of image {image} is missing: it was {path}.", image=picture, path=path)
            ) from error
        except OSError as error:
            said = message(
                "The file of image {image} cannot be read: {error} ({path}).",
                image=picture,
                error=error.strerror or error,
                path=path,
            )
            raise ThumbnailError(said) from error

    async def read(self, path: Path) -> PictureFile:
        """A file, as it is. Raises OSError, SlowDiskError."""
        opened, size = await self._threads.run(partial(_open, path))
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return PictureFile(size, media_type, self._chunks(opened, size))

    async def thumbnail(self, picture: int, size: int) -> bytes:
        """A small JPEG. Raises UnknownPictureError, ThumbnailError, SlowDiskError."""
        path = Path(self._row(picture)["path"])
        return await self._threads.run(partial(thumbnail, path, size))

    async def _chunks(self, file: BinaryIO, size: int) -> AsyncIterator[bytes]:
        """So many bytes of a file, which is closed then; fewer if it has become shorter."""
        with file:
            while size > 0 and (chunk := await self._threads.run(partial(file.read, min(size, _CHUNK)))):
                size -= len(chunk)
                yield chunk

    async def page(
        self, query: str, limit: int, cursor: str | None, job: int | None = None, order: str = NEWEST
    ) -> PicturePage:
        """Pictures that a filter (`gallery_filter`) lets through, in an order (`gallery_order`). Raises FieldError if
        the cursor, the filter or the order is none."""
        try:
            condition, values = sql(parse(query))
        except FilterError as error:
            raise FieldError("q", str(error)) from error
        try:
            by = parse_order(order)
        except OrderError as error:
            raise FieldError("order", str(error)) from error
        given: list[Value] = [*values]
        where = f"{condition} AND p.saved IS NOT NULL AND p.trash IS NULL"
        if job is not None:
            where, given = f"{where} AND p.job = ?", [*given, job]
        total = None
        if cursor:
            try:
                later, place = by.after(cursor)
            except OrderError as error:
                raise FieldError("cursor", str(error)) from error
            where, given = f"{where} AND {later}", [*given, *place]
        else:
            total = self._database.rows(f"SELECT count(*) AS n FROM pictures p WHERE {where}", *given)[0]["n"]
        # the ids first: they, and most keys, are in an index that is a fraction of the infotexts
        places = self._database.rows(
            f"SELECT p.id, {by.key} AS sort_key FROM pictures p WHERE {where} ORDER BY {by.sql} LIMIT ?",
            *given,
            limit + 1,
        )
        shown = [place["id"] for place in places[:limit]]
        found = self._database.rows(f"SELECT * FROM pictures WHERE id IN ({', '.join('?' * len(shown))})", *shown)
        rows = {row["id"]: row for row in found}
        last = places[limit - 1] if len(places) > limit else None
        return PicturePage(
            pictures=tuple(await self._looked_at([rows[number] for number in shown])),
            next=by.cursor(last["id"], last["sort_key"]) if last else None,
            total=total,
        )

    def _insert(self, given: Mapping[str, object]) -> None:
        row = {**given, **facts(str(given["infotext"]))}
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        self._database.execute(f"INSERT INTO pictures ({columns}) VALUES ({marks})", *row.values())

    def _saved(self, job: int, kind: PictureKind, number: int) -> None:
        self._database.execute(
            "UPDATE pictures SET saved = ? WHERE job = ? AND kind = ? AND number = ?", self._clock(), job, kind, number
        )
        if kind in IMAGE_KINDS:
            self._database.execute("UPDATE jobs SET done = done + 1, attempts = 0 WHERE id = ?", job)

    def _row(self, picture: int) -> sqlite3.Row:
        row = self._database.row("SELECT * FROM pictures WHERE id = ? AND saved IS NOT NULL", picture)
        if row and row["trash"] is not None:
            raise UnknownPictureError(message("Image {image} is deleted; it can be restored.", image=picture))
        if not row:
            raise UnknownPictureError(message("There is no image {image}.", image=picture))
        return row

    async def _looked_at(self, rows: Sequence[sqlite3.Row]) -> list[Picture]:
        """Rows as they are, files that came or went noted. Where the disk does not answer, as they were last seen."""
        paths = [Path(row["path"]) for row in rows]
        try:
            there = await self._threads.run(lambda: [path.is_file() for path in paths])
        except SlowDiskError:
            there = [not row["missing"] for row in rows]
        found = []
        for row, is_there in zip(rows, there, strict=True):
            if is_there == bool(row["missing"]):
                with self._database.transaction(durable=False):
                    self._database.execute("UPDATE pictures SET missing = ? WHERE id = ?", not is_there, row["id"])
            fields = {name: row[name] for name in Picture.model_fields if name != "missing"}
            found.append(Picture(**fields, missing=not is_there))
        return found


def _number(event: AnyPicture) -> int:
    return 0 if isinstance(event, Grid) else event.index


def _event_of(row: sqlite3.Row) -> AnyPicture:
    """The event of an image that was saved by a host that died before it could say so."""
    fields = {name: row[name] for name in Picture.model_fields if name != "saved"}
    return picture_event(Picture(**fields, saved=0.0))


def _open(path: Path) -> tuple[BinaryIO, int]:
    """A file and its size in bytes. Raises OSError."""
    file = open(path, "rb", opener=regular)  # noqa: SIM115 - whoever reads it closes it
    return file, os.fstat(file.fileno()).st_size


def _digest(path: Path) -> str | None:
    try:
        with open(path, "rb", opener=regular) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _remove_lone_text(path: Path, text: str) -> None:
    """The text beside a picture that never got its name, unless it is another."""
    beside = path.with_suffix(".txt")
    with contextlib.suppress(OSError):
        if not path.exists() and _text(beside) == text:
            beside.unlink()


def _text(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace", opener=regular) as file:
        return file.read()
