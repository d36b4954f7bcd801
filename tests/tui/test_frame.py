"""Who knows whom in the workstation, by its imports: those for types alone, too, which import-linter passes over."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from grimp import ImportGraph, build_graph

from sdterm.core.settings.paths import PACKAGE

TUI = "sdterm.tui"
INNER = (f"{TUI}.screens", f"{TUI}.widgets", f"{TUI}.picture")


@pytest.fixture(scope="module")
def imports() -> ImportGraph:
    return build_graph("sdterm", exclude_type_checking_imports=False, cache_dir=None)


def test_no_circle_is_among_its_modules(imports: ImportGraph) -> None:
    modules = {TUI} | imports.find_descendants(TUI)
    above = {module: imports.find_modules_directly_imported_by(module) & modules for module in modules}
    try:
        TopologicalSorter(above).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])), pytrace=False)


def test_screens_and_widgets_know_the_application_by_its_protocol_alone(imports: ImportGraph) -> None:
    inner = {module for module in imports.modules if module.startswith(INNER)}
    assert len(inner) > 20
    assert imports.find_modules_that_directly_import(f"{TUI}.app") & inner == set()
    assert {module for module in inner if imports.chain_exists(module, f"{TUI}.app")} == set()


HOST = ("sdterm.client", "sdterm.host", f"{TUI}.link", f"{TUI}.answering")


def test_screens_and_widgets_post_calls_and_never_speak_to_the_host(imports: ImportGraph) -> None:
    """They import nothing that reaches the host, and make none of the calls themselves: `calls` lists all there are."""
    speakers = {
        module: sorted(name for name in imports.find_modules_directly_imported_by(module) if name.startswith(HOST))
        for module in imports.modules
        if module.startswith(INNER[:2])
    }
    assert {module: names for module, names in speakers.items() if names} == {}
    spoken = {f"{path.name}:{line}: {what}" for path in inner_files() for line, what in _spoken(path)}
    assert spoken == set()
    assert [*_spoken(PACKAGE / "tui" / "calls.py")], "what this looks for is there"


def inner_files() -> Iterator[Path]:
    for room in ("screens", "widgets"):
        yield from sorted((PACKAGE / "tui" / room).glob("*.py"))


def _spoken(path: Path) -> Iterator[tuple[int, str]]:
    """Where a file makes a call of the host, has one answered, or takes the link to it from the application."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("HostCall", "Client", "connect"):
            yield node.lineno, ast.unparse(node.func)
        elif isinstance(node, ast.Attribute) and node.attr in ("host", "link", "carry_out"):
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.arg) and node.arg in ("host", "client"):
            yield node.lineno, node.arg
