"""Which plugins there are, what identifies them, and how an edited one is loaded."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sdterm.core.extensions.discovery import BUILTINS, discover
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.extensions.source import digest
from tests.core.conftest import Obedient


def saver(label: str) -> str:
    """The code of a plugin that gives an output saver."""
    return (
        "from sdterm.hooks import OutputSaver, hookimpl\n"
        "@hookimpl\ndef sdterm_output_savers():\n"
        f"    return [OutputSaver('{label.lower()}', '{label}', '.x', lambda image, infotext: b'{label}')]\n"
    )


# --- discovery --------------------------------------------------------------------------------------------------------


def test_built_ins_come_first_and_then_files_and_folders_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text("")
    found = list(discover(tmp_path))
    assert [source.location for source in found if source.origin == "built-in"] == list(BUILTINS)
    assert [(source.slug, source.origin) for source in found[-3:]] == [(s, "extension") for s in ("a", "b", "c")]


def test_hidden_things_and_things_that_are_no_python_are_left_alone(tmp_path: Path) -> None:
    for name in (".hidden.py", "_private.py", "README.md", "notes.pyc"):
        (tmp_path / name).write_text("raise SystemExit")
    for name in ("__pycache__", ".git", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("raise SystemExit")
    assert not [source for source in discover(tmp_path) if source.origin == "extension"]


@pytest.mark.parametrize("folder", [None, "missing", "file"])
def test_no_folder_of_extensions_is_no_trouble(folder: str | None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert [source.origin for source in discover(tmp_path / folder if folder else None)] == ["built-in"] * len(BUILTINS)


def test_a_link_that_leads_nowhere_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "elsewhere.py")
    (tmp_path / "fine.py").write_text(saver("Fine"))
    plugins = load_plugins(tmp_path)
    assert [plugin.source.slug for plugin in plugins.problems] == ["gone"]
    assert plugins.saver("fine")


def test_an_extension_that_may_not_be_read_is_a_problem_of_its_own(tmp_path: Path, obedient: Obedient) -> None:
    (tmp_path / "fine.py").write_text(saver("Fine"))
    (tmp_path / "secret.py").write_text(saver("Secret"))
    (tmp_path / "secret.py").chmod(0o000)
    said = obedient(LIST, tmp_path)
    assert said.startswith("Fine secret: PermissionError")


LIST = """
import sys
from pathlib import Path
from sdterm import load_plugins
plugins = load_plugins(Path(sys.argv[1]))
print(plugins.saver("fine").label, *(f"{plugin.source.slug}: {plugin.error}" for plugin in plugins.problems))
"""


# --- identity ---------------------------------------------------------------------------------------------------------


def change_text(folder: Path) -> None:
    (folder / "__init__.py").write_text("x = 2")


def change_data(folder: Path) -> None:
    (folder / "data" / "curve.json").write_text("[1]")


def add_file(folder: Path) -> None:
    (folder / "more.txt").write_text("")


def rename_file(folder: Path) -> None:
    (folder / "data").rename(folder / "date")


def remove_file(folder: Path) -> None:
    (folder / "data" / "curve.json").unlink()


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    folder = tmp_path / "extension"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("x = 1")
    (folder / "data" / "curve.json").write_text("[0]")
    return folder


@pytest.mark.parametrize("change", [change_text, change_data, add_file, rename_file, remove_file])
def test_every_change_to_an_extension_gives_it_another_digest(change: Callable[[Path], None], extension: Path) -> None:
    before = digest(extension)
    change(extension)
    assert digest(extension) != before


def test_the_digest_tells_content_and_nothing_else(extension: Path, tmp_path: Path) -> None:
    before = digest(extension)
    (extension / "__pycache__").mkdir()
    (extension / "__pycache__" / "x.pyc").write_bytes(b"\0")
    os.utime(extension / "__init__.py", (1, 1))
    assert digest(extension) == before
    assert digest(extension.rename(tmp_path / "elsewhere")) == before


def test_an_edited_extension_is_another_plugin_and_old_sets_keep_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(saver("Before"))
    old = load_plugins(tmp_path)
    (tmp_path / "mine.py").write_text(saver("Afterwards"))
    new = load_plugins(tmp_path)
    assert old.saver("before").encode(None, "") == b"Before"
    assert new.saver("afterwards").encode(None, "") == b"Afterwards"
    assert old.identity != new.identity
    assert load_plugins(tmp_path).identity == new.identity


@pytest.mark.parametrize("inside", [False, True], ids=["a file", "a module of a folder"])
def test_an_edit_counts_even_if_it_changes_neither_size_nor_time(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's bytecode cache tells versions of a file apart by these two, the time in whole seconds."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    code = tmp_path / "mine.py"
    if inside:
        code = tmp_path / "mine" / "savers.py"
        code.parent.mkdir()
        (tmp_path / "mine" / "__init__.py").write_text("from .savers import sdterm_output_savers\n")
    code.write_text(saver("Day"))
    status = code.stat()
    assert load_plugins(tmp_path).saver("day")
    code.write_text(saver("Sun"))
    os.utime(code, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_plugins(tmp_path).saver("sun")


def test_a_mended_extension_loads(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n" + saver("Mine"))
    assert load_plugins(tmp_path).problems
    (tmp_path / "mine.py").write_text(saver("Mine"))
    plugins = load_plugins(tmp_path)
    assert not plugins.problems and plugins.saver("mine")


def test_a_file_and_a_folder_of_one_name_cannot_both_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(saver("One"))
    (tmp_path / "mine.py").write_text(saver("Two"))
    plugins = load_plugins(tmp_path)
    (problem,) = plugins.problems
    assert problem.source.slug == "mine" and problem.error


# --- packages ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make an installed package: a module, and the metadata that pip leaves beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, version: str, entry_points: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        metadata = tmp_path / f"{name}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[sdterm]\n{entry_points}\n")
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def test_an_installed_package_announces_its_plugins(install: Callable[..., None]) -> None:
    install("packaged_saver", "1.0", "packaged = packaged_saver", saver("Packaged"))
    plugins = load_plugins()
    (source,) = [plugin.source for plugin in plugins.plugins if plugin.source.origin == "package"]
    assert (source.slug, source.location) == ("packaged", "packaged_saver")
    assert plugins.owner(plugins.saver("packaged")) == "packaged"


def test_another_version_of_a_package_has_another_digest(install: Callable[..., None], tmp_path: Path) -> None:
    install("packaged_saver", "1.0", "packaged = packaged_saver", saver("Packaged"))
    (first,) = [source.digest for source in discover(None) if source.origin == "package"]
    (tmp_path / "packaged_saver-1.0.dist-info").rename(tmp_path / "packaged_saver-1.1.dist-info")
    metadata = tmp_path / "packaged_saver-1.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    (second,) = [source.digest for source in discover(None) if source.origin == "package"]
    assert first != second


def test_a_package_that_does_not_hold_what_it_announces_is_a_problem_of_its_own(install: Callable[..., None]) -> None:
    install("packaged_nothing", "1.0", "absent = there_is_no_such_module\nfine = packaged_nothing", saver("Fine"))
    plugins = load_plugins()
    (problem,) = plugins.problems
    assert problem.source.slug == "absent"
    assert problem.error == "ModuleNotFoundError: No module named 'there_is_no_such_module'"
    assert plugins.saver("fine")


def test_extensions_and_packages_can_be_left_out(install: Callable[..., None], tmp_path: Path) -> None:
    install("packaged_saver", "1.0", "packaged = packaged_saver", "raise SystemExit('loaded')")
    folder = tmp_path / "extensions"
    folder.mkdir()
    (folder / "mine.py").write_text("raise SystemExit('loaded')")
    plugins = load_plugins(folder, third_party=False)
    assert {plugin.source.origin for plugin in plugins.plugins} == {"built-in"}
