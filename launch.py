#!/usr/bin/env python3
"""Start sdterm, and install it first where that is still to do.

    python3 launch.py                         sdterm itself
    python3 launch.py generate "a red house"  any of its commands
    python3 launch.py test [--all] [...]      the test suite; --all adds what is heavy, the rest goes to pytest

On a fresh machine this makes `.venv`, installs the tested set (requirements.txt) and this clone, and notes that in a
stamp. Every later call finds the stamp and hands over. Each step is a line that says how far it is; what pip says goes
to a log. It answers to what AUTOMATIC1111's guide teaches; the table is in docs/how-to/install.md. Standard library
only, and no syntax newer than Python 3.6, so that an old Python can still say what is wrong.
"""

import os
import shutil
import signal
import sys


def unfit(version: "tuple[int | str, ...]", system: str) -> str:
    """Why sdterm cannot run on this Python and system, as a sentence; empty when it can."""
    if system == "nt":
        return "On Windows sdterm runs inside WSL: open a WSL terminal and run `python3 launch.py` there."
    if version >= (3, 11):
        return ""
    newer = next(filter(shutil.which, ["python3.14", "python3.13", "python3.12", "python3.11"]), "")
    advice = f"Run `{newer} launch.py` instead." if newer else "Install a newer Python, then run launch.py with it."
    return f"sdterm needs Python 3.11 or newer and this is {version[0]}.{version[1]}. {advice}"


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C just ends what has not begun to install
    if unfit(sys.version_info[:2], os.name):
        sys.exit(unfit(sys.version_info[:2], os.name))

import ast
import csv
import fcntl
import hashlib
import platform
import pty
import re
import shlex
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

HERE = Path(__file__).resolve().parent
SKIP = {"--skip-install", "--skip-prepare-environment"}
OUR_FLAGS = {*SKIP, "--reinstall-torch", "--system-torch"}
OUR_VARIABLES = {"COMMANDLINE_ARGS", "INDEX_URL", "PYTHON", "REQS_FILE", "TORCH_COMMAND", "VENV_DIR"}
ALIASES = {"python_cmd": "PYTHON", "venv_dir": "VENV_DIR"}  # as webui-user.sh calls them
# Test files are dealt out to several processes (tests/conftest.py says how many, and which go first); `-n 0` keeps them
# in one.
SIDE_BY_SIDE = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")

GIGABYTES = {"Linux": (2.8, 6), "Darwin": (0.2, 1)}  # with torch 2.13.0: to fetch, on disk
HELP = """: a Stable Diffusion workstation for the terminal.

    python3 launch.py                         install it, then open it
    python3 launch.py generate "a red house"  install it, then draw that
    python3 launch.py test                    install it, then run the test suite

It goes into {where}. To fetch: {size}.
Once it is installed, --help lists its commands. docs/how-to/install.md says more."""
LEAST_TORCH = (2, 6)
LENT = "torch-of-the-box.pth"
TORCH_QUESTION = """import os, torch
v = torch.version
hip = getattr(v, "hip", None)
print(torch.__version__, f"CUDA {v.cuda}" if v.cuda else f"ROCm {hip}" if hip else "for CPUs alone",
os.path.dirname(os.path.dirname(os.path.abspath(torch.__file__))), sep="\\n")"""
PIP_MANNERS = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}

# pip's settings → the variables and options of uv that mean the same. Those of pip's that change nothing of what is
# installed are `ASIDE`; with any other pip installs alone.
FOR_UV = {
    "index-url": "UV_INDEX_URL",  # addresses may hold a password: no other user of the machine sees a variable
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
    "no-binary": "--no-binary",
    "only-binary": "--only-binary",
}
FLAGS_FOR_UV = {"no-index": "--no-index", "no-cache-dir": "--no-cache", "require-hashes": "--require-hashes"}
ASIDE = {
    *(
        "cache-dir",
        "config-file",
        "debug",
        "disable-pip-version-check",
        "log",
        "no-color",
        "no-input",
        "no-python-version-warning",
    ),
    *("no-warn-script-location", "progress-bar", "quiet", "require-virtualenv", "retries", "root-user-action", "user"),
    *("verbose", "prefer-binary", "no-warn-conflicts"),
}
OF_UV = {"UV_CACHE_DIR", "UV_CONCURRENT_DOWNLOADS", "UV_LINK_MODE", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS"}
"""uv's own variables that stay: the others could change what is installed."""
UNITS = {"BYTES": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

# What pip complains of → what that means. The first that fits wins: offline, pip also "finds no distribution".
REASONS = {
    r"No space left|Errno 28|[Qq]uota exceeded": (
        "The disk is full: {where} has {free} GB left, {temporary} {spare} GB. Make room (or point TMPDIR at a roomier "
        "folder) and run this again; it carries on."
    ),
    r"externally-managed": (
        "This Python belongs to the system and takes no packages. Leave VENV_DIR=- out, and sdterm gets an environment "
        "of its own."
    ),
    r"Permission denied|Errno 13|Read-only file system": (
        "There is no permission to write in {where}. Mend that, or set VENV_DIR to a folder of yours."
    ),
    r"connection broken|[Cc]onnection (refused|reset|aborted)|name resolution|timed out|ProxyError|SSLError": (
        "The package index does not answer. Check the network (HTTPS_PROXY, INDEX_URL), then run this once more."
    ),
    r"No matching distribution found for (?P<name>[^\s;]+)": (
        "The package index has no {name} for Python {python} on {machine}. Try another Python (PYTHON), or name what "
        "fits this machine with TORCH_COMMAND or REQS_FILE."
    ),
}


class Stop(Exception):
    """The launcher cannot go on. The message is for the user: what happened, what to do."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Place(NamedTuple):
    """Where sdterm is installed: an interpreter, and the venv made for it (None: the interpreter is someone else's)."""

    python: Path
    venv: Path | None

    @property
    def home(self) -> Path:
        return self.venv or Path(sys.prefix)

    def stamp(self, name: str) -> Path:
        """The file that says what is installed, and is there only while that is proven."""
        return (self.venv or HERE) / f".installed-{name}"

    def mark(self, name: str) -> Path:
        """The file that is there while a step is unfinished; the lock's stays, and is held meanwhile."""
        return (self.venv or HERE) / f".installing-{name}"

    @property
    def log(self) -> Path:
        """What pip and the others say, as long as the installation is not complete."""
        return self.mark("log")


def main() -> None:
    settings = {**read_user_file(HERE / "webui-user.sh"), **os.environ}
    flags, arguments = split_flags(sys.argv[1:])
    flags_there, rest = split_flags(words_of(settings, "COMMANDLINE_ARGS"))
    if flags_there:
        settings["COMMANDLINE_ARGS"] = shlex.join(rest)
    flags |= flags_there

    place = find_place(settings.get("VENV_DIR", ""))
    testing = arguments[:1] == ["test"]
    if arguments[:1] in (["--help"], ["--version"]) and not flags & SKIP and not place.stamp("base").exists():
        more = HELP.format(where=place.home, size=size_of_torch(place)) if "--help" in arguments else ""
        print(version() + more)
        return
    if not flags & SKIP:
        lists = {"base": HERE / (settings.get("REQS_FILE") or "requirements.txt")}
        if testing:
            lists["tests"] = HERE / "requirements-test.txt"
        install(place, lists, settings, flags)
    elif not place.python.exists():
        raise Stop(f"Nothing is installed in {place.venv} yet. Run this once without --skip-install.")

    if testing:
        os.chdir(HERE)
        words = ["-m", "pytest", *SIDE_BY_SIDE, *arguments[1:]]
    else:
        words = ["-P", "-m", "sdterm", *arguments]  # -P: a random.py in the folder where someone stands is not ours
    os.execve(place.python, [str(place.python), *words], settings)


# What the user asked for


def version() -> str:
    found = re.search('__version__ = "(.+)"', (HERE / "sdterm" / "version.py").read_text(encoding="utf-8"))
    return f"sdterm {found[1] if found else '?'}, not installed yet"


def words_of(settings: Mapping[str, str], name: str) -> list[str]:
    try:
        return shlex.split(settings.get(name, ""))
    except ValueError as error:
        raise Stop(f"{name} cannot be read: {error}. Check its quotes.") from None


def split_flags(words: list[str]) -> tuple[set[str], list[str]]:
    """The launcher's own flags, and the rest, which is passed on. What stands behind `--` is never a flag."""
    end = words.index("--") if "--" in words else len(words)
    return OUR_FLAGS.intersection(words[:end]), [w for w in words[:end] if w not in OUR_FLAGS] + words[end:]


def read_user_file(path: Path) -> dict[str, str]:
    """The variables of A1111's webui-user.sh. Its assignments are read; nothing in it is executed."""
    found: dict[str, str] = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for export, name, value in re.findall(r"(?m)^[ \t]*(export[ \t]+)?(\w+)=(.*)$", text.replace("\\\n", "")):
        name = ALIASES.get(name, name)
        if not export and name not in OUR_VARIABLES:
            continue
        try:
            value = " ".join(shlex.split(value, comments=True)[:1])
        except ValueError:
            say(f"{path.name}: {name} is left out; its quotes do not close.")
            continue
        if "`" in value or "$(" in value:
            say(f"{path.name}: {name} is left out; its value would have to be executed, and this file is only read.")
            continue
        found[name] = expand(value, {**found, **os.environ})
    return found


def expand(value: str, variables: Mapping[str, str]) -> str:
    """`$HOME/venv` as a shell reads it."""
    return re.sub(r"\$\{?(\w+)\}?", lambda name: variables.get(name[1], ""), value)


def find_place(venv_dir: str) -> Place:
    """VENV_DIR: a folder, seen from the clone; `-`: no venv but this very interpreter; empty: `.venv`."""
    if venv_dir == "-":
        return Place(Path(sys.executable), None)
    venv = HERE / Path(venv_dir or ".venv").expanduser()
    return Place(venv / "bin" / "python", venv)


# Installing


def install(place: Place, lists: Mapping[str, Path], settings: Mapping[str, str], flags: AbstractSet[str]) -> None:
    """Install what the lists name, unless their stamps say that this is done."""
    torch_again = "--reinstall-torch" in flags
    box = "--system-torch" in flags and place.venv is not None and not lent_torch(place)
    if are_stamped(place, lists) and not (torch_again or box):
        return
    refuse_names(place)
    lent = box_torch(place, settings, asked="--system-torch" in flags)  # while there is somebody to ask
    try:
        place.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Stop(f"{place.home} cannot be made: {error.strerror}. Set VENV_DIR to a folder of yours.") from None
    with undisturbed(place):
        if are_stamped(place, lists) and not (torch_again or box):
            return  # another launch.py did it while this one waited
        # From here on nothing is believed, not even by whoever goes back to an older list, until all is proven again.
        for stamp in place.stamp("base").parent.glob(".installed-*"):
            stamp.unlink()
        place.log.unlink(missing_ok=True)
        packages = (None if box else find_packages(place)) or make_venv(place, settings)
        if lent:
            (packages / LENT).write_text(f"{lent}\n", encoding="utf-8")
        wanted = {name: version for path in lists.values() for name, version in pinned(path).items()}
        forget_half_installed(place, packages, {*wanted, *pinned(HERE / "constraints-cuda.txt")})
        install_pip(place, settings)
        announce(place, missing(lists.values(), place, packages, settings), settings)
        install_lists(place, lists, packages, settings, torch_again)
        install_clone(place, settings)
        os.sync()  # as in unfinished()
        for name, path in lists.items():
            place.stamp(name).write_text(digest(place, path))
        place.log.unlink(missing_ok=True)
        say("Installed.")


def refuse_names(place: Place) -> None:
    """Refuse a folder in which what is installed would not work."""
    unreadable = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
    if re.search(rf"{unreadable}|\s$", str(HERE)):
        raise Stop(
            f"Python cannot import from {str(HERE)!r}: a folder's name there has a line break, another control "
            "character or bytes that are no UTF-8, or ends with a space. Rename it, then run this again."
        )
    found = re.search(rf"""{unreadable}|[:"$`\\]|'''""", str(place.venv or ""))
    if found:
        raise Stop(
            f"Commands in an environment in {str(place.venv)!r} would not work: pip writes that name into them, where "
            f"{found[0]!r} means something else. Rename the folder, or set VENV_DIR to another."
        )


def are_stamped(place: Place, lists: Mapping[str, Path]) -> bool:
    stamps = {place.stamp(name): digest(place, path).encode() for name, path in lists.items()}
    whole = (stamp.is_file() and stamp.read_bytes() == now for stamp, now in stamps.items())
    return os.access(place.python, os.X_OK) and all(whole)


def digest(place: Place, wanted: Path) -> str:
    """All that an installation depends on: the lists; the clone's path, since it is installed in place; and the real
    interpreter, since a system's upgrade from 3.11 to 3.12 leaves a venv without its packages."""
    found = hashlib.sha256(os.fsencode(f"{HERE}\n{os.path.realpath(place.python)}"))
    for path in (wanted, HERE / "constraints-cuda.txt", HERE / "pyproject.toml"):
        try:
            found.update(path.read_bytes())
        except OSError as error:
            raise Stop(f"{path} cannot be read: {error.strerror}. Restore it, or check REQS_FILE.") from None
    return found.hexdigest()


@contextmanager
def undisturbed(place: Place) -> Iterator[None]:
    """One installation at a time, ended tidily by Ctrl+C, `kill` and a dropped connection.

    Whatever is run meanwhile has the lock as its stdin and passes it on to what it runs itself: even a grandchild that
    `kill -9` orphaned is waited for, and none reads what was piped to sdterm.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ours = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup keeps its word
    before = {number: signal.signal(number, interrupted) for number in ours}
    try:
        with place.mark("lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another launch.py is installing; this one waits for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                pass  # a file system without locks
            stdin = os.dup(0)
            os.dup2(lock.fileno(), 0)
            yield
            os.dup2(stdin, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupted(number: int, _frame: object) -> NoReturn:
    raise Stop("Interrupted. What is there stays; the next call carries on.", 128 + number)


@contextmanager
def unfinished(place: Place, name: str) -> Iterator[None]:
    """Mark a step as begun. Whatever ends it early leaves the mark, and a later call does the step again."""
    place.mark(name).touch()
    yield
    os.sync()  # a power cut must not keep the end of the mark and lose what was made
    place.mark(name).unlink()


def find_packages(place: Place) -> Path | None:
    """The site-packages of a whole environment with a Python that is new enough; None where there is no such thing."""
    probe = """import sys, sysconfig
assert sys.version_info >= (3, 11)
print(sys.prefix, sysconfig.get_path("purelib"), sep="\\n")"""
    prefix, _, packages = ask(place.python, probe).partition("\n")
    if not packages or place.mark("environment").exists():
        return None
    # Without its pyvenv.cfg a venv's Python speaks for the system, and after an upgrade for a folder yet to be made.
    if place.venv and not (os.path.samefile(prefix, place.venv) and os.path.isdir(packages)):
        return None
    return Path(packages)


def make_venv(place: Place, settings: Mapping[str, str]) -> Path:
    """A new venv, yet without pip, in place of a broken one or of nothing. Returns its site-packages."""
    if not place.venv:
        raise Stop(f"VENV_DIR=- means this Python, {place.python}, and it does not run. Leave VENV_DIR out.")
    ours = any(path.is_file() for path in (place.venv / "pyvenv.cfg", place.mark("environment")))
    if os.listdir(place.venv) != [place.mark("lock").name] and not ours:
        place.mark("lock").unlink()
        raise Stop(f"{place.venv} is not a Python environment. Move it away, or set VENV_DIR to another folder.")
    python = settings.get("PYTHON") or sys.executable
    # The base, as venv itself takes it: launch.py may run on the very environment that is cleared here.
    question = "import sys; print(*sys.version_info[:2], sep='.'); print(sys._base_executable)"
    version, _, base = ask(python, question).partition("\n")
    if not version:
        raise Stop(f"PYTHON names {python}, which does not run. Correct or unset it (python_cmd in webui-user.sh).")
    reason = unfit(tuple(map(int, version.split("."))), os.name)
    if reason:
        raise Stop(f"PYTHON names {python}. {reason} Or unset PYTHON (python_cmd in webui-user.sh).")
    if not ask(python, "import venv, ensurepip; print('both')"):
        raise Stop(f"{python} lacks venv. On Debian and Ubuntu `sudo apt install python{version}-venv` adds it.")
    if settings.get("VENV_DIR") == "":
        say("VENV_DIR is empty, and that means .venv (A1111's guide has it wrong); `-` means no venv.")
    with unfinished(place, "environment"):
        for path in set(place.venv.iterdir()) - {place.mark("environment"), place.mark("lock")}:
            delete(path)
        run("Environment", [base, "-m", "venv", "--without-pip", str(place.venv)], place, settings)
    packages = find_packages(place)
    if not packages:
        raise Stop(f"The new environment in {place.venv} does not work. Name another Python with PYTHON.")
    return packages


def install_pip(place: Place, settings: Mapping[str, str]) -> None:
    """pip, where it is missing or was not finished."""
    proof = "import pip, importlib.metadata; print(importlib.metadata.version('pip'))"
    if ask(place.python, proof) and not place.mark("pip").exists():
        return
    if not place.venv:
        raise Stop(f"VENV_DIR=- means this Python, {place.python}, and it has no pip. Leave VENV_DIR out.")
    with unfinished(place, "pip"):
        run("pip", [str(place.python), "-m", "ensurepip", "--default-pip"], place, settings)


def forget_half_installed(place: Place, packages: Path, listed: AbstractSet[str]) -> None:
    """Remove what pip would take for complete and is not: it or uv was killed, or a power cut took what it had written.
    In a Python that is someone else's, only of what is listed and has an INSTALLER."""
    half: list[Path] = []
    whole: list[Path] = []
    for folder in packages.glob("*.dist-info"):
        ours = place.venv or ((folder / "INSTALLER").is_file() and plain(folder.name.partition("-")[0]) in listed)
        (half if ours and is_half_installed(folder) else whole).append(folder)
    aside = [folder for folder in half if folder.name.startswith("~")]  # pip's, until the new version is there
    if place.venv and aside:  # what it had not yet put aside would stay among the new version's files
        kept = {path for folder in whole for path in recorded(folder)}
        for path in {path for folder in aside for path in recorded(folder)} - kept:
            with suppress(OSError, ValueError):
                os.unlink(path)
    for folder in half:
        delete(folder)
    for leftover in packages.glob("~*") if place.venv else ():
        delete(leftover)


def recorded(folder: Path) -> set[str]:
    """A package's files in its environment, as the RECORD of its dist-info folder has them; none if that is broken."""
    environment = os.path.normpath(folder.parents[3]) + os.sep
    try:
        with (folder / "RECORD").open(encoding="utf-8", newline="") as lines:
            paths = {os.path.normpath(folder.parent / row[0]) for row in csv.reader(lines) if row}
    except (OSError, ValueError, csv.Error):
        return set()
    return {path for path in paths if path.startswith(environment)}


def is_half_installed(folder: Path) -> bool:
    """Whether pip or uv did not finish the package of a dist-info folder, or lost files of it since.

    Both unpack a wheel's RECORD, and in the end write one that lists INSTALLER, too. Other installers may leave RECORD
    out or strip files; and people add to files, such as their company's certificates to certifi's.
    """
    installer, record = folder / "INSTALLER", folder / "RECORD"
    try:
        if installer.read_text(encoding="utf-8").strip() not in ("pip", "uv", ""):
            return False
        with record.open(encoding="utf-8", newline="") as lines:
            sizes = {path: int(size or 0) for path, _, size in csv.reader(lines) if not path.endswith(".pyc")}
        lost = (size > (folder.parent / path).stat().st_size for path, size in sizes.items())
        return f"{folder.name}/INSTALLER" not in sizes or any(lost)
    except (OSError, ValueError, csv.Error):
        return True  # what cannot be read is not whole either


def delete(path: Path) -> None:
    """A file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


# The torch of the box


def box_torch(place: Place, settings: Mapping[str, str], asked: bool) -> str:
    """The folder of the torch that this box has already and that a new environment is to use; empty: it gets its own.
    Asked for by --system-torch, else the user is asked, once: the environment keeps the answer."""
    if not place.venv or lent_torch(place):
        return ""
    is_new = not os.access(place.python, os.X_OK)
    may_ask = is_new and not settings.get("TORCH_COMMAND") and sys.stdin.isatty() and sys.stderr.isatty()
    if not (asked or may_ask):
        return ""
    python = settings.get("PYTHON") or sys.executable
    version, _, rest = ask(python, TORCH_QUESTION).partition("\n")
    build, _, folder = rest.partition("\n")
    fits = tuple(map(int, re.findall(r"\d+", version)[:2])) >= LEAST_TORCH
    if asked and not fits:
        have = f"has torch {version}" if version else "has no torch that can be imported"
        least = ".".join(map(str, LEAST_TORCH))
        raise Stop(f"--system-torch: {python} {have}; it needs {least} or newer. Name the Python that has it: PYTHON=…")
    if not asked and fits:
        size = GIGABYTES.get(platform.system(), GIGABYTES["Linux"])[0]
        print(f"{python} has torch {version} ({build}) already.", file=sys.stderr)
        print(f"Use it instead of fetching another one (up to {size} GB)? [Y/n] ", end="", file=sys.stderr, flush=True)
        asked = sys.stdin.readline().strip().lower() in ("", "y", "yes")
    if asked and fits:
        say(f"Using torch {version} ({build}) of {python}.")
        return folder
    return ""


def lent_torch(place: Place) -> Path | None:
    """The file that lends an environment the packages of the box, behind its own, if there is one."""
    return next(place.venv.glob(f"lib*/python*/site-packages/{LENT}"), None) if place.venv else None


def announce(place: Place, sizes: Mapping[str, float], settings: Mapping[str, str]) -> None:
    """Say what is about to happen, where, and how much there is to fetch."""
    size = "less than 0.1 GB"
    if "torch" in sizes:
        size = size_of_torch(place)
    elif settings.get("TORCH_COMMAND"):
        size += ", and what TORCH_COMMAND brings"
    say(f"Installing up to {len(sizes)} packages in {place.home}. To fetch: {size}.")
    say("Ctrl+C stops this; the next call carries on from there.")


def size_of_torch(place: Place) -> str:
    """How much there is to fetch with it."""
    fetch, disk = GIGABYTES.get(platform.system(), GIGABYTES["Linux"])
    size = f"up to {fetch} GB, which take {disk} of the {free_gigabytes(place.home)} GB free there"
    return f"{size} (PyTorch's usual build for Linux brings CUDA)" if platform.system() == "Linux" else size


def install_lists(
    place: Place, lists: Mapping[str, Path], packages: Path, settings: Mapping[str, str], torch_again: bool
) -> None:
    """The listed packages. As long as TORCH_COMMAND is set, torch is its business and not the list's; nor is it where
    the box has lent its own."""
    command = words_of(settings, "TORCH_COMMAND")
    torch = pinned(lists["base"]).get("torch")
    if command and (torch_again or place.mark("torch").exists() or "torch" not in installed(packages)):
        with unfinished(place, "torch"):  # it may install more than torch
            run("torch", command, place, settings, Meter({}, packages))
    elif torch_again and torch and not lent_torch(place):
        words = ["pip", "install", "--force-reinstall", "--no-deps", f"torch=={torch}"]
        run("torch", words, place, settings, Meter({}, packages))
    for name, path in lists.items():
        requirements = without_torch(path) if command or lent_torch(place) else ["--requirement", str(path)]
        # What the tests add is listed to the last transitive package, and one of them asks for far more than is used.
        words = ["install", *(["--no-deps"] if name == "tests" else []), *requirements]
        sizes = missing([path], place, packages, settings)
        if sizes and run_uv(words, place, settings, Meter(sizes, packages)):
            forget_half_installed(place, packages, {*sizes})
            sizes = missing([path], place, packages, settings)
        # After uv, pip has nothing to do but to see that it is so.
        run("Checking", ["pip", *words], place, settings, Meter(sizes, packages))


def install_clone(place: Place, settings: Mapping[str, str]) -> None:
    """This clone itself, in place. The tested set holds the build tool; with a list that does not, pip fetches it.
    As a URL, because pip takes `[…]` in a path for extras."""
    ready = ["--no-build-isolation"] if ask(place.python, "import hatchling; print('ready')") else []
    run("sdterm", ["pip", "install", "--no-deps", *ready, "--editable", HERE.as_uri()], place, settings)


def missing(lists: Iterable[Path], place: Place, packages: Path, settings: Mapping[str, str]) -> dict[str, float]:
    """The listed packages that are not there, and how many bytes each is to fetch, as far as the lists say that."""
    have, cuda = installed(packages), HERE / "constraints-cuda.txt"
    wanted = {name: version for path in lists for name, version in pinned(path).items()}
    if settings.get("TORCH_COMMAND") or lent_torch(place):
        wanted.pop("torch", None)
    if platform.system() == "Linux" and wanted.get("torch", have.get("torch")) != have.get("torch"):
        wanted = {**wanted, **pinned(cuda)}  # which PyTorch's usual build brings
    text = "".join(path.read_text(encoding="utf-8") for path in [HERE / "requirements.txt", cuda] if path.is_file())
    said = {plain(name): float(size) * 1e6 for name, size in re.findall(r"(?m)^([\w.-]+)==.*# (\d+) MB$", text)}
    return {name: said.get(name, 5e5) for name, version in wanted.items() if have.get(name) != version}


def pinned(wanted: Path) -> dict[str, str]:
    """The `name==version` lines of a list."""
    lines = re.findall(r"(?m)^([\w.-]+)==([^\s;#]+)", wanted.read_text(encoding="utf-8"))
    return {plain(name): version for name, version in lines}


def installed(packages: Path) -> dict[str, str]:
    """What is there; the `+cpu` of `2.13.0+cpu` is nothing a list asks for."""
    names = (folder.name[: -len(".dist-info")].partition("-") for folder in packages.glob("*.dist-info"))
    return {plain(name): version.partition("+")[0] for name, _, version in names}


def plain(name: str) -> str:
    """One spelling for a package's name: `pydantic_core` → `pydantic-core`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def without_torch(wanted: Path) -> list[str]:
    """A list as words for pip: all but its torch."""
    words = []
    for line in wanted.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        other_list = re.match(r"(-[cr])\s+(.+)", line)
        if other_list:
            words += [other_list[1], str(wanted.parent / other_list[2])]
        elif line and not re.match(r"torch(?![\w.-])", line):
            words.append(line)
    return words


# Running and telling


def run(
    name: str, words: Sequence[str], place: Place, settings: Mapping[str, str], meter: "Meter | None" = None
) -> None:
    """Run one step, with a line on stderr that says how far it is, for stdout is for data. What it says itself goes to
    the log; its complaints become one sentence."""
    if words[0] in ("pip", "pip3"):
        words = [str(place.python), "-m", "pip", *words[1:]]
    with tempfile.TemporaryDirectory(prefix="sdterm-") as folder:
        environment = {**environment_of(place, settings), "TMPDIR": folder}
        if meter:
            meter.temporary = Path(folder)
        said = place.log.stat().st_size if place.log.exists() else 0
        with place.log.open("ab") as log, place.log.open("rb") as reading:
            reading.seek(said)
            code = watch(name, words, environment, log.fileno(), reading.fileno(), meter)
            reading.seek(said)
            complaints = reading.read().decode("utf-8", "replace")
    if code:
        raise Stop(f"{explain(complaints, place.home)} All that was said is in {place.log}.")


def run_uv(words: Sequence[str], place: Place, settings: Mapping[str, str], meter: "Meter") -> bool:
    """Let uv install what it can, if there is one: it is many times as fast as pip. Whether it did something."""
    uv = shutil.which("uv", path=settings.get("PATH"))
    if not uv or not place.venv:
        return False
    try:
        if lent_torch(place):
            raise Stop("it does not see the torch of the box")
        options, variables = uv_settings(place, settings)
        environment = {name: value for name, value in settings.items() if name in OF_UV or not name.startswith("UV_")}
        master, slave = pty.openpty()  # only to a terminal it says how far it is
    except (Stop, OSError) as error:
        say(f"uv is here, but pip installs: {error}.")
        return False
    words = [uv, "pip", *words, "--python", str(place.python), "--no-config", "--compile-bytecode", *options]
    words += ["--index-strategy", "unsafe-best-match"]  # as pip
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 99, 200, 0, 0))
        os.set_blocking(master, False)
        code = watch("uv", words, {**environment, **variables, "TERM": "xterm"}, slave, master, meter)
    finally:
        os.close(master)
        os.close(slave)
    with place.log.open("a", encoding="utf-8") as log:
        log.writelines(f"{line}\n" for line in meter.said)
    if code:
        reasons = [line for line in meter.said if re.match(r"error|×", line)]
        say(f"uv stopped, and pip goes on: {(reasons + meter.said + ['it does not say why'])[0]}")
    return True


def uv_settings(place: Place, settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """pip's settings as options and variables of uv. Raises Stop if there is one that uv has not."""
    options, variables = list[str](), dict[str, str]()
    for key, value in pip_settings(place, settings).items():
        if key in FLAGS_FOR_UV:
            options += [FLAGS_FOR_UV[key]] if value.lower() in ("1", "true", "yes", "y", "on", "t") else []
        elif FOR_UV.get(key, "").startswith("--"):
            options += [word for each in value.split() for word in (FOR_UV[key], each)]
        elif key in FOR_UV:
            variables[FOR_UV[key]] = " ".join(value.split())
        elif key not in ASIDE:
            raise Stop(f"uv has nothing for pip's setting {key}")
    return options, variables


def pip_settings(place: Place, settings: Mapping[str, str]) -> dict[str, str]:
    """What pip's configuration and variables say for `pip install`; what counts more comes later."""
    words = [str(place.python), "-m", "pip", "config", "list"]
    said = subprocess.run(words, env=environment_of(place, settings), cwd=HERE, capture_output=True, text=True)
    if said.returncode:
        raise Stop("pip's configuration cannot be read")
    found = re.findall(r"(?m)^(global|install|:env:)\.([\w-]+)=(.+)$", said.stdout)
    found.sort(key=lambda each: ("global", "install", ":env:").index(each[0]))
    return {key: str(ast.literal_eval(value)) for _, key, value in found if ast.literal_eval(value)}


def environment_of(place: Place, settings: Mapping[str, str]) -> dict[str, str]:
    """The variables that pip gets."""
    environment = {**settings, **PIP_MANNERS}
    environment["PATH"] = f"{place.python.parent}{os.pathsep}{settings.get('PATH', os.defpath)}"
    if place.venv:
        environment["PIP_USER"] = "0"  # some people's pip.conf says otherwise, and no venv survives that
    if settings.get("INDEX_URL"):
        environment["PIP_INDEX_URL"] = settings["INDEX_URL"]
    return environment


def watch(
    name: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    out: int,
    reading: int,
    meter: "Meter | None",
) -> int:
    """Run a program that writes to `out` and is read from `reading`. Returns its exit code."""
    LINE.begin((meter and meter.state()[0]) or name)
    with subprocess.Popen(words, env=environment, cwd=HERE, stdout=out, stderr=out) as process:
        try:
            while True:
                has_ended = process.poll() is not None
                try:
                    piece = os.read(reading, 1 << 16)
                except OSError:  # a terminal that nobody has written to
                    piece = b""
                if meter and piece:
                    meter.hear(piece.decode("utf-8", "replace"))
                if not piece and has_ended:
                    break
                if not piece:
                    time.sleep(0.1)
                    LINE.show(*(meter.state() if meter else ("", None, "")))
        except Stop:
            process.send_signal(signal.SIGINT)  # for when only launch.py was told; pip tidies up on it,
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=3)
            process.terminate()  # unless whoever started us has SIGINT ignored
            process.wait()
            raise
    if not process.returncode:
        LINE.end()
    return process.returncode


class Meter:
    """How far the packages of a step are: from what pip or uv says, and from what is on the disk.

    sizes: the packages that are wanted, and how many bytes each is to fetch: guesses, until pip or uv says it.
    """

    def __init__(self, sizes: Mapping[str, float], packages: Path) -> None:
        self.sizes, self.packages = dict(sizes), packages
        self.temporary: Path | None = None
        """Where pip puts what it fetches."""
        self.said = list[str]()
        """The lines that were heard, but for uv's bars."""
        self._have = dict[str, float]()  # package → bytes that were fetched
        self._prepared = -1  # packages that are ready, as uv counts them
        self._before = {*installed(packages).items()}
        self._phase, self._since, self._rest = "Resolving", time.monotonic(), ""

    def hear(self, text: str) -> None:
        """Take in what pip or uv says, however it is cut."""
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + text)
        for line in lines:
            self._hear_line(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line).strip())

    def _hear_line(self, line: str) -> None:
        amount = r"([\d.]+) ?(bytes|[kKMG]?i?B)"
        prepared = re.search(r"Preparing packages\.\.\. \((\d+)/\d+\)", line)
        bars = re.findall(rf"([\w.-]+) +-+ +{amount}/{amount}", line)
        of_pip = re.match(rf"(?:Downloading|Using cached|Processing) (?:.*/)?([^/]+)\.whl(?: \({amount}\))?$", line)
        if prepared or bars:
            self._turn_to("Fetching")
            self._prepared = int(prepared[1]) if prepared else self._prepared
            for name, have, unit, size, unit_of_size in bars:
                self._have[plain(name)] = in_bytes(have, unit)
                self.sizes[plain(name)] = in_bytes(size, unit_of_size)
        elif of_pip:
            self._turn_to("Fetching")
            file, size, unit = of_pip.groups()
            name = plain(file.partition("-")[0])
            self.sizes[name] = in_bytes(size, unit) if size else self.sizes.get(name, 0)
            self._have[name] = 0 if size else self.sizes[name]
            if name == "torch" and re.search(r"(\+|%2B)(?!cu)", file):
                self._want_no_cuda()
        elif re.match(r"Installing collected packages|Prepared \d+ package", line):
            self._turn_to("Installing")
        resolved = re.match(r"Resolved (\d+) package", line)
        if resolved and int(resolved[1]) <= len(self.sizes.keys() - pinned(HERE / "constraints-cuda.txt").keys()):
            self._want_no_cuda()
        if line and not bars and not re.match("[\u2800-\u28ff\u2588-\u2593]", line):  # no wheel that turns, no bar
            self.said.append(line)

    def _turn_to(self, phase: str) -> None:
        if phase != self._phase:
            self._phase, self._since = phase, time.monotonic()

    def _want_no_cuda(self) -> None:
        for name in pinned(HERE / "constraints-cuda.txt"):
            self.sizes.pop(name, None)

    def state(self) -> tuple[str, float | None, str]:
        """What is being done, how much of it is done, and what to say about that."""
        if not self.sizes:
            return "", None, ""
        if self._phase == "Resolving":
            return self._phase, None, f"{len(self.sizes)} packages"
        have, total = self._fetched(), sum(self.sizes.values())
        if self._phase == "Installing":
            names = {name for name, _ in {*installed(self.packages).items()} - self._before} & self.sizes.keys()
            share = sum(self.sizes[name] for name in names) / (total or 1)
            told = f"{len(names)} of {len(self.sizes)} packages"
        else:
            if self._prepared >= 0:  # uv begins to fetch all of them at once; what is on this machine has no bar
                total = sum(self.sizes[name] for name in have)
            whole = sum(have.get(name, 0) > 0.98 * size for name, size in self.sizes.items())
            whole = max(whole, self._prepared)
            share = min(1, sum(have.values()) / total) if total else whole / len(self.sizes)
            told = f"{whole} of {len(self.sizes)} packages"
            told += f", {amounts(sum(have.values()), total)}" if total else ""
        passed = time.monotonic() - self._since
        left = f", {duration(passed / share - passed)} left" if passed > 2 and 0.01 < share < 1 else ""
        return self._phase, share, told + left

    def _fetched(self) -> dict[str, float]:
        """The bytes that were fetched of each package."""
        files = list[Path]()
        with suppress(OSError):  # pip removes its folder at a moment of its own
            files = [*self.temporary.glob("pip-unpack-*/*.whl")] if self.temporary else []
        for file in files:
            with suppress(OSError):
                name, size = plain(file.name.partition("-")[0]), file.stat().st_size
                self._have[name], self.sizes[name] = size, max(size, self.sizes.get(name, 0))  # sizes are said rounded
        return self._have


class Line:
    """The line about the step that is under way: redrawn on a terminal; elsewhere each quarter of the way is one."""

    def __init__(self) -> None:
        self.is_redrawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._name, self._since, self._quarters, self._width = "", 0.0, 0, 0

    def begin(self, name: str) -> None:
        """A step begins."""
        self._name, self._since, self._quarters = name, time.monotonic(), 0
        self._draw(name) if self.is_redrawn else print(f"{name} ...", file=sys.stderr, flush=True)

    def show(self, name: str, share: float | None, facts: str) -> None:
        """How far it is. Another name: the one before is done, and this one is under way."""
        if name and name != self._name:
            self.end()
            self.begin(name)
        quarters = int(4 * (share or 0))
        if self.is_redrawn:
            bar = "" if share is None else f"[{'#' * round(20 * share):-<20}] "
            self._draw(f"{self._name:<12} {bar}{facts or duration(time.monotonic() - self._since)}")
        elif self._quarters < quarters < 4:
            print(f"{self._name}: {25 * quarters} %, {facts}", file=sys.stderr, flush=True)
        self._quarters = quarters

    def end(self) -> None:
        """The step is done."""
        done = f"done in {duration(time.monotonic() - self._since)}"
        if self.is_redrawn:
            self._draw(f"{self._name:<12} {done}")
        else:
            print(f"{self._name}: {done}", file=sys.stderr, flush=True)
        self.leave()

    def leave(self) -> None:
        """Let what is said next have a line of its own."""
        if self._width:
            print(file=sys.stderr, flush=True)
        self._width = 0

    def _draw(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(text)


LINE = Line()


def in_bytes(number: str, unit: str) -> float:
    """What `1.5 MB` is."""
    return float(number) * UNITS[unit.upper()]


def amounts(have: float, total: float) -> str:
    """`0.5 of 2.8 GB`"""
    unit, size = ("GB", 1e9) if total >= 1e9 else ("MB", 1e6)
    digits = 1 if unit == "GB" else 0
    return f"{have / size:.{digits}f} of {total / size:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """`8 s`, `3:05 min`"""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"


def ask(python: str | Path, code: str) -> str:
    """What a line of Python prints in that interpreter; empty if it fails or there is no such interpreter."""
    try:
        answer = subprocess.run([python, "-c", code], cwd=HERE, capture_output=True, text=True)
    except OSError:
        return ""
    return "" if answer.returncode else answer.stdout.strip()


def explain(complaints: str, where: Path) -> str:
    """One sentence for what pip or the system complains of; pip's own words where we have none."""
    temporary = Path(tempfile.gettempdir())
    facts = {
        "where": where,
        "free": free_gigabytes(where),
        "temporary": temporary,
        "spare": free_gigabytes(temporary),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for pattern, sentence in REASONS.items():
        fit = re.search(pattern, complaints)
        if fit:
            return sentence.format(**facts, **fit.groupdict())
    lines = [line for line in complaints.strip().splitlines() if re.match(r"(?i)error\b", line)]
    said = "\n".join(lines or complaints.strip().splitlines()[-5:])
    return f"{said}\nThe installation stopped for the reason above. Run this again to carry on."


def free_gigabytes(path: Path) -> float:
    """Free gigabytes where `path` is or will be."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return round(shutil.disk_usage(existing).free / 1e9, 1)


def say(sentence: str) -> None:
    LINE.leave()
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except Stop as stop:
        say(str(stop))
        sys.exit(stop.code)
    except OSError as error:
        say(explain(str(error), Path(error.filename or __file__).parent))
        sys.exit(1)
