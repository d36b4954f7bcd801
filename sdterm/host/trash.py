"""The trash: deleting a picture takes it out of the gallery and its file into a folder beside it; both come back.

Where the file is about to lie is committed before it moves. If the host ends in between, the place where the file then
lies says whether the picture is deleted.
"""

import contextlib
import math
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from sdterm.api import TrashedPicture
from sdterm.core.files import move_new, regular
from sdterm.errors import SdtermError
from sdterm.events import PictureDeleted, PictureRestored
from sdterm.host.database import Database, is_full
from sdterm.host.log import EventLog
from sdterm.host.pictures import UnknownPictureError
from sdterm.host.threads import in_thread
from sdterm.messages import message

_LONGEST = 255
"""Bytes of a file's name, on every file system that is used."""
FOLDER = ".trash"
"""Beside the picture, so that a move never copies from disk to disk. A search for pictures passes over it."""


class TrashError(SdtermError, OSError):
    """A picture's file cannot be moved; everything is as it was."""

    code = "unmovable"


class Trash:
    """Deletes and restores pictures of the gallery. Methods raise sqlite3.Error if nothing can be written, and wait as
    long as the disk takes."""

    def __init__(self, database: Database, log: EventLog, clock: Callable[[], float]) -> None:
        self._database, self._log, self._clock = database, log, clock
        self._moving: set[int] = set()

    async def delete(self, picture: int) -> None:
        """Take a picture out of the gallery, and its file into the trash; if the file is gone, just the picture.
        Raises UnknownPictureError, TrashError."""
        with self._alone(picture):
            row = self._row(picture)
            if row["trash"] is not None:
                raise UnknownPictureError(message("Image {image} is deleted already.", image=picture))
            path = Path(row["path"])
            trash = await in_thread(partial(_free, path, path.parent / FOLDER / f"{picture}-{path.name}"))
            with self._database.transaction():
                self._database.execute(
                    "UPDATE pictures SET trash = ?, trashed = NULL WHERE id = ?", str(trash), picture
                )
            await self._move(picture, path, trash, row["infotext"])
            with self._database.transaction():
                self._database.execute("UPDATE pictures SET trashed = ? WHERE id = ?", self._clock(), picture)
                self._log.add(None, PictureDeleted(picture=picture))

    async def restore(self, picture: int) -> None:
        """Bring a deleted picture back, its file under another name if its own is taken; one that is not deleted stays
        as it is. Raises UnknownPictureError, TrashError."""
        with self._alone(picture):
            row = self._row(picture)
            if row["trash"] == "":
                raise UnknownPictureError(
                    message("Image {image} is permanently deleted: the trash was emptied.", image=picture)
                )
            if row["trash"] is None or (row["trashed"] is None and not await self._settle(row)):
                return
            path, trash = Path(row["path"]), Path(row["trash"])
            back = await in_thread(partial(_free, trash, path))
            with self._database.transaction():
                self._database.execute("UPDATE pictures SET path = ?, trashed = NULL WHERE id = ?", str(back), picture)
            await self._move(picture, trash, back, row["infotext"])
            with self._database.transaction():
                self._restored(picture)
        with contextlib.suppress(OSError):
            await in_thread(trash.parent.rmdir)

    async def listed(self) -> list[TrashedPicture]:
        """What can be brought back, the one deleted last first."""
        there = "SELECT * FROM pictures WHERE trash != '' AND trashed IS NOT NULL ORDER BY trashed DESC, id DESC"
        rows = self._database.rows(there)
        sizes = await in_thread(lambda: [_size(Path(row["trash"])) for row in rows])
        return [
            TrashedPicture(picture=row["id"], path=row["path"], deleted=row["trashed"], size=size)
            for row, size in zip(rows, sizes, strict=True)
        ]

    async def empty(self, before: float = math.inf) -> int:
        """Delete for good what was deleted before that time: how many pictures. Their rows stay, so that no job draws
        them again. Raises TrashError if a file cannot be deleted, once all others are."""
        rows = self._database.rows("SELECT * FROM pictures WHERE trash != '' AND trashed < ?", before)
        emptied, trouble = 0, None
        for row in rows:
            try:
                with self._alone(row["id"]):
                    await in_thread(partial(_discard, Path(row["trash"]), row["infotext"]))
                    with self._database.transaction():
                        self._database.execute("UPDATE pictures SET trash = '' WHERE id = ?", row["id"])
            except TrashError:  # it is being brought back just now
                continue
            except OSError as error:
                trouble = message(
                    "{path} cannot be deleted: {error}.", path=row["trash"], error=error.strerror or error
                )
                continue
            emptied += 1
        if trouble:
            raise TrashError(
                message(
                    "{trouble} {emptied} of {rows} images of the trash are deleted.",
                    trouble=trouble,
                    emptied=emptied,
                    rows=len(rows),
                )
            )
        return emptied

    async def recover(self) -> None:
        """Decide, by where their files lie, about pictures that were being moved when the last host ended."""
        for row in self._database.rows("SELECT * FROM pictures WHERE trash IS NOT NULL AND trashed IS NULL"):
            with contextlib.suppress(TrashError), self._alone(row["id"]):
                await self._settle(row)

    async def _move(self, picture: int, source: Path, target: Path, infotext: str) -> None:
        try:
            await in_thread(partial(_move, source, target, infotext))
        except OSError as error:
            await self._settle(self._row(picture))
            if is_full(error):
                raise
            said = message(
                "The file of image {image} cannot be moved to {target}: {error}.",
                image=picture,
                target=target,
                error=error.strerror or error,
            )
            raise TrashError(message("{said} Nothing was changed.", said=said)) from error

    async def _settle(self, row: sqlite3.Row) -> bool:
        """Write down where the file of a picture lies that was being moved; whether that is the trash."""
        is_deleted = await in_thread(partial(_is_in_trash, Path(row["path"]), Path(row["trash"]), row["infotext"]))
        with self._database.transaction():
            if is_deleted:
                self._database.execute("UPDATE pictures SET trashed = ? WHERE id = ?", self._clock(), row["id"])
            else:
                self._restored(row["id"])
        return is_deleted

    def _restored(self, picture: int) -> None:
        self._database.execute("UPDATE pictures SET trash = NULL, trashed = NULL WHERE id = ?", picture)
        self._log.add(None, PictureRestored(picture=picture))

    def _row(self, picture: int) -> sqlite3.Row:
        row = self._database.row("SELECT * FROM pictures WHERE id = ? AND saved IS NOT NULL", picture)
        if not row:
            raise UnknownPictureError(message("There is no image {image}.", image=picture))
        return row

    @contextlib.contextmanager
    def _alone(self, picture: int) -> Iterator[None]:
        if picture in self._moving:
            raise TrashError(
                message("The file of image {image} is being moved right now. Try again in a moment.", image=picture)
            )
        self._moving.add(picture)
        try:
            yield
        finally:
            self._moving.discard(picture)


def _free(source: Path, target: Path) -> Path:
    """That target, or a name like it, at which nothing lies; nor a text beside it, if the source has one."""
    names = (target.with_name(_fitting(target, "" if number == 1 else f"-{number}")) for number in count(1))
    ends = (target.suffix, ".txt") if os.path.lexists(source.with_suffix(".txt")) else (target.suffix,)
    return next(name for name in names if not any(os.path.lexists(name.with_suffix(end)) for end in ends))


def _fitting(target: Path, number: str) -> str:
    """Its name with a number, cut where a file's name may not be as long; nor may that of a text beside it."""
    stem, end = target.stem, number + target.suffix
    longest = _LONGEST - max(len(os.fsencode(end)), len(f"{number}.txt"))
    while stem and len(os.fsencode(stem)) > longest:
        stem = stem[:-1]
    return stem + end


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _discard(trash: Path, infotext: str) -> None:
    """A file of the trash, the text that went there with it, and the folder if it is empty then. Raises OSError."""
    trash.unlink(missing_ok=True)
    if _is_text_of(trash, infotext):
        trash.with_suffix(".txt").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        trash.parent.rmdir()


def _move(source: Path, target: Path, infotext: str) -> None:
    """A picture's file, if there is one, and the text that was saved beside it. Raises OSError."""
    if os.path.lexists(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        move_new(source, target)
        _move_text(source, target, infotext)


def _move_text(source: Path, target: Path, infotext: str) -> None:
    """The text goes where its picture goes; one that somebody else wrote stays."""
    with contextlib.suppress(OSError):
        if _is_text_of(source, infotext):
            move_new(source.with_suffix(".txt"), target.with_suffix(".txt"))


def _is_text_of(picture: Path, infotext: str) -> bool:
    """Whether the text beside a picture is the one that was saved with it."""
    try:
        with open(picture.with_suffix(".txt"), encoding="utf-8", opener=regular) as file:
            return file.read(len(infotext) + 2) == infotext + "\n"
    except (OSError, UnicodeDecodeError):
        return False


def _is_in_trash(path: Path, trash: Path, infotext: str) -> bool:
    """Finish half a move between the two: a name that was given and not yet taken away, or taken and still empty."""
    with contextlib.suppress(OSError):
        if path.samefile(trash):
            path.unlink()
        elif not trash.stat().st_size:
            trash.unlink()
        elif not path.stat().st_size:
            path.unlink()
    is_deleted = os.path.lexists(trash)
    _move_text(*((path, trash) if is_deleted else (trash, path)), infotext)
    return is_deleted
