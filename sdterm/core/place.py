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
    above: Path | None
    """The data root, where the folder lies in it: locked as well, since it stays when somebody deletes the folder."""

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
    if len(os.fsencode(socket)) > LONGEST_SOCKET:
        socket = state / "host.sock"
    return Place(folder, socket, root if folder != state else None)


@dataclass
class Lock:
    """That this process is the place's host: held until it ends, in whatever way."""

    place: Place
    above: int | None
    file: int

    @property
    def is_intact(self) -> bool:
        """Whether the lock file is still there for others to see."""
        return _is_same(self.place.lock, self.file)

    @property
    def has_root(self) -> bool:
        """Whether the data root is still there."""
        return self.above is None or self.place.above is None or _is_same(self.place.above, self.above)

    def renew(self) -> None:
        """Lock the file that lies there now, or make one. Raises PlaceError if another host has it."""
        file = _locked(self.place.lock, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if file is None:
            raise PlaceError(f"{self.place.lock} was replaced, and another host has it.")
        os.close(self.file)
        self.file = file
        _sign(file)

    def release(self) -> None:
        os.close(self.file)
        if self.above is not None:
            os.close(self.above)


def take(place: Place) -> Lock | None:
    """Become the place's host; None if there is one."""
    above = None
    try:
        above = _locked(place.above, os.O_RDONLY | os.O_DIRECTORY, fcntl.LOCK_EX) if place.above else None
        if place.above and above is None:
            return None
    except OSError:  # a file system on which folders cannot be locked
        pass
    file = _locked(place.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, fcntl.LOCK_EX)
    if file is None:
        if above is not None:
            os.close(above)
        return None
    _sign(file)
    return Lock(place, above, file)


def is_held(place: Place) -> bool:
    """Whether a host has this place, answering or not. The lock tells, and not whether its process is there: where
    nobody reaps, a process that ended is there for ever."""
    for path, flags in ((place.above, os.O_RDONLY | os.O_DIRECTORY), (place.lock, os.O_RDONLY)):
        with contextlib.suppress(OSError):
            if path:
                if (free := _locked(path, flags, fcntl.LOCK_SH)) is None:
                    return True
                os.close(free)
    return False


def holder(place: Place) -> int | None:
    """The process number of the place's host; None if there is none, or it cannot be told."""
    with contextlib.suppress(OSError, ValueError):
        return int(place.lock.read_text(encoding="ascii")) if is_held(place) else None
    return None


def _is_same(path: Path, file: int) -> bool:
    """Whether an open file is the one that lies there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except OSError:
        return False


def _locked(path: Path, flags: int, how: int) -> int | None:
    """An open and locked file; None if somebody else has locked it. Raises OSError."""
    file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    return file


def _sign(file: int) -> None:
    os.ftruncate(file, 0)
    os.write(file, b"%d\n" % os.getpid())


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
        wanted, kind = (stat.S_ISSOCK, "socket") if file == place.socket else (stat.S_ISREG, "file")
        with contextlib.suppress(FileNotFoundError):
            if not wanted(file.lstat().st_mode):
                raise PlaceError(f"{file} is in the way: it is no {kind}. Move it away.")
