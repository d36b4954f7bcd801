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
from sdterm.messages import message

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
            tell(message("Cloning {source} …", source=printable(source)))
            return Fetched(_clone(source, staging, transports), _last(source).removesuffix(".git"))
        if kind == "download":
            tell(message("Downloading {source} …", source=printable(source)))
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
        raise FetchError(
            message("{source} cannot be read: {problem}.", source=printable(source), problem=error.strerror or error)
        ) from error


def kind_of(source: str, transports: Sequence[str] = ("https", "ssh")) -> Kind:
    """What a source is. Looks at the file system, at nothing else. Raises FetchError if it is refused."""
    if not source.strip() or printable(source, limit=4000) != source or len(source) > 2000:
        raise _refused(source, message("it is empty, too long or has invalid characters"))
    if source.startswith("-"):
        raise _refused(source, message("it looks like an option"))
    if re.match(r"[A-Za-z0-9+.-]+::", source):
        raise _refused(source, message("git would run a program for it"))
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
        raise FetchError(message("There is no file or folder {source}.", source=printable(source)))
    try:
        requirement = Requirement(source)
    except InvalidRequirement:
        raise FetchError(
            message("{source} is not a URL, a path or the name of a package.", source=printable(source))
        ) from None
    if requirement.url or requirement.marker:
        raise _refused(source, message("a package is given by its name and, if needed, its version"))
    return "package"


def _kind_of_url(source: str, scheme: str, transports: Sequence[str]) -> Kind:
    if re.search(r"[\s\\]", source):
        raise _refused(source, message("a URL cannot have these characters"))
    try:
        url = urlsplit(source)
        host, password, _ = url.hostname or "", url.password, url.port
    except ValueError as error:
        raise _refused(source, message("it is not a valid URL: {problem}", problem=error)) from error
    if host.startswith("-") or unquote(host) != host or (url.username or "").startswith("-"):
        raise _refused(source, message("its host looks like an option"))
    if url.path.startswith("/-"):
        raise _refused(source, message("its path looks like an option"))
    if password is not None or (url.username is not None and scheme != "ssh"):
        raise FetchError(
            message("The URL has a user name or password in it, and is refused: logs and process lists would show it.")
        )
    if scheme in ("http", "https") and url.path.lower().endswith((*_ARCHIVES, _WHEEL)):
        try:
            check_url(source)
        except WebError as error:
            raise FetchError(str(error)) from error
        return "download"
    if scheme not in transports:
        raise _refused(
            source,
            message(
                "{scheme}:// is not one of {allowed}",
                scheme=scheme,
                allowed=", ".join(f"{name}://" for name in transports),
            ),
        )
    if scheme != "file" and not host:
        raise _refused(source, message("it has no host name"))
    return "git"


def download(url: str, file: Path) -> None:
    """Download a file of at most 64 MiB. Raises FetchError, OSError."""
    until = time.monotonic() + SECONDS
    try:
        with answer(url) as response:
            if response.status_code != 200:
                raise FetchError(
                    message("{url} answered with status {status}.", url=shown(url), status=response.status_code)
                )
            _save(response.iter_raw(), file, until)
    except WebError as error:
        raise FetchError(str(error)) from error


def _save(chunks: Iterator[bytes], file: Path, until: float) -> None:
    size = 0
    with file.open("xb") as target:
        for chunk in chunks:
            size += len(chunk)
            if size > MOST_PACKED:
                raise FetchError(message("The download is larger than {limit} MiB.", limit=MOST_PACKED // 1024**2))
            if time.monotonic() > until:
                raise FetchError(message("The download took longer than {seconds} s.", seconds=SECONDS))
            target.write(chunk)


def _opened(file: Path, name: str, staging: Path, tell: Tell) -> Fetched:
    """What is in an archive or a wheel."""
    if name.lower().endswith(_WHEEL):
        return _looked_through(file, name, staging)
    tell(message("Unpacking …"))
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
        raise FetchError(message("{name} is not a valid name of a wheel.", name=printable(name))) from error
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
        raise FetchError(
            message(
                "{name} has a link, {link}: only files are installed.",
                name=printable(path.name),
                link=printable(link.name),
            )
        )
    size = 0
    for file in files:
        if file.is_symlink() and file != path:
            raise FetchError(
                message(
                    "{name} has a link, {link}: only files are installed.",
                    name=printable(path.name),
                    link=printable(file.name),
                )
            )
        if not file.is_file():
            raise FetchError(
                message(
                    "{name} has {entry}, which is not a file.", name=printable(path.name), entry=printable(file.name)
                )
            )
        size += file.stat().st_size
        if size > MOST_UNPACKED:
            raise FetchError(
                message("{name} is larger than {limit} MiB.", name=printable(path.name), limit=MOST_UNPACKED // 1024**2)
            )
        target = place / file.relative_to(path) if file != path else place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if not files:
        raise FetchError(message("{name} is empty.", name=printable(path.name)))
    return place


def _clone(source: str, staging: Path, transports: Sequence[str]) -> Path:
    """The files of the newest commit, through `git archive` and our own unpacking: links and submodules are refused
    there, and git never checks anything out."""
    if not shutil.which("git"):
        raise FetchError(message("git is not installed. Install it, or give the URL of the repository's zip file."))
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
        raise FetchError(message("git {problem}.", problem=error)) from None
    if done.code:
        lines = done.errors.strip().splitlines()
        said = lines[-1] if lines else message("exit code {code}", code=done.code)
        raise FetchError(message("git failed: {problem}", problem=printable(said, limit=500)))


def _last(source: str) -> str:
    path = urlsplit(source).path if "://" in source else source
    return unquote(re.split(r"[/:]", path.rstrip("/"))[-1])


def _refused(source: str, why: str) -> FetchError:
    return FetchError(message("{source} is refused: {reason}.", source=printable(source), reason=why))
