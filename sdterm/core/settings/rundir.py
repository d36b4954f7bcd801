"""Where a host lives: one private folder per data root and user, with its socket, lock, database, tapes and log."""

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from sdterm.core.locks import lock
from sdterm.errors import SdtermError
from sdterm.messages import message

LONGEST_SOCKET = 100  # bytes of a socket's path; the system takes 103 to 107


class RunFolderError(SdtermError, OSError):
    """The host's folder cannot be trusted or used."""

    code = "run_folder"


class AnotherHostError(RunFolderError):
    """A host that is not this one has the folder."""


@dataclass(frozen=True)
class RunFolder:
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
    def tokens(self) -> Path:
        """Who may use the host over TCP."""
        return self.folder / "tokens.json"

    @property
    def tapes(self) -> Path:
        return self.folder / "tapes"

    @property
    def unsaved(self) -> Path:
        """Images that are for one answer over HTTP and not to be saved; each job's in a folder of its own."""
        return self.folder / "api"

    @property
    def answers(self) -> Path:
        """The same of answers that can be asked for again: in the end, the answer itself."""
        return self.folder / "answers"


def run_folder_of(root: Path) -> RunFolder:
    """The run folder of a data root: `<root>/run`; in the user's state folder if another user has taken that one, as is
    the socket if its path would be too long."""
    folder = root / "run"
    state = platformdirs.user_state_path("sdterm") / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    with contextlib.suppress(OSError):
        if folder.lstat().st_uid != os.geteuid():
            folder = state
    socket = folder / "host.sock"
    if len(os.fsencode(socket)) > LONGEST_SOCKET:
        socket = state / "host.sock"
    return RunFolder(folder, socket, root if folder != state else None)


@dataclass
class Lock:
    """That this process is the run folder's host: held until it ends, in whatever way."""

    run_folder: RunFolder
    above: int | None
    file: int

    @property
    def is_intact(self) -> bool:
        """Whether the lock file is still there for others to see."""
        return _is_same(self.run_folder.lock, self.file)

    @property
    def has_root(self) -> bool:
        """Whether the data root is still there."""
        return self.above is None or self.run_folder.above is None or _is_same(self.run_folder.above, self.above)

    def renew(self) -> None:
        """Lock the file that lies there now, or make one. Raises AnotherHostError, OSError."""
        file = _locked(self.run_folder.lock, os.O_RDWR | os.O_CREAT)
        if file is None:
            raise AnotherHostError(
                message("{file} was replaced, and another host uses it now.", file=self.run_folder.lock)
            )
        os.close(self.file)
        self.file = file
        _sign(file)

    def release(self) -> None:
        os.close(self.file)
        if self.above is not None:
            os.close(self.above)


def take(run_folder: RunFolder) -> Lock | None:
    """Become the run folder's host; None if there is one."""
    above = None
    try:
        above = _locked(run_folder.above, os.O_RDONLY | os.O_DIRECTORY) if run_folder.above else None
        if run_folder.above and above is None:
            return None
    except OSError:  # a file system on which folders cannot be locked
        pass
    file = _locked(run_folder.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    if file is None:
        if above is not None:
            os.close(above)
        return None
    _sign(file)
    return Lock(run_folder, above, file)


def is_held(run_folder: RunFolder) -> bool:
    """Whether a host has this run folder, answering or not. The lock tells, and not whether its process is there: where
    nobody reaps, a process that ended is there for ever."""
    for path, flags in ((run_folder.above, os.O_RDONLY | os.O_DIRECTORY), (run_folder.lock, os.O_RDONLY)):
        with contextlib.suppress(OSError):
            if path:
                if (free := _locked(path, flags, shared=True)) is None:
                    return True
                os.close(free)
    return False


def holder(run_folder: RunFolder) -> int | None:
    """The process number of the run folder's host; None if there is none, or it cannot be told."""
    with contextlib.suppress(OSError, ValueError):
        return int(run_folder.lock.read_text(encoding="ascii")) if is_held(run_folder) else None
    return None


def _is_same(path: Path, file: int) -> bool:
    """Whether an open file is the one that lies there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except OSError:
        return False


def _locked(path: Path, flags: int, shared: bool = False) -> int | None:
    """An open and locked file; None if somebody else has locked it. Raises OSError."""
    file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        if lock(file, shared=shared):
            return file
    except OSError:
        os.close(file)
        raise
    os.close(file)
    return None


def _sign(file: int) -> None:
    os.ftruncate(file, 0)
    os.write(file, b"%d\n" % os.getpid())


def make_private(run_folder: RunFolder) -> None:
    """Make the run folder and those in it, for this user alone. Raises RunFolderError if something else, or a link,
    lies there."""
    for folder in (run_folder.folder, run_folder.socket.parent, run_folder.tapes):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise RunFolderError(
                    message(
                        "{folder} is not a folder of yours, so sdterm does not use it. Move it away.", folder=folder
                    )
                )
            if found.st_mode & 0o077:
                folder.chmod(0o700)
        except RunFolderError:
            raise
        except OSError as error:
            raise RunFolderError(
                message("{folder} cannot be used: {problem}.", folder=folder, problem=os.strerror(error.errno or 0))
            ) from error
    for file in (run_folder.socket, run_folder.lock, run_folder.log, run_folder.database, run_folder.tokens):
        if file.is_symlink():  # from before the folder was private
            raise RunFolderError(message("{file} is a link, and sdterm writes to no links. Move it away.", file=file))
        wanted, kind = (stat.S_ISSOCK, "socket") if file == run_folder.socket else (stat.S_ISREG, "file")
        with contextlib.suppress(FileNotFoundError):
            if not wanted(file.lstat().st_mode):
                raise RunFolderError(
                    message("{file} is in the way: it is not a {kind}. Move it away.", file=file, kind=kind)
                )
