"""Getting an extension's files into a staging folder. Whoever serves them is a stranger: only https and ssh, no
credentials, nothing that git or a file system would take for something else.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.install.archive import MOST_PACKED, MOST_UNPACKED, ArchiveError, unpack
from sdterm.core.extensions.source import files_of, is_left_behind
from sdterm.core.processes import BoundsError, run_bounded
from sdterm.core.text import printable
from sdterm.core.web import WebError, answer, check_url, shown

SECONDS = 120
"""How long fetching may take."""

Tell = Callable[[str], None]
Kind = Literal["git", "download", "archive", "path", "package", "wheel"]

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_WHEEL = ".whl"
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?![-/])[A-Za-z0-9_.~/-]+")


class FetchError(ExtensionError):
    """A sentence: why a source is refused, or what went wrong on the way."""


@dataclass(frozen=True)
class Fetched:
    """What was fetched."""

    path: Path
    """A folder or a `.py` file in staging; a wheel there; for a package nothing yet."""
    name: str
    """What to call it, if it says nothing itself."""
    requirement: str = ""
    """What pip is to be asked for, if it is a package."""


def fetch(source: str, staging: Path, tell: Tell, *, transports: Sequence[str] = ("https", "ssh")) -> Fetched:
    """Get `source` into `staging`. Runs nothing of it. transports: those that git may use. Raises FetchError."""
    kind = kind_of(source, transports)
    try:
        if kind == "git":
            tell(f"Cloning {printable(source)} …")
            return Fetched(_clone(source, staging, transports), _last(source).removesuffix(".git"))
        if kind == "download":
            tell(f"Downloading {printable(source)} …")
            file = staging / "download"
            download(source, file)
            return _opened(file, _last(source), staging, tell)
        if kind == "package":
            return Fetched(staging, Requirement(source).name, requirement=source)
        path = Path(os.path.expanduser(source)).absolute()
        if kind == "path":
            return Fetched(_copied(path, staging), path.stem if path.is_file() else path.name)
        return _opened(path, path.name, staging, tell)
    except ArchiveError as error:
        raise FetchError(str(error)) from error
    except OSError as error:
        raise FetchError(f"{printable(source)} cannot be read: {error.strerror or error}.") from error


def kind_of(source: str, transports: Sequence[str] = ("https", "ssh")) -> Kind:
    """What a source is. Looks at the file system, at nothing else. Raises FetchError if it is refused."""
    if not source.strip() or printable(source, limit=4000) != source or len(source) > 2000:
        raise _refused(source, "it is empty, too long or has characters that do not belong there")
    if source.startswith("-"):
        raise _refused(source, "it looks like an option")
    if re.match(r"[A-Za-z0-9+.-]+::", source):
        raise _refused(source, "git would run a program for it")
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source):
        return _kind_of_url(source, scheme[1].lower(), transports)
    if _SCP.fullmatch(source) and "ssh" in transports:
        return "git"
    path = Path(os.path.expanduser(source))
    if path.is_dir() or (path.suffix == ".py" and path.is_file()):
        return "path"
    if path.is_file():
        if path.name.lower().endswith(_WHEEL):
            return "wheel"
        return "archive"
    if "/" in source or source.lower().endswith((*_ARCHIVES, _WHEEL, ".py")):
        raise FetchError(f"There is no file or folder {printable(source)}.")
    try:
        requirement = Requirement(source)
    except InvalidRequirement:
        raise FetchError(f"{printable(source)} is no URL, no path and no name of a package.") from None
    if requirement.url or requirement.marker:
        raise _refused(source, "a package is asked for by its name and, if need be, its version")
    return "package"


def _kind_of_url(source: str, scheme: str, transports: Sequence[str]) -> Kind:
    if re.search(r"[\s\\]", source):
        raise _refused(source, "it has characters that do not belong in a URL")
    try:
        url = urlsplit(source)
        host, password, _ = url.hostname or "", url.password, url.port
    except ValueError as error:
        raise _refused(source, f"it is no URL: {error}") from error
    if host.startswith("-") or unquote(host) != host or (url.username or "").startswith("-"):
        raise _refused(source, "its host looks like an option")
    if url.path.startswith("/-"):
        raise _refused(source, "its path looks like an option")
    if password is not None or (url.username is not None and scheme != "ssh"):
        raise FetchError("A URL with a user name or password in it is refused: logs and lists of processes keep it.")
    if scheme in ("http", "https") and url.path.lower().endswith((*_ARCHIVES, _WHEEL)):
        try:
            check_url(source)
        except WebError as error:
            raise FetchError(str(error)) from error
        return "download"
    if scheme not in transports:
        raise _refused(source, f"{scheme}:// is not among {', '.join(f'{name}://' for name in transports)}")
    if scheme != "file" and not host:
        raise _refused(source, "it names no host")
    return "git"


def download(url: str, file: Path) -> None:
    """Download a file of at most 64 MiB. Raises FetchError, OSError."""
    until = time.monotonic() + SECONDS
    try:
        with answer(url) as response:
            if response.status_code != 200:
                raise FetchError(f"{shown(url)} was answered with status {response.status_code}.")
            _save(response.iter_raw(), file, until)
    except WebError as error:
        raise FetchError(str(error)) from error


def _save(chunks: Iterator[bytes], file: Path, until: float) -> None:
    size = 0
    with file.open("xb") as target:
        for chunk in chunks:
            size += len(chunk)
            if size > MOST_PACKED:
                raise FetchError(f"The download has more than {MOST_PACKED // 1024**2} MiB.")
            if time.monotonic() > until:
                raise FetchError(f"The download took longer than {SECONDS} s.")
            target.write(chunk)


def _opened(file: Path, name: str, staging: Path, tell: Tell) -> Fetched:
    """What is in an archive or a wheel."""
    if name.lower().endswith(_WHEEL):
        return _looked_through(file, name, staging)
    tell("Unpacking …")
    folder = staging / "unpacked"
    unpack(file, folder)
    inside = list(folder.iterdir())
    if len(inside) == 1 and (inside[0].is_dir() or inside[0].suffix == ".py"):  # as archives of a repository are made
        return Fetched(inside[0], re.sub(r"-(main|master|v?\d[\w.]*|[0-9a-f]{40})$", "", inside[0].stem))
    return Fetched(folder, name.split(".")[0])


def _looked_through(file: Path, name: str, staging: Path) -> Fetched:
    """A wheel stays one, for pip, in staging, under the name that tells pip what it is; but what we would refuse to
    unpack pip shall not see."""
    try:
        package, *_ = parse_wheel_filename(name)
    except InvalidWheelFilename as error:
        raise FetchError(f"{printable(name)} is no name of a wheel.") from error
    unpack(file, staging / "looked-through")
    (staging / "wheel").mkdir()
    wheel = Path(shutil.copyfile(file, staging / "wheel" / name))
    return Fetched(wheel, package, requirement=f"{package} @ {wheel.as_uri()}")


def _copied(path: Path, staging: Path) -> Path:
    """A copy of a folder's or file's content; links in it are not followed but refused."""
    place = staging / "copied" / path.name
    files = files_of(path)
    linked = (folder for folder in path.rglob("*") if folder.is_symlink() and folder.is_dir())
    if link := next((folder for folder in linked if not is_left_behind(folder.name)), None):
        raise FetchError(f"{printable(path.name)} has {printable(link.name)}, a link: only files are installed.")
    size = 0
    for file in files:
        if file.is_symlink() and file != path:
            raise FetchError(f"{printable(path.name)} has {printable(file.name)}, a link: only files are installed.")
        if not file.is_file():
            raise FetchError(f"{printable(path.name)} has {printable(file.name)}, which is no file.")
        size += file.stat().st_size
        if size > MOST_UNPACKED:
            raise FetchError(f"{printable(path.name)} has more than {MOST_UNPACKED // 1024**2} MiB.")
        target = place / file.relative_to(path) if file != path else place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if not files:
        raise FetchError(f"{printable(path.name)} is empty.")
    return place


def _clone(source: str, staging: Path, transports: Sequence[str]) -> Path:
    """The files of the newest commit, through `git archive` and our own unpacking: links and submodules are refused
    there, and git never checks anything out."""
    if not shutil.which("git"):
        raise FetchError("There is no git here. Give the URL of the repository's zip file instead.")
    bare, tar, folder = staging / "clone.git", staging / "clone.tar", staging / "cloned"
    shape = ["--bare", "--depth=1", "--single-branch", "--no-tags", "--no-recurse-submodules", "--template="]
    _git(["clone", "--quiet", *shape, "--", source, str(bare)], transports)
    _git(["--git-dir", str(bare), "archive", "--format=tar", f"--output={tar}", "HEAD"], transports)
    unpack(tar, folder)
    return folder


def _git(words: list[str], transports: Sequence[str]) -> None:
    """Run git without its user's and machine's settings (aliases, filters, rewritten URLs), hooks and questions."""
    rules = ["protocol.allow=never", *(f"protocol.{name}.allow=always" for name in transports)]
    rules += [f"core.hooksPath={os.devnull}", "core.fsmonitor=false", "credential.helper=", "fetch.fsckObjects=true"]
    limit = f'ulimit -f {MOST_UNPACKED // 512}; exec "$@"'  # of one file, which bounds what a server can make git write
    command = ["sh", "-c", limit, "sh", "git", *(word for rule in rules for word in ("-c", rule)), *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C",
    }
    try:
        done = run_bounded(command, SECONDS, environment)
    except BoundsError as error:
        raise FetchError(f"git {error}.") from None
    if done.code:
        lines = done.errors.strip().splitlines()
        raise FetchError(f"git says: {printable(lines[-1] if lines else f'exit code {done.code}', limit=500)}")


def _last(source: str) -> str:
    path = urlsplit(source).path if "://" in source else source
    return unquote(re.split(r"[/:]", path.rstrip("/"))[-1])


def _refused(source: str, why: str) -> FetchError:
    return FetchError(f"{printable(source)} is refused: {why}.")
