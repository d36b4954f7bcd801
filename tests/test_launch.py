"""launch.py in real processes and real environments, with a package index of our own on the loopback address.

The clones here are small: launch.py itself, a package that prints what it was given, and lists of tiny wheels. The
folders have a space and a letter from beyond ASCII in their names, as people's folders do.
"""

import ast
import json
import os
import platform
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path

import pytest

import launch

UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
needs_uv = pytest.mark.skipif(not UV, reason="uv is not installed here")
BOTH = [pytest.param(False, id="pip"), pytest.param(True, id="uv", marks=needs_uv)]
"""Who installs."""
SHOW = "import json, os, sys\nprint(json.dumps([sys.argv[1:], sys.prefix, dict(os.environ)]))\nsys.exit(7)\n"
CODE = "x = 1\n"
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
BACKEND = """
import zipfile
def build_editable(folder, *_):
    with zipfile.ZipFile(folder + "/sdterm-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("sdterm.pth", __file__.rpartition("/")[0])
        wheel.writestr("sdterm-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("sdterm-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: sdterm\\nVersion: 0.1.0\\n")
        wheel.writestr("sdterm-0.1.0.dist-info/RECORD", "")
    return "sdterm-0.1.0-py3-none-any.whl"
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


class Index:
    """A package index: wheels with one module each, a record of who was fetched, and a way to hold one back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched, self.hold = folder, list[str](), ""
        self.held, self.released = threading.Event(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name: str, version: str, code: str = CODE, files: Sequence[str] = ()) -> None:
        about, files = f"{name}-{version}.dist-info", files or [f"{name}.py"]
        with zipfile.ZipFile(self.folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for file in files:
                wheel.writestr(file, code)
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "".join(f"{file},,{len(code)}\n" for file in files))

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """In here, who fetches this package waits for it."""
        self.hold = name
        self.held.clear()
        self.released.clear()
        yield
        self.hold = ""
        self.released.set()

    def handler(index) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/").split("/")[-1]
                if self.path.startswith("/simple/"):
                    wheels = sorted(path.name for path in index.folder.glob(f"{name}-*.whl"))
                    body, kind = "".join(f'<a href="/{w}">{w}</a>' for w in wheels).encode(), "text/html"
                else:
                    if self.command == "GET":
                        index.fetched.append(name)
                    body, kind = (index.folder / name).read_bytes(), "application/zip"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "max-age=600" if kind == "application/zip" else "no-cache")
                self.end_headers()
                if self.command == "HEAD":
                    return
                if index.hold and name.startswith(f"{index.hold}-"):
                    index.held.set()
                    index.released.wait(60)
                self.wfile.write(body)

            do_HEAD = do_GET  # uv asks so whether it may have a part alone

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Clone:
    """A small clone with launch.py in it. has_uv: whether it finds an uv."""

    has_uv = False

    def __init__(self, folder: Path, index: Index, repo: Path) -> None:
        self.folder, self.index = folder, index
        (folder / "sdterm").mkdir(parents=True)
        (folder / "sdterm" / "__main__.py").write_text(SHOW)
        (folder / "backend.py").write_text(BACKEND)
        (folder / "pyproject.toml").write_text(PROJECT)
        (folder / "requirements.txt").write_text("-c constraints-cuda.txt\nalpha==1.0\n")
        (folder / "requirements-test.txt").write_text("pytest==1.0\n")
        (folder / "constraints-cuda.txt").write_text("")
        shutil.copy(repo / "launch.py", folder)

    @property
    def packages(self) -> Path:
        return next(self.folder.glob(".venv/lib/python*/site-packages"))

    def start(
        self, *words: str, python: str | Path = sys.executable, stderr: int = subprocess.PIPE, **variables: str
    ) -> subprocess.Popen[str]:
        """`python launch.py WORDS`, from another folder, in an environment that only the test decides."""
        ours = (*launch.OUR_VARIABLES, "PYTHONPATH")
        environment = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("PIP_")}
        path = [each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "uv").exists()]
        if self.has_uv and UV:
            (self.folder.parent / "bin").mkdir(exist_ok=True)
            with suppress(FileExistsError):
                (self.folder.parent / "bin" / "uv").symlink_to(UV)
            path = [str(self.folder.parent / "bin"), *path]
        environment |= {
            "PATH": os.pathsep.join(path),
            "UV_CACHE_DIR": str(self.folder.parent / "uv cache"),
            "INDEX_URL": self.index.url,
            "NO_PROXY": "127.0.0.1",
            "PIP_CACHE_DIR": str(self.folder.parent / "cache"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_TRUSTED_HOST": "127.0.0.1",  # pip keeps what it fetched only where it trusts the host
        }
        return subprocess.Popen(
            [python, self.folder / "launch.py", *words],
            env=environment | variables,
            cwd=self.folder.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # so that the test can interrupt it as a terminal does
        )

    def run(self, *words: str, python: str | Path = sys.executable, **variables: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        process = self.start(*words, python=python, stderr=subprocess.PIPE, **variables)
        out, err = process.communicate(timeout=100)
        return process.returncode, out, err

    def shown(
        self, *words: str, python: str | Path = sys.executable, **variables: str
    ) -> tuple[list[str], str, dict[str, str]]:
        """What the started package saw: arguments, sys.prefix, environment."""
        code, out, err = self.run(*words, python=python, **variables)
        assert code == 7, err
        arguments, prefix, environment = json.loads(out)
        return arguments, prefix, environment

    @contextmanager
    def without_pip(self) -> Iterator[None]:
        """In here, a pip that is started fails."""
        pip = self.packages / "pip"
        pip.rename(pip.with_name("hidden"))
        yield
        pip.with_name("hidden").rename(pip)


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for a condition, as long as a process runs."""
    for _ in range(20_000):
        if condition() or process.poll() is not None:
            break
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()


def interrupt(process: subprocess.Popen[str], number: int, when: Callable[[], object]) -> str:
    """End a launch.py as soon as a condition holds; what it said. Ctrl+C and a power cut end its children, too."""
    until(when, process)
    if number == signal.SIGTERM:
        process.terminate()
    else:
        os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return err


def changed(path: Path) -> float:
    """When a file was last written; never, if it is gone again."""
    try:
        return path.lstat().st_ctime
    except FileNotFoundError:
        return 0.0


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for what Python compiled."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    index = Index(tmp_path_factory.mktemp("index"))
    for name in ("alpha", "beta", "quick", "slow"):
        index.add(name, "1.0")
    index.add("pytest", "1.0", SHOW)
    for version in ("1.0", "9.9"):
        index.add("torch", version)
        index.add("large", version, files=[f"large/of_{version[0]}_{number}.py" for number in range(300)])
    yield index
    index.server.shutdown()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, index: Index, repo: Path) -> tuple[Clone, tuple[int, str, str]]:
    """A fresh clone and what its very first call said."""
    clone = Clone(tmp_path_factory.mktemp("first") / "mein klön", index, repo)
    return clone, clone.run("generate", "sunset, purple mountains, lake, red house")


@pytest.fixture
def installed(first: tuple[Clone, tuple[int, str, str]]) -> Clone:
    """The clone that is installed already. A test that changes more than its own variables takes `clone`."""
    return first[0]


@pytest.fixture
def clone(installed: Clone, tmp_path: Path, repo: Path) -> Clone:
    """A clone of its own with a working environment, but never installed in this place (and so without a stamp)."""
    clone = Clone(tmp_path / "ein klön", installed.index, repo)
    shutil.copytree(installed.folder / ".venv", clone.folder / ".venv", symlinks=True)
    for stamp in (clone.folder / ".venv").glob(".installed-*"):
        stamp.unlink()
    return clone


# Installing


def test_the_first_call_makes_the_environment_says_so_and_starts_sdterm(
    first: tuple[Clone, tuple[int, str, str]],
) -> None:
    clone, (code, out, err) = first
    arguments, prefix, _ = json.loads(out)  # stdout holds nothing but what sdterm printed
    assert code == 7, "the exit code is sdterm's"
    assert arguments == ["generate", "sunset, purple mountains, lake, red house"]
    assert Path(prefix) == clone.folder / ".venv"
    assert f"Installing up to 1 packages in {clone.folder / '.venv'}. To fetch:" in err
    assert (clone.packages / "alpha.py").is_file()


def test_help_and_version_answer_before_anything_is_installed(index: Index, repo: Path, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "mein klön", index, repo)
    shutil.copy(repo / "sdterm" / "version.py", clone.folder / "sdterm")
    code, out, err = clone.run("--help")
    assert (
        (code, err) == (0, "")
        and "launch.py test " in out
        and f"up to {launch.GIGABYTES[platform.system()][0]} GB" in out
    )
    assert str(clone.folder / ".venv") in out
    code, out, err = clone.run("--version")
    assert (code, out, err) == (0, launch.version() + "\n", "") and re.match(r"sdterm \d", out)
    assert not (clone.folder / ".venv").exists()


def test_help_is_that_of_sdterm_once_it_is_installed(installed: Clone) -> None:
    assert installed.shown("--help")[0] == ["--help"]


@pytest.mark.heavy
def test_a_second_call_starts_no_pip_until_the_list_changes(clone: Clone) -> None:
    clone.shown()
    with clone.without_pip():
        clone.shown("samplers")
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nbeta==1.0\n")
    clone.shown()
    assert (clone.packages / "beta.py").is_file()


@pytest.mark.few(1)
@pytest.mark.parametrize("has_uv", BOTH)
def test_an_interrupted_installation_carries_on(clone: Clone, has_uv: bool) -> None:
    clone.has_uv = has_uv
    clone.index.fetched.clear()
    (clone.folder / "requirements.txt").write_text("quick==1.0\nslow==1.0\n")
    with clone.index.holding("slow"):
        process = clone.start()
        err = interrupt(process, signal.SIGINT, clone.index.held.is_set)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Interrupted. What is there stays; the next call carries on."

    clone.shown()
    assert (clone.packages / "slow.py").is_file()
    if not has_uv:  # which fetches both at once, and in this index reads the beginning of each first
        assert clone.index.fetched.count("quick-1.0-py3-none-any.whl") == 1, "what was fetched is not fetched again"


@pytest.mark.heavy
def test_an_environment_whose_pip_was_being_unpacked_carries_on(index: Index, tmp_path: Path, repo: Path) -> None:
    clone = Clone(tmp_path / "ein klön", index, repo)
    for files, number in ((5, signal.SIGKILL), (150, signal.SIGINT), (350, signal.SIGTERM)):
        process, began = clone.start(), time.time()

        def unpacked(files: int = files, began: float = began) -> bool:
            written = clone.folder.glob(".venv/lib/python*/site-packages/pip/**/*.py")
            return sum(changed(path) >= began for path in written) >= files

        interrupt(process, number, unpacked)
    clone.shown()
    assert (clone.packages / "alpha.py").is_file()


@pytest.mark.heavy
@pytest.mark.parametrize("has_uv", BOTH)
def test_a_first_installation_carries_on_from_any_moment(
    index: Index, tmp_path: Path, repo: Path, has_uv: bool
) -> None:
    """The result is, to the byte, that of an installation that nobody disturbed."""
    clone = Clone(tmp_path / "ein klön", index, repo)
    clone.has_uv = has_uv
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nlarge==1.0\n")
    clone.shown()
    venv, chance = clone.folder / ".venv", random.Random(0)
    whole = files_of(venv)
    for _ in range(30):
        shutil.rmtree(venv)
        moment, number = chance.randrange(len(whole) - 20), chance.choice(ENDS)

        def reached(moment: int = moment) -> bool:
            return len(list(venv.rglob("*.*"))) > moment

        interrupt(clone.start(), number, reached)
        clone.shown()
        assert files_of(venv) == whole, (moment, number)


@pytest.mark.heavy
@pytest.mark.parametrize("has_uv", BOTH)
def test_an_upgrade_carries_on_from_any_moment(clone: Clone, tmp_path: Path, has_uv: bool) -> None:
    clone.has_uv = has_uv
    venv, chance = clone.folder / ".venv", random.Random(0)
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nlarge==1.0\n")
    clone.shown()
    shutil.copytree(venv, tmp_path / "old", symlinks=True)
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nlarge==9.9\n")
    clone.shown()
    whole = files_of(venv)
    for moment in [1 if has_uv else 0, 1, *chance.sample(range(2, 300), 8)]:  # uv puts nothing aside
        shutil.rmtree(venv)
        shutil.copytree(tmp_path / "old", venv, symlinks=True)
        number = chance.choice(ENDS)

        def reached(moment: int = moment) -> bool:
            aside, new = clone.packages.glob("~*"), clone.packages.glob("large/of_9*.py")
            return any(aside) if moment == 0 else len(list(new)) >= moment

        interrupt(clone.start(), number, reached)
        clone.shown()
        assert files_of(venv) == whole, (moment, number)


@pytest.mark.few(1)
@pytest.mark.parametrize("has_uv", BOTH)
def test_of_an_old_version_that_was_half_put_aside_no_file_stays(clone: Clone, has_uv: bool) -> None:
    clone.has_uv = has_uv
    (clone.folder / "requirements.txt").write_text("large==1.0\n")
    clone.shown()
    # pip was killed once it had put the first of its two folders aside
    (clone.packages / "large-1.0.dist-info").rename(clone.packages / "~arge-1.0.dist-info")
    (clone.folder / "requirements.txt").write_text("large==9.9\n")
    clone.shown()
    assert {path.name[:4] for path in (clone.packages / "large").glob("*.py")} == {"of_9"}
    assert (clone.packages / "alpha.py").is_file(), "what another package has stays"


def test_an_environment_that_was_being_made_is_made_anew(clone: Clone) -> None:
    venv = clone.folder / ".venv"
    activate, mark = venv / "bin" / "activate", venv / ".installing-environment"
    activate.write_text("half a li")
    mark.touch()
    # Even from inside: whoever has activated it calls its Python.
    interrupt(clone.start(python=venv / "bin" / "python"), signal.SIGKILL, lambda: not mark.exists())
    assert "deactivate" in activate.read_text()

    (venv / "pyvenv.cfg").unlink()
    mark.touch()
    interrupt(clone.start(), signal.SIGKILL, lambda: not mark.exists())
    assert (venv / "pyvenv.cfg").is_file()


def test_a_venv_that_lost_its_configuration_is_not_taken_for_the_systems(clone: Clone) -> None:
    (clone.folder / ".venv" / "pyvenv.cfg").unlink()
    code, _, err = clone.run(PIP_REQUIRE_VIRTUALENV="1")  # so that a launch.py which errs here does no harm
    assert code == 1 and "is not a Python environment" in err


@pytest.mark.heavy
def test_a_lost_pip_is_made_anew_and_the_rest_stays(clone: Clone) -> None:
    (clone.packages / "mine.py").touch()
    shutil.rmtree(next(clone.packages.glob("pip-*.dist-info")))
    clone.shown()
    assert (clone.packages / "mine.py").is_file() and list(clone.packages.glob("pip-*.dist-info"))


@pytest.mark.heavy
@pytest.mark.parametrize("words", [[], ["--reinstall-torch"]], ids=["a list", "torch"])
def test_what_was_installed_is_not_believed_after_an_interrupted_change(clone: Clone, words: list[str]) -> None:
    before = "alpha==1.0\ntorch==1.0\n"
    (clone.folder / "requirements.txt").write_text(before)
    clone.shown()
    if not words:
        (clone.folder / "requirements.txt").write_text("alpha==1.0\ntorch==9.9\n")
    with clone.index.holding("torch"):
        interrupt(clone.start(*words, PIP_NO_CACHE_DIR="1"), signal.SIGKILL, clone.index.held.is_set)
    (clone.packages / "torch.py").unlink()  # as it is a moment later

    (clone.folder / "requirements.txt").write_text(before)
    clone.shown()
    assert (clone.packages / "torch.py").is_file()


@pytest.mark.heavy
def test_an_interrupted_torch_command_is_run_again(clone: Clone) -> None:
    both = "sh -c 'python -m pip install torch==9.9 && python -m pip install slow==1.0'"
    with clone.index.holding("slow"):
        interrupt(clone.start(TORCH_COMMAND=both, PIP_NO_CACHE_DIR="1"), signal.SIGINT, clone.index.held.is_set)
    assert (clone.packages / "torch.py").is_file() and not (clone.packages / "slow.py").is_file()
    clone.shown(TORCH_COMMAND=both)
    assert (clone.packages / "slow.py").is_file()


@pytest.mark.heavy
@pytest.mark.parametrize("has_uv", BOTH)
@pytest.mark.parametrize("venv_dir", ["", "-"], ids=["venv", "no venv"])
def test_packages_that_are_not_whole_are_installed_again(clone: Clone, venv_dir: str, has_uv: bool) -> None:
    clone.has_uv = has_uv
    python, packages = clone.folder / ".venv" / "bin" / "python", clone.packages
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nbeta==1.0\nquick==1.0\nslow==1.0\n")
    clone.shown(python=python, VENV_DIR=venv_dir)
    # pip was killed while it put an old version aside for a new one, and then the list went back
    (packages / "alpha.py").rename(packages / "~lpha.py")
    # the power went before everything was on the disk
    (packages / "beta.py").write_text("")
    stamp = (clone.folder / ".venv" if not venv_dir else clone.folder) / ".installed-base"
    assert stamp.is_file()
    stamp.write_bytes(b"\xff\0")
    # pip was killed while it wrote what it writes last
    (packages / "quick-1.0.dist-info" / "RECORD").unlink()
    (packages / "slow-1.0.dist-info" / "INSTALLER").unlink()
    # but these are not pip's, and a company has added to what is
    distributions, certificates = packages / "distro-1.0.dist-info", packages / "pip/_vendor/certifi/cacert.pem"
    distributions.mkdir()
    (distributions / "INSTALLER").write_text("brew\n")
    with certificates.open("a") as lines:
        lines.write("one of a company\n")

    clone.shown(python=python, VENV_DIR=venv_dir)
    assert (packages / "alpha.py").read_text() == (packages / "beta.py").read_text() == CODE
    assert (packages / "quick-1.0.dist-info" / "RECORD").is_file()
    assert distributions.is_dir() and certificates.read_text().endswith("one of a company\n")
    if not venv_dir:
        assert (packages / "slow-1.0.dist-info" / "INSTALLER").is_file()
        assert not list(packages.glob("~*"))


def test_two_first_calls_at_once_install_once(clone: Clone) -> None:
    both = [clone.start(), clone.start()]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [7, 7]
    assert sorted("Installed." in err for err in said) == [False, True]


def children(pid: int) -> dict[int, str]:
    """The processes that a process started, and the program that each runs."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    lines = (line.split(None, 2) for line in listed.splitlines())
    return {int(child): program for child, parent, program in lines if int(parent) == pid}


@pytest.mark.heavy
def test_what_a_kill_has_orphaned_is_waited_for(index: Index, tmp_path: Path, repo: Path) -> None:
    clone = Clone(tmp_path / "ein klön", index, repo)
    killed = clone.start()
    orphans: list[int] = []

    def unpacking() -> bool:
        orphans[:] = [pip for ensurepip in children(killed.pid) for pip in children(ensurepip)]
        return bool(orphans) and any(clone.folder.glob(".venv/lib/python*/site-packages/pip"))

    until(unpacking, killed)
    os.kill(orphans[0], signal.SIGSTOP)
    for pid in (killed.pid, *children(killed.pid)):
        os.kill(pid, signal.SIGKILL)
    second = clone.start()
    assert second.stderr and second.stderr.readline() == "Another launch.py is installing; this one waits for it.\n"
    second.kill()
    os.kill(orphans[0], signal.SIGKILL)
    for process in (second, killed):
        process.communicate(timeout=60)


def test_what_is_piped_to_sdterm_reaches_it(clone: Clone) -> None:
    (clone.folder / "sdterm" / "__main__.py").write_text("import sys\nprint(sys.stdin.read())")
    process = clone.start(TORCH_COMMAND="sh -c 'cat >&2'")
    assert process.communicate("a red house", timeout=60)[0] == "a red house\n"


def test_ctrl_c_in_the_first_moments_is_no_traceback(index: Index, tmp_path: Path, repo: Path) -> None:
    clone = Clone(tmp_path / "ein klön", index, repo)
    # launch.py imports this module while it starts
    (clone.folder / "shlex.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    assert clone.run() == (-signal.SIGINT, "", "")


@pytest.mark.heavy
def test_a_second_ctrl_c_is_no_traceback(clone: Clone) -> None:
    process = clone.start(TORCH_COMMAND="sh -c 'trap : INT; touch trapped; sleep 1; sleep 1'")
    until((clone.folder / "trapped").exists, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # while it waits for what it runs
    assert "Traceback" not in process.communicate(timeout=60)[1]


@pytest.mark.heavy
def test_a_broken_environment_is_made_anew(clone: Clone) -> None:
    python = clone.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    clone.shown()
    assert (clone.packages / "alpha.py").is_file()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["red house [v2]", "don't, 家 100%20 #1; a@b?~x=y&z"])
def test_the_clone_may_have_any_usual_name(clone: Clone, tmp_path: Path, name: str) -> None:
    clone.folder = clone.folder.rename(tmp_path / name)
    clone.shown()


@pytest.mark.parametrize("name", ["red\nhouse", "red house ", "red\x1b[31mhouse", os.fsdecode(b"caf\xe9")], ids=ascii)
def test_a_name_from_which_python_cannot_import_is_refused(index: Index, tmp_path: Path, repo: Path, name: str) -> None:
    try:
        clone = Clone(tmp_path / name, index, repo)
    except OSError:
        pytest.skip("this file system has no such names")
    code, out, err = clone.run()
    sentence = f"Python cannot import from {str(clone.folder)!r}: "
    assert (code, out, err.count("\n")) == (1, "", 1) and err.startswith(sentence)
    assert not (clone.folder / ".venv").exists()


@pytest.mark.parametrize("name", ["$(touch x)", "`touch x`", '5" wide', "a\\b", "a:b", "it'''s"])
def test_a_name_that_commands_would_execute_is_refused(installed: Clone, tmp_path: Path, name: str) -> None:
    venv = tmp_path / f"red house {name}"
    code, out, err = installed.run(VENV_DIR=str(venv))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"Commands in an environment in {str(venv)!r} would not work: ")
    assert not venv.exists()


# How far it is


@pytest.mark.heavy
def test_each_step_is_a_line_and_what_pip_says_is_in_a_log(clone: Clone) -> None:
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nslow==1.0  # 3 MB\n")
    log = clone.folder / ".venv" / ".installing-log"
    with clone.index.holding("slow"):
        process = clone.start()
        until(clone.index.held.is_set, process)
        said = log.read_text()
    _, err = process.communicate(timeout=60)
    assert "Collecting slow==1.0" in said and "Collecting" not in err
    assert "sdterm: done in" in err and "\x1b" not in err and "\r" not in err
    assert not log.exists(), "it goes once all is there"


@pytest.mark.heavy
def test_on_a_terminal_a_line_is_redrawn_and_says_packages_and_bytes(clone: Clone) -> None:
    (clone.folder / "requirements.txt").write_text("quick==1.0\nslow==1.0  # 3 MB\n")
    ours, its = pty.openpty()
    said = ""
    with clone.index.holding("slow"):
        process = clone.start(stderr=its)
        os.close(its)
        while "of 2 packages" not in said.rpartition("\r")[2]:
            said += os.read(ours, 4096).decode()
    with suppress(OSError):  # its other end is closed
        while piece := os.read(ours, 4096).decode():
            said += piece
    process.communicate(timeout=60)
    os.close(ours)
    assert re.search(r"\rFetching     \[#*-*\] [01] of 2 packages, \d+ of \d+ MB", said)
    assert re.search(r"\rsdterm       done in \d+ s *\r\n", said) and "\x1b" not in said


def test_an_error_names_the_log(clone: Clone) -> None:
    (clone.folder / "requirements.txt").write_text("gamma==1.0\n")
    code, _, err = clone.run()
    log = clone.folder / ".venv" / ".installing-log"
    assert code == 1 and err.endswith(f"All that was said is in {log}.\n")
    assert "No matching distribution found for gamma==1.0" in log.read_text()


def test_the_lists_say_how_much_there_is_to_fetch(repo: Path) -> None:
    sizes = launch.missing([repo / "requirements.txt"], launch.Place(repo, None), repo / "none", {})
    fetch = launch.GIGABYTES["Linux"][0]
    assert sys.platform != "linux" or abs(sum(sizes.values()) / 1e9 - fetch) < 0.1 * fetch


def test_how_far_pip_is_is_read_from_what_it_says_and_has_fetched(tmp_path: Path) -> None:
    meter = launch.Meter({"torch": 5e8, "numpy": 1.7e7, "nvidia-cublas": 4e8}, tmp_path)
    meter.temporary = tmp_path
    assert meter.state() == ("Resolving", None, "3 packages")
    meter.hear("Collecting torch\n  Downloading https://x/torch-2.13.0%2Bcpu-cp311-none.whl (2.0 kB)\n  Usi")
    assert meter.sizes == {"torch": 2e3, "numpy": 1.7e7}, "this build needs no CUDA"
    meter.hear("ng cached numpy-2.4.6-cp311-none.whl (2.0 kB)\n")
    (tmp_path / "pip-unpack-x").mkdir()
    (tmp_path / "pip-unpack-x" / "torch-2.13.0+cpu-cp311-none.whl").write_bytes(b"x" * 1000)
    assert meter.state() == ("Fetching", 0.25, "0 of 2 packages, 0 of 0 MB")
    meter.hear("Installing collected packages: numpy, torch\n")
    (tmp_path / "numpy-2.4.6.dist-info").mkdir()
    assert meter.state() == ("Installing", 0.5, "1 of 2 packages")


def test_that_pip_removes_what_it_fetched_while_it_is_measured_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = launch.Meter({"numpy": 1.7e7}, tmp_path)
    meter.temporary = tmp_path
    meter.hear("Downloading https://x/numpy-2.4.6-cp311-none.whl (2.0 kB)\n")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: (_ for _ in [1] if (self / "pip-unpack-x").stat()))
    assert meter.state() == ("Fetching", 0, "0 of 1 packages, 0 of 0 MB")


def test_how_far_uv_is_is_read_from_its_bars(tmp_path: Path) -> None:
    meter = launch.Meter({"torch": 5e8, "numpy": 1.7e7, "nvidia-cublas": 4e8}, tmp_path)
    meter.hear("\x1b[2mResolved \x1b[1m2 packages\x1b[0m in 2ms\r\n⠙ Preparing packages... (0/2)  \x1b[2mtorch ")
    meter.hear("--------- 100.00 MiB/200.00 MiB  numpy \x1b[32m-----\x1b[0m 1.00 MiB/16.00 MiB \r")
    phase, share, told = meter.state()
    assert (phase, told, round(216 * (share or 0))) == ("Fetching", "0 of 2 packages, 106 of 226 MB", 101)


# uv


@pytest.fixture
def uv_clone(clone: Clone) -> Clone:
    """One that finds an uv, and to which something is to be added."""
    clone.has_uv = True
    (clone.folder / "requirements.txt").write_text("alpha==1.0\nbeta==1.0\n")
    return clone


@pytest.mark.heavy
@needs_uv
def test_uv_installs_the_same_as_pip(uv_clone: Clone, installed: Clone, tmp_path: Path) -> None:
    found = Index(tmp_path)
    found.server.shutdown()
    found.add("gamma", "1.0")
    found.add("gamma", "2.0")
    (tmp_path / "least.txt").write_text("gamma<2\n")
    (tmp_path / "pip.conf").write_text(f"[global]\nconstraint = {tmp_path}/least.txt\nfind-links = {tmp_path}\n")
    (uv_clone.folder / "requirements.txt").write_text("alpha==1.0\nbeta==1.0\ngamma\n")
    code, _, err = uv_clone.run(
        PIP_CONFIG_FILE=str(tmp_path / "pip.conf"), UV_DEFAULT_INDEX="http://127.0.0.1:9/simple"
    )
    assert code == 7 and "uv is" not in err and "uv stopped" not in err, err
    assert (uv_clone.packages / "beta-1.0.dist-info" / "INSTALLER").read_text() == "uv"
    assert (uv_clone.packages / "__pycache__").is_dir(), "compiled, as by pip"
    assert launch.installed(uv_clone.packages) == launch.installed(installed.packages) | {"beta": "1.0", "gamma": "1.0"}


@pytest.mark.heavy
@needs_uv
def test_pip_installs_where_uv_lacks_a_setting_of_pip(uv_clone: Clone) -> None:
    code, _, err = uv_clone.run(PIP_SRC="elsewhere")
    assert code == 7 and "uv is here, but pip installs: uv has nothing for pip's setting src.\n" in err
    assert (uv_clone.packages / "beta-1.0.dist-info" / "INSTALLER").read_text() == "pip\n"


@pytest.mark.heavy
def test_pip_goes_on_where_uv_stops(uv_clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text("#!/bin/sh\necho 'error: it is Sunday' >&2\nexit 2\n")
    (tmp_path / "bin" / "uv").chmod(0o755)
    code, _, err = uv_clone.run(PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert code == 7 and "uv stopped, and pip goes on: error: it is Sunday\n" in err
    assert (uv_clone.packages / "beta.py").is_file()


# What A1111's guide teaches


def test_arguments_arrive_unbroken(installed: Clone) -> None:
    words = [
        "generate",
        'a (red:1.2) house, it\'s "big"',
        "--negative",
        "",
        "--ckpt",
        "a b.safetensors",
        "$HOME *",
        "é",
    ]
    assert installed.shown(*words)[0] == words


def test_the_launchers_own_flags_stay_here_and_others_are_passed_on(installed: Clone) -> None:
    arguments, _, environment = installed.shown(
        "generate", "--skip-install", "--xformers", "--", "--skip-install", COMMANDLINE_ARGS="--medvram --ckpt 'a b'"
    )
    assert arguments == ["generate", "--xformers", "--", "--skip-install"]
    assert environment["COMMANDLINE_ARGS"] == "--medvram --ckpt 'a b'"


def test_commandline_args_may_hold_the_launchers_flags(clone: Clone) -> None:
    said = clone.shown(COMMANDLINE_ARGS="--skip-prepare-environment --ckpt 'a b'")
    assert said[2]["COMMANDLINE_ARGS"] == "--ckpt 'a b'"
    assert not (clone.folder / ".venv" / ".installed-base").exists()


def test_an_open_quote_in_commandline_args_is_one_sentence(installed: Clone) -> None:
    code, _, err = installed.run(COMMANDLINE_ARGS="--ckpt 'a")
    assert (code, err) == (1, "COMMANDLINE_ARGS cannot be read: No closing quotation. Check its quotes.\n")


@pytest.mark.heavy
def test_webui_user_sh_is_read_and_never_executed(clone: Clone) -> None:
    (clone.folder / "list.txt").write_text("beta==1.0\n")
    (clone.folder / "webui-user.sh").write_text(
        "#!/bin/bash\n"
        "touch executed\n"
        "#export COMMANDLINE_ARGS='--commented'\n"
        'export COMMANDLINE_ARGS="--medvram \\\n  --ckpt=$ROOM/x" # and why\n'
        "export CUDA_VISIBLE_DEVICES=1\n"
        "export STAMP=$(touch executed)\n"
        "export REQS_FILE='list.txt'\n"
        'venv_dir=".venv"\n'
        "unexported=1\n"
    )
    _, _, environment = clone.shown(ROOM="/models")
    assert environment["COMMANDLINE_ARGS"] == "--medvram   --ckpt=/models/x"
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert (clone.packages / "beta.py").is_file()
    assert not {"STAMP", "unexported"} & set(environment)
    assert not list(clone.folder.parent.rglob("executed"))
    assert clone.shown(COMMANDLINE_ARGS="--lowvram")[2]["COMMANDLINE_ARGS"] == "--lowvram", "the environment wins"


@pytest.mark.heavy
def test_venv_dir_dash_means_this_interpreter(clone: Clone, tmp_path: Path) -> None:
    (clone.folder / ".venv").rename(tmp_path / "mine")
    mine = tmp_path / "mine" / "bin" / "python"
    _, prefix, _ = clone.shown(python=mine, VENV_DIR="-")
    assert Path(prefix) == tmp_path / "mine"
    assert not (clone.folder / ".venv").exists()
    assert "Installing" not in clone.run(python=mine, VENV_DIR="-")[2]


def test_an_empty_venv_dir_means_the_usual_one(installed: Clone) -> None:
    assert Path(installed.shown(VENV_DIR="")[1]) == installed.folder / ".venv"


@pytest.mark.heavy
def test_torch_command_replaces_the_listed_torch(clone: Clone) -> None:
    (clone.folder / "requirements.txt").write_text("-c constraints-cuda.txt\ntorch==1.0  # tested\nbeta==1.0\n")
    clone.shown(TORCH_COMMAND="pip install torch==9.9")
    assert sorted(path.name for path in clone.packages.glob("torch-*")) == ["torch-9.9.dist-info"]
    assert (clone.packages / "beta.py").is_file()
    clone.shown("--reinstall-torch")
    assert sorted(path.name for path in clone.packages.glob("torch-*")) == ["torch-1.0.dist-info"]


# What can go wrong


def test_no_network_is_one_sentence(clone: Clone) -> None:
    (clone.folder / "requirements.txt").write_text("gamma==1.0\n")
    code, out, err = clone.run(INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("The package index does not answer. Check the network")
    assert "Traceback" not in err and "WARNING" not in err and "ERROR" not in err


def test_a_missing_list_is_one_sentence(installed: Clone) -> None:
    code, _, err = installed.run(REQS_FILE="none.txt")
    missing = installed.folder / "none.txt"
    assert (code, err) == (1, f"{missing} cannot be read: No such file or directory. Restore it, or check REQS_FILE.\n")


def test_a_folder_that_is_no_environment_is_left_alone(clone: Clone) -> None:
    (clone.folder / "photos").mkdir()
    (clone.folder / "photos" / "cat.png").touch()
    code, _, err = clone.run(VENV_DIR="photos")
    assert code == 1 and "is not a Python environment" in err
    assert os.listdir(clone.folder / "photos") == ["cat.png"]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("/dev/null/x", "Not a directory"),
        ("launch.py", "File exists"),
        pytest.param("/proc/x", "No such file or directory", marks=pytest.mark.skipif("sys.platform != 'linux'")),
    ],
)
def test_a_folder_that_cannot_be_made_is_one_sentence(installed: Clone, folder: str, reason: str) -> None:
    code, _, err = installed.run(VENV_DIR=folder)
    venv = installed.folder / folder
    assert (code, err) == (1, f"{venv} cannot be made: {reason}. Set VENV_DIR to a folder of yours.\n")


@pytest.mark.skipif("sys.platform != 'linux'")
def test_a_folder_that_takes_no_files_is_named(installed: Clone) -> None:
    code, _, err = installed.run(VENV_DIR="/sys/kernel")  # not even root may make a file there
    assert code == 1 and err.startswith("There is no permission to write in /sys/kernel. ")


@pytest.mark.parametrize(
    ("pretends", "sentence"),
    [
        ("*ensurepip*) exit 1", r"lacks venv\. On Debian and Ubuntu `sudo apt install python3\.\d+-venv` adds it"),
        ("*version_info*) echo 3.10; exit", r"PYTHON names .*\. sdterm needs Python 3\.11 or newer and this is 3\.10"),
        ("*) exit 1", r"PYTHON names .*, which does not run"),
    ],
    ids=["without venv", "too old", "broken"],
)
def test_a_python_that_cannot_do_it_is_one_sentence(
    installed: Clone, tmp_path: Path, pretends: str, sentence: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$2" in {pretends};; esac\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    code, _, err = installed.run(PYTHON=str(python), VENV_DIR="other")
    assert code == 1 and re.search(sentence, err) and "Traceback" not in err


@pytest.mark.parametrize(
    ("complaint", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: [Errno 13] Permission denied: '/x'", "There is no permission to write in"),
        ("error: externally-managed-environment", "This Python belongs to the system"),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "The package index has no torch==2.13.0 for",
        ),
        (
            "ERROR: ResolutionImpossible: see a page",
            "ERROR: ResolutionImpossible: see a page\nThe",
        ),
    ],
)
def test_what_pip_complains_of_becomes_a_sentence(complaint: str, sentence: str) -> None:
    assert launch.explain(complaint, Path("/nowhere/at/all")).startswith(sentence)


def test_an_old_python_can_still_say_what_is_wrong(repo: Path) -> None:
    program = ast.parse((repo / "launch.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    until_it_says = takewhile(lambda each: not isinstance(each, ast.If), program.body)
    annotations = [
        each.annotation if isinstance(each, ast.arg | ast.AnnAssign) else each.returns
        for part in until_it_says
        for each in ast.walk(part)
        if isinstance(each, ast.arg | ast.AnnAssign | ast.FunctionDef)
    ]
    assert annotations and all(isinstance(each, ast.Name | ast.Constant | None) for each in annotations), (
        "an annotation is evaluated, and `int | str` is an error before Python 3.10"
    )
    assert launch.unfit((3, 6), "posix").startswith("sdterm needs Python 3.11 or newer and this is 3.6. ")
    assert "WSL" in launch.unfit((3, 12), "nt")
    assert launch.unfit((3, 11), "posix") == ""


def test_the_guide_explains_every_variable_and_flag(repo: Path) -> None:
    guide = (repo / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    words = {*launch.OUR_VARIABLES, *launch.OUR_FLAGS, *launch.ALIASES}
    assert {word for word in words if f"`{word}`" not in guide} == set()
    assert all(f"about {fetch} GB" in guide for fetch, _ in launch.GIGABYTES.values())


# Tests


@pytest.mark.heavy
def test_the_test_command_installs_its_own_list_once_and_runs_pytest(clone: Clone) -> None:
    arguments, _, _ = clone.shown("test", "--all", "-k", "a b")
    assert arguments[-3:] == ["--all", "-k", "a b"] and arguments[0] == "-n", "what the user says comes last and wins"
    with clone.without_pip():
        clone.shown("test")


@pytest.mark.heavy
def test_a_fresh_clone_draws_the_first_picture(repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "ein klön"
    subprocess.run(["git", "clone", "--quiet", repo, clone], check=True)
    ours = {*launch.OUR_VARIABLES, "PYTHONPATH", "SDTERM_DATA"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    words = [sys.executable, "launch.py", "generate", "sunset, purple mountains, lake, red house"]
    subprocess.run(words, cwd=clone, env=environment, check=True)
    subprocess.run([sys.executable, "launch.py", "host", "stop"], cwd=clone, env=environment, check=True)
    assert len(list((clone / "outputs").rglob("*.png"))) == 1


def box_with_torch(folder: Path, version: str) -> Path:
    """An environment that somebody else made, with a torch of that version in it; its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text(f"from . import version\n__version__ = {version!r}\n")
    (packages / "torch" / "version.py").write_text("cuda, hip = None, '6.3'\n")
    (packages / f"torch-{version}.dist-info").mkdir()
    (packages / f"torch-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
    )
    return folder / "bin" / "python"


@pytest.mark.heavy
def test_the_torch_of_the_box_is_used_instead_of_fetching_one(tmp_path: Path, index: Index, repo: Path) -> None:
    python = box_with_torch(tmp_path / "box", "2.7.1")
    clone = Clone(tmp_path / "clone", index, repo)
    (clone.folder / "requirements.txt").write_text("alpha==1.0\ntorch==1.0\n")
    index.fetched.clear()
    code, _, err = clone.run("--system-torch", PYTHON=str(python))
    assert code == 7 and f"Using torch 2.7.1 (ROCm 6.3) of {python}." in err, err
    assert index.fetched == ["alpha-1.0-py3-none-any.whl"] and not [*clone.packages.glob("torch-*.dist-info")]
    seen = subprocess.run(
        [clone.folder / ".venv" / "bin" / "python", "-c", "import torch, alpha; print(torch.__version__)"],
        capture_output=True,
        text=True,
    )
    assert seen.stdout == "2.7.1\n", seen.stderr
    index.fetched.clear()
    clone.shown(PYTHON=str(python))
    (clone.folder / "requirements.txt").write_text("alpha==1.0\ntorch==9.9\nbeta==1.0\n")
    clone.shown(PYTHON=str(python))
    assert index.fetched == ["beta-1.0-py3-none-any.whl"], "the environment remembers whose torch it has"


def test_a_torch_of_the_box_that_is_too_old_is_refused_in_a_sentence(tmp_path: Path, index: Index, repo: Path) -> None:
    python = box_with_torch(tmp_path / "box", "2.5.1")
    clone = Clone(tmp_path / "clone", index, repo)
    code, _, err = clone.run("--system-torch", PYTHON=str(python))
    assert code == 1 and "has torch 2.5.1; it needs 2.6 or newer" in err
    assert not (clone.folder / ".venv" / "bin").exists()
