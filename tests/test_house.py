"""The house is in order: style, types, who may import whom, start-up, and what we give to people."""

import ast
import builtins
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from sdterm import load_plugins
from sdterm.hooks import Sampler, Scheduler


def run(folder: Path, tool: str, *words: str) -> None:
    """The tool must be content; if it is not, what it says is the test's message."""
    program = Path(sysconfig.get_path("scripts"), tool)
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        pytest.fail(f"{tool} {' '.join(words)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing(repo: Path) -> None:
    run(repo, "ruff", "check", ".")


def test_every_file_is_formatted(repo: Path) -> None:
    run(repo, "ruff", "format", "--check", ".")


def test_the_types_hold(repo: Path) -> None:
    run(repo, "mypy")


def test_every_room_imports_only_what_it_may(repo: Path) -> None:
    run(repo, "lint-imports")


def test_core_and_engine_name_samplers_and_schedules_only_where_the_architecture_says(repo: Path) -> None:
    plugins = load_plugins()
    labels = {sampler.label for sampler in plugins.all(Sampler)} | {each.label for each in plugins.all(Scheduler)}
    naming = {
        path.relative_to(repo / "sdterm").as_posix()
        for room in ("core", "engine")
        for path in (repo / "sdterm" / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in labels
    }
    assert naming == {"core/a1111.py"}
    assert {path for path in naming if f"`{path}`" in (repo / "docs" / "architecture.md").read_text()} == naming


def test_one_map_says_where_each_module_is_tested(repo: Path) -> None:
    package, tests = repo / "sdterm", repo / "tests"
    unmirrored = {
        module
        for module in package.rglob("*.py")
        if "templates" not in module.relative_to(package).parts
        and len(ast.parse(module.read_text(encoding="utf-8")).body) > 1  # a folder's docstring is nothing to test
        and not (tests / module.relative_to(package)).with_name(f"test_{module.stem}.py").is_file()
    }
    needless = []
    for pattern, files in tomllib.loads((tests / "where.toml").read_text(encoding="utf-8")).items():
        assert [file for file in files if not (tests / file).is_file()] == [], f"{pattern} names no test"
        found = unmirrored & {*package.glob(pattern)}
        needless += [] if found and files else [pattern]
        unmirrored -= found
    assert (needless, sorted(str(module.relative_to(package)) for module in unmirrored)) == ([], [])


@pytest.mark.heavy
def test_every_error_that_a_user_may_meet_has_the_one_root(repo: Path) -> None:
    bases = {
        node.name: [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases]
        for path in (repo / "sdterm").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }

    def below(roots: set[str]) -> set[str]:
        found = {name for name, given in bases.items() if roots & {*given} - {name}}
        return roots if found <= roots else below(roots | found)

    exceptions = {name for name, it in vars(builtins).items() if isinstance(it, type) and issubclass(it, BaseException)}
    signals = below(exceptions) - exceptions - below({"SdtermError"})
    assert signals == {
        "CancelledError", "PausedError", "SwallowedError", "EndedError", "Stopped", "_LeftError",  # stop something
        "BoundsError", "ContractError", "MisuseError", "ProbeError", "UnlikeError", "UnsoundError",  # become part of a
        "UnknownValueError",  # sentence
        "UnsettledError", "BegunError",  # is tried again, is waited for
    }  # fmt: skip


def test_the_host_and_its_clients_load_no_torch(repo: Path) -> None:
    program = """
import sys
import sdterm.client, sdterm.host.__main__, sdterm.host.thumbnail
from sdterm.cli import attach, cancel, follow, gallery, host, queue
print(sorted({"torch", "diffusers", "transformers", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=repo, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.fixture(scope="module")
def tracked(repo: Path) -> list[str]:
    """The files of the project; what else lies in a clone is its user's."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repo, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is not a git clone")
    return [path for path in listed.stdout.split("\0") if path and (repo / path).is_file()]


def test_no_file_names_a_machine(repo: Path, tracked: list[str]) -> None:
    """Paths and package indexes of the machine that wrote a file mean nothing on the next one."""
    machine = re.compile(rb"(?<![\w.~$}-])/(?:work|tmp|root|home/\w+|Users/\w+)/|\bpypi\.org|pythonhosted|file:///\w")
    named = []
    for path in tracked:
        content = (repo / path).read_bytes()
        if b"\0" not in content[:4096] and path != Path(__file__).relative_to(repo).as_posix():
            named += [f"{path}: {found[0].decode()}" for found in machine.finditer(content)]
    assert named == []


def test_the_wheel_carries_all_that_sdterm_needs(repo: Path, tracked: list[str], tmp_path: Path) -> None:
    for path in tracked:
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repo / path, tmp_path / "clone" / path)
    run(tmp_path / "clone", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    content = set(zipfile.ZipFile(wheel).namelist())
    package = {path for path in tracked if path.startswith("sdterm/")}
    shipped = {f"sdterm/_shipped/{path}" for path in tracked if path.startswith(("extensions/", "localizations/"))}
    assert package - content == set()
    assert shipped - content == set()
    assert "sdterm/models/sdterm-demo.safetensors" in content
    assert {path.split("/")[0] for path in content} == {"sdterm", "sdterm-0.1.0.dist-info"}, "nothing else is installed"
