#!/usr/bin/env python3
"""Start sdterm, and install it first where that is still to do.

    python3 launch.py                         sdterm itself
    python3 launch.py generate "a red house"  any of its commands
    python3 launch.py test [--all] [...]      the test suite; --all adds what is heavy, the rest goes to pytest

On a fresh machine this makes `.venv`, installs the tested set (requirements.txt) and this clone, and notes that in a
stamp. Every later call finds the stamp and hands over. It answers to what AUTOMATIC1111's guide teaches; the table is
in docs/how-to/install.md. Standard library only, and no syntax newer than Python 3.6, so that an old Python can still
say what is wrong.
"""

import os
import shutil
import signal
import sys


def unfit(version: tuple[int | str, ...], system: str) -> str:
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

import csv
import fcntl
import hashlib
import platform
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

HERE = Path(__file__).resolve().parent
SKIP = {"--skip-install", "--skip-prepare-environment"}
OUR_FLAGS = {*SKIP, "--reinstall-torch", "--system-torch"}
OUR_VARIABLES = {"COMMANDLINE_ARGS", "INDEX_URL", "PYTHON", "REQS_FILE", "TORCH_COMMAND", "VENV_DIR"}
ALIASES = {"python_cmd": "PYTHON", "venv_dir": "VENV_DIR"}  # as webui-user.sh calls them
# Test files are dealt out to several processes (tests/conftest.py says how many); `-n 0` keeps them in one.
SIDE_BY_SIDE = ("-n", "auto", "--dist", "loadfile")

GIGABYTES = {"Linux": (2.8, 6), "Darwin": (0.2, 1)}  # with torch 2.13.0: to fetch, on disk
LEAST_TORCH = (2, 6)
LENT = "torch-of-the-box.pth"
TORCH_QUESTION = """import os, torch
v = torch.version
hip = getattr(v, "hip", None)
print(torch.__version__, f"CUDA {v.cuda}" if v.cuda else f"ROCm {hip}" if hip else "for CPUs alone",
os.path.dirname(os.path.dirname(os.path.abspath(torch.__file__))), sep="\\n")"""
PIP_MANNERS = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}

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


def main() -> None:
    settings = {**read_user_file(HERE / "webui-user.sh"), **os.environ}
    flags, arguments = split_flags(sys.argv[1:])
    flags_there, rest = split_flags(words_of(settings, "COMMANDLINE_ARGS"))
    if flags_there:
        settings["COMMANDLINE_ARGS"] = shlex.join(rest)
    flags |= flags_there

    place = find_place(settings.get("VENV_DIR", ""))
    testing = arguments[:1] == ["test"]
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
        packages = (None if box else find_packages(place)) or make_venv(place, settings)
        if lent:
            (packages / LENT).write_text(f"{lent}\n", encoding="utf-8")
        wanted = {name: version for path in lists.values() for name, version in pinned(path).items()}
        forget_half_installed(place, packages, {*wanted, *pinned(HERE / "constraints-cuda.txt")})
        install_pip(place, settings)
        announce(place, wanted, packages, settings)
        install_lists(place, lists, packages, settings, torch_again)
        install_clone(place, settings)
        os.sync()  # as in unfinished()
        for name, path in lists.items():
            place.stamp(name).write_text(digest(place, path))
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
    say(f"Making a Python environment in {place.venv}.")
    with unfinished(place, "environment"):
        for path in set(place.venv.iterdir()) - {place.mark("environment"), place.mark("lock")}:
            delete(path)
        run([base, "-m", "venv", "--without-pip", str(place.venv)], place, settings)
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
        run([str(place.python), "-m", "ensurepip", "--default-pip"], place, settings)


def forget_half_installed(place: Place, packages: Path, listed: set[str]) -> None:
    """Remove what pip would take for complete and is not: it was killed, or a power cut took what it had written.
    In a Python that is someone else's, only of what is listed and has an INSTALLER."""
    for folder in packages.glob("*.dist-info"):
        ours = place.venv or ((folder / "INSTALLER").is_file() and plain(folder.name.partition("-")[0]) in listed)
        if ours and is_half_installed(folder):
            delete(folder)
    for leftover in packages.glob("~*") if place.venv else ():
        delete(leftover)  # pip puts an old version aside like this, until the new one is there


def is_half_installed(folder: Path) -> bool:
    """Whether pip did not finish the package of a dist-info folder, or lost files of it since.

    pip unpacks a wheel's RECORD, and in the end writes one that lists INSTALLER, too. Other installers may leave RECORD
    out or strip files; and people add to files, such as their company's certificates to certifi's.
    """
    installer, record = folder / "INSTALLER", folder / "RECORD"
    try:
        if installer.read_text(encoding="utf-8").strip() not in ("pip", ""):
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


def announce(place: Place, wanted: Mapping[str, str], packages: Path, settings: Mapping[str, str]) -> None:
    """Say what is about to happen, where, and how much there is to fetch."""
    have = installed(packages)
    missing = [name for name, version in wanted.items() if have.get(name) != version]
    if lent_torch(place):
        missing = [name for name in missing if name != "torch"]
    count, size = len(missing), "less than 0.1 GB"
    if "torch" in missing and settings.get("TORCH_COMMAND"):
        count, size = count - 1, f"{size}, and what TORCH_COMMAND brings"
    elif "torch" in missing:
        fetch, disk = GIGABYTES.get(platform.system(), GIGABYTES["Linux"])
        size = f"up to {fetch} GB, which take {disk} of the {free_gigabytes(place.home)} GB free there"
        if platform.system() == "Linux":
            count += len(pinned(HERE / "constraints-cuda.txt"))
            size += " (PyTorch's usual build for Linux brings CUDA)"
    say(f"Installing up to {count} packages in {place.home}. To fetch: {size}.")
    say("Ctrl+C stops this; the next call carries on from there.")


def install_lists(
    place: Place, lists: Mapping[str, Path], packages: Path, settings: Mapping[str, str], torch_again: bool
) -> None:
    """The listed packages. As long as TORCH_COMMAND is set, torch is its business and not the list's; nor is it where
    the box has lent its own."""
    command = words_of(settings, "TORCH_COMMAND")
    torch = pinned(lists["base"]).get("torch")
    if command and (torch_again or place.mark("torch").exists() or "torch" not in installed(packages)):
        with unfinished(place, "torch"):  # it may install more than torch
            run(command, place, settings)
    elif torch_again and torch and not lent_torch(place):
        run(["pip", "install", "--force-reinstall", "--no-deps", f"torch=={torch}"], place, settings)
    for name, path in lists.items():
        requirements = without_torch(path) if command or lent_torch(place) else ["--requirement", str(path)]
        # What the tests add is listed to the last transitive package, and one of them asks for far more than is used.
        options = ["--no-deps"] if name == "tests" else []
        run(["pip", "install", *options, *requirements], place, settings)


def install_clone(place: Place, settings: Mapping[str, str]) -> None:
    """This clone itself, in place. The tested set holds the build tool; with a list that does not, pip fetches it.
    As a URL, because pip takes `[…]` in a path for extras."""
    ready = ["--no-build-isolation"] if ask(place.python, "import hatchling; print('ready')") else []
    run(["pip", "install", "--no-deps", *ready, "--editable", HERE.as_uri()], place, settings)


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


def run(words: list[str], place: Place, settings: Mapping[str, str]) -> None:
    """Run one step. Its progress goes to stderr, for stdout is for data; its complaints become one sentence."""
    if words[0] in ("pip", "pip3"):
        words = [str(place.python), "-m", "pip", *words[1:]]
    environment = {**settings, **PIP_MANNERS}
    environment["PATH"] = f"{place.python.parent}{os.pathsep}{settings.get('PATH', os.defpath)}"
    if place.venv:
        environment["PIP_USER"] = "0"  # some people's pip.conf says otherwise, and no venv survives that
    if settings.get("INDEX_URL"):
        environment["PIP_INDEX_URL"] = settings["INDEX_URL"]
    with subprocess.Popen(
        words,
        env=environment,
        cwd=HERE,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            complaints = process.communicate()[1]
        except Stop:
            process.send_signal(signal.SIGINT)  # for when only launch.py was told; pip tidies up on it,
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=3)
            process.terminate()  # unless whoever started us has SIGINT ignored
            process.communicate()
            raise
    if process.returncode:
        raise Stop(explain(complaints, place.home))


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
    return f"{complaints.strip()}\nThe installation stopped for the reason above. Run this again to carry on."


def free_gigabytes(path: Path) -> float:
    """Free gigabytes where `path` is or will be."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return round(shutil.disk_usage(existing).free / 1e9, 1)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except Stop as stop:
        say(str(stop))
        sys.exit(stop.code)
    except OSError as error:
        sys.exit(explain(str(error), Path(error.filename or __file__).parent))
