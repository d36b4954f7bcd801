"""Where a host lives: one private folder per data root and user, with its socket, lock, database, tapes and log."""

import contextlib
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import platformdirs

LONGEST_SOCKET = 100  # bytes of a socket's path; the system takes 103 to 107


class PlaceError(OSError):
    """The host's folder cannot be trusted or used."""


@dataclass(frozen=True)
class Place:
    """The files of one host."""

    folder: Path
    """0700: prompts and pictures' texts are private."""
    socket: Path

    @property
    def lock(self) -> Path:
        return self.folder / "host.lock"

    @property
    def log(self) -> Path:
        return self.folder / "host.log"

    @property
    def database(self) -> Path:
        return self.folder / "host.db"

    @property
    def tapes(self) -> Path:
        return self.folder / "tapes"


def place_of(root: Path) -> Place:
    """The place for a data root: `<root>/run`; in the user's state folder if another user has taken that one, as is
    the socket if its path would be too long."""
    folder = root / "run"
    state = platformdirs.user_state_path("sdterm") / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    with contextlib.suppress(OSError):
        if folder.lstat().st_uid != os.geteuid():
            folder = state
    socket = folder / "host.sock"
    return Place(folder, socket if len(os.fsencode(socket)) <= LONGEST_SOCKET else state / "host.sock")


def is_held(place: Place) -> bool:
    """Whether a host has this place, answering or not."""
    try:
        with place.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def make_private(place: Place) -> None:
    """Make the place's folders, for this user alone. Raises PlaceError if something else, or a link, lies there."""
    for folder in (place.folder, place.socket.parent, place.tapes):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise PlaceError(f"{folder} is not a folder of yours, so nothing is put there. Move it away.")
            if found.st_mode & 0o077:
                folder.chmod(0o700)
        except PlaceError:
            raise
        except OSError as error:
            raise PlaceError(f"{folder} cannot be used: {os.strerror(error.errno or 0)}.") from error
    for file in (place.socket, place.lock, place.log, place.database):
        if file.is_symlink():  # from before the folder was private
            raise PlaceError(f"{file} is a link, and nothing is written where it leads. Move it away.")
