"""What of Textual (and textual-image) is used though it is private: after an upgrade, a test here names what moved."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache

import pytest
from textual import _ansi_sequences, _compositor, _xterm_parser, app, constants, screen, timer
from textual.drivers import _writer_thread, linux_driver
from textual.widgets import DataTable, Input, OptionList, TextArea
from textual_image import _sixel

from sdterm.core.settings.paths import PACKAGE

ATTRIBUTES = [
    (app.App, "_batch_count", "nothing is painted while it is not 0"),
    (app.App, "_driver", "the terminal; None before it is open"),
    (app.App, "_exit", "the app is about to end"),
    (app.App, "_installed_screens", "name → a screen, or what makes it"),
    (app.App, "_mounted_event", "set once there are the widgets, of screens too"),
    (screen.Screen, "_compositor", "which widgets cover which"),
    (timer.Timer, "_skip", "a late timer loses its turn"),
    (TextArea, "_line_cache", "rendered lines"),
    (OptionList, "_lines", "(option, line of it) of each line"),
    (linux_driver.LinuxDriver, "_debug", "keys are logged"),
    (linux_driver.LinuxDriver, "_file", "where the writer thread writes"),
    (linux_driver.LinuxDriver, "_key_thread", "what is typed is read in it"),
    (DataTable, "_require_update_dimensions", "its columns have another width"),
    (linux_driver.LinuxDriver, "_writer_thread", "all output goes through it"),
    (linux_driver.LinuxDriver, "exit_event", "the input thread is to end"),
    (linux_driver.LinuxDriver, "fileno", "standard input"),
    (_writer_thread.WriterThread, "_queue", "what is not yet written"),
]
METHODS = [
    (app.App, "_display", "self screen renderable"),
    (app.App, "_handle_exception", "self error"),
    (app.App, "_on_exit_app", "self"),
    (app.App, "_replace_screen", "self screen"),
    (DataTable, "_clear_caches", "self"),
    (TextArea, "_on_key", "self event"),
    (TextArea, "_on_paste", "self event"),
    (Input, "_on_paste", "self event"),
    (Input, "_value", "self"),
    (linux_driver.LinuxDriver, "run_input_thread", "self"),
    (linux_driver.LinuxDriver, "process_message", "self message"),
    (_xterm_parser.XTermParser, "__init__", "self debug"),
    (_xterm_parser.XTermParser, "feed", "self data"),
    (_xterm_parser.XTermParser, "tick", "self"),
    (_compositor.Compositor, "visible_widgets", "self"),
    (_compositor.CompositorUpdate, "render_segments", "self console"),
]


@pytest.mark.parametrize(("owner", "name", "what"), ATTRIBUTES, ids=lambda value: getattr(value, "__name__", value))
def test_an_attribute_is_still_there(owner: type, name: str, what: str) -> None:
    assert name in names_of(owner), f"{owner.__name__}.{name} is gone: {what}"


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_a_method_is_still_there_and_takes_the_same(owner: type, name: str, parameters: str) -> None:
    found = inspect.getattr_static(owner, name)
    method = found.fget if isinstance(found, property) else found
    assert callable(method)
    assert [*inspect.signature(method).parameters] == parameters.split()


def test_what_is_imported_is_still_there() -> None:
    assert {"spans", "chops", "chop_ends"} <= names_of(_compositor.ChopsUpdate), (
        "which cells are written, and with what"
    )
    assert {"strips", "region"} <= names_of(_compositor.LayoutUpdate), "all cells"
    assert issubclass(_compositor.LayoutUpdate, _compositor.CompositorUpdate)
    assert issubclass(_compositor.ChopsUpdate, _compositor.CompositorUpdate)
    assert constants.ESCAPE_DELAY > 0
    assert "\x1b[A" in _ansi_sequences.ANSI_SEQUENCES_KEYS, "what a sequence of bytes means"
    assert next(iter(inspect.signature(_sixel.image_to_sixels).parameters)) == "image"


def test_nothing_else_that_is_private_is_used() -> None:
    """Nor is a name of Textual's taken for something of ours by accident."""
    known = {name for _, name, _ in (*ATTRIBUTES, *METHODS) if name.startswith("_")}
    used = {name: where for where, name in _used() if not name.startswith("__")}
    assert {name: where for name, where in used.items() if name not in known} == {}
    assert {name for name in known if not name.startswith("__")} - {*used} == set(), "listed here and not used"


def _used() -> Iterator[tuple[str, str]]:
    """(where, name) of what is private elsewhere."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((PACKAGE / "tui").rglob("*.py"))}
    ours = {name for text in sources.values() for name in _OURS.findall(text)}
    for path, text in sources.items():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr not in ours | _PUBLIC:
                yield f"{path.name}:{node.lineno}", node.attr
            elif isinstance(node, ast.Constant) and re.fullmatch(r"_[a-z]\w+", str(node.value)):
                yield f"{path.name}:{node.lineno}", str(node.value)
        module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                bases = [base for base in getattr(module, node.name).__mro__ if base.__module__.startswith("textual.")]
                for name in _mentioned(node) & {name for base in bases for name in names_of(base)}:
                    yield f"{path.name}:{node.name}", name


def _mentioned(node: ast.ClassDef) -> set[str]:
    """The private names that a class has, or takes from itself."""
    attributes = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and ast.unparse(n.value) in _SELF}
    defined = {n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in attributes | defined if name.startswith("_") and not name.startswith("__")}


_PUBLIC = {"_replace", "_asdict"}
"""Of named tuples, and documented."""
_SELF = ("self", "super()")
_OURS = re.compile(r"(?:\bself\.|\bdef |\bclass |^\s*)(_[a-z]\w*)", re.MULTILINE)


@cache
def names_of(owner: type) -> set[str]:
    """All that a class and its instances have."""
    found: set[str] = set()
    for base in owner.__mro__[:-1]:
        found |= {*vars(base), *getattr(base, "__annotations__", ())}
        found |= {*re.findall(r"\bself\.(\w+)", inspect.getsource(base))}
    return found
