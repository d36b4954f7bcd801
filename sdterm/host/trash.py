"""The trash: deleting a picture takes it out of the gallery and its file into a folder beside it; both come back.

Where the file is about to lie is committed before it moves. If the host ends in between, the place where the file then
lies says whether the picture is deleted.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from sdterm.core.files import move_new, regular
from sdterm.errors import SdtermError
from sdterm.events import PictureDeleted, PictureRestored
from sdterm.host.database import Database, is_full
from sdterm.host.log import EventLog
from sdterm.host.pictures import UnknownPictureError
from sdterm.host.threads import in_thread

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
                raise UnknownPictureError(f"Picture {picture} is deleted already.")
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
            said = f"The file of picture {picture} cannot be moved to {target}: {error.strerror or error}."
            raise TrashError(f"{said} Nothing was changed.") from error

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
            raise UnknownPictureError(f"There is no picture {picture}.")
        return row

    @contextlib.contextmanager
    def _alone(self, picture: int) -> Iterator[None]:
        if picture in self._moving:
            raise TrashError(f"The file of picture {picture} is being moved right now. Try again in a moment.")
        self._moving.add(picture)
        try:
            yield
        finally:
            self._moving.discard(picture)


def _free(source: Path, target: Path) -> Path:
    """That target, or a name like it, at which nothing lies; nor a text beside it, if the source has one."""
    stem = target.stem
    others = (target.with_name(f"{stem}-{number}{target.suffix}") for number in count(2))
    ends = (target.suffix, ".txt") if os.path.lexists(source.with_suffix(".txt")) else (target.suffix,)
    while any(os.path.lexists(target.with_suffix(end)) for end in ends):
        target = next(others)
    return target


def _move(source: Path, target: Path, infotext: str) -> None:
    """A picture's file, if there is one, and the text that was saved beside it. Raises OSError."""
    if os.path.lexists(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        move_new(source, target)
        _move_text(source, target, infotext)


def _move_text(source: Path, target: Path, infotext: str) -> None:
    """The text goes where its picture goes; one that somebody else wrote stays."""
    beside = source.with_suffix(".txt")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(beside, encoding="utf-8", opener=regular) as file:
            is_ours = file.read(len(infotext) + 2) == infotext + "\n"
        if is_ours:
            move_new(beside, target.with_suffix(".txt"))


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
