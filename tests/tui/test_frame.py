"""Who knows whom in the workstation, by its imports: those for types alone, too, which import-linter passes over."""

from graphlib import CycleError, TopologicalSorter

import pytest
from grimp import ImportGraph, build_graph

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
