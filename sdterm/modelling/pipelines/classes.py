"""What diffusers' own sources say of its pipeline classes: what a call takes and gives, which tasks they are for.

The sources are read as text and never imported: importing a pipeline takes seconds and torch, and whoever only lists
models owes neither.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sdterm.core.syntax import parsed
from sdterm.hooks import Task
from sdterm.modelling.pipelines.calls import REQUIRED, Argument, documented

_CLASS = re.compile(r"^class (\w+)\b", re.MULTILINE)
_MAPPINGS: Mapping[str, Task] = {
    "AUTO_TEXT2IMAGE_PIPELINES_MAPPING": "txt2img",
    "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING": "img2img",
    "AUTO_INPAINT_PIPELINES_MAPPING": "inpaint",
}
"""diffusers' tables of the classes for a task, by the name of a family."""


@dataclass(frozen=True)
class PipelineClass:
    """A class of pipelines, as its source has it.

    takes: the arguments of its call, by name. gives: the fields of what the call returns: `images`, `frames`, `audios`
    … parts: what it is made of, the arguments of `__init__`; optional: those of them that may be missing. connected:
    whether it is two pipelines, one of which lies in another folder.
    """

    name: str
    takes: Mapping[str, Argument] = field(default_factory=dict, hash=False)
    gives: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    connected: bool = False


@cache
def pipeline_class(name: str) -> PipelineClass | None:
    """The class of that name; None if diffusers has no such pipeline."""
    path = next(iter(_sources().get(name, ())), None)
    found = path and next(node for node in _parsed(path).body if isinstance(node, ast.ClassDef) and node.name == name)
    if not found:
        return None
    inherited = [pipeline_class(base.id) for base in found.bases if isinstance(base, ast.Name) and base.id != name]
    base = next((each for each in inherited if each and each.takes), PipelineClass(name))
    functions = {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}
    call, made = functions.get("__call__"), functions.get("__init__")
    values = dict(_values(found))
    return PipelineClass(
        name,
        _arguments(call) if call else base.takes,
        frozenset(_returned(call)) if call else base.gives,
        tuple(_arguments(made)) if made else base.parts,
        frozenset(values.get("_optional_components", base.optional)),
        bool(values.get("_load_connected_pipes", base.connected)),
    )


def is_of(library: str, name: str) -> bool:
    """Whether a class belongs to one of diffusers' folders of pipelines, as the parts of a few models do."""
    return any(library == path.parent.name for path in _sources().get(name, ()))


@cache
def tasks_of(name: str) -> Mapping[Task, str]:
    """Task → the class that does it with the parts of a pipeline of that class, as diffusers' own tables have it. One
    that they do not have does what its arguments say."""
    tables, known = _tables(), pipeline_class(name)
    takes = known.takes if known else {}
    family = next((family for table in tables.values() for family, each in table.items() if each == name), None)
    found: dict[Task, str] = {task: table[family] for task, table in tables.items() if family and family in table}
    if not found:
        pictured: Task = "img2img" if "strength" in takes else "edit"
        return {"inpaint" if "mask_image" in takes else pictured if "image" in takes else "txt2img": name}
    if "image" in takes and "strength" not in takes:  # the picture is looked at, and not changed step by step
        found = {task: each for task, each in found.items() if each != name or task == "txt2img"} | {"edit": name}
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


def _home() -> Path | None:
    """Where diffusers lies. A package that is only looked for is not imported."""
    found = importlib.util.find_spec("diffusers")
    return Path(found.origin).parent / "pipelines" if found and found.origin else None


@cache
def _sources() -> Mapping[str, list[Path]]:
    """Class → the files that have one of that name."""
    home = _home()
    found: dict[str, list[Path]] = {}
    for path in sorted(home.rglob("*.py")) if home else ():
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            found.setdefault(name, []).append(path)
    return found


def _parsed(path: Path) -> ast.Module:
    return parsed(path.read_text(encoding="utf-8"))


@cache
def _tables() -> Mapping[Task, Mapping[str, str]]:
    home = _home()
    found: dict[Task, dict[str, str]] = {task: {} for task in _MAPPINGS.values()}
    for node in ast.walk(_parsed(home / "auto_pipeline.py")) if home else ():
        match node:
            case ast.Assign([ast.Name(table)], ast.Call(args=[ast.List(rows)])) if table in _MAPPINGS:
                for row in rows:
                    match row:
                        case ast.Tuple([ast.Constant(str(family)), ast.Name(name)]):
                            found[_MAPPINGS[table]][family] = name
            case ast.Assign([ast.Subscript(ast.Name(table), ast.Constant(str(family)))], ast.Name(name)):
                if table in _MAPPINGS:
                    found[_MAPPINGS[table]][family] = name
    return found


def _values(found: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """What a class assigns that is a literal."""
    for node in found.body:
        match node:
            case ast.Assign([ast.Name(name)], value):
                yield name, _literal(value)


def _arguments(function: ast.FunctionDef) -> dict[str, Argument]:
    args = function.args
    help_of = documented(ast.get_docstring(function) or "")
    defaults: list[ast.expr | None] = [None] * (len(args.args) - len(args.defaults)) + [*args.defaults]
    given = [*zip(args.args, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return {
        arg.arg: Argument(
            _literal(default) if default else REQUIRED,
            ast.unparse(arg.annotation) if arg.annotation else "",
            help_of.get(arg.arg, ""),
        )
        for arg, default in given
        if arg.arg != "self"
    }


def _returned(function: ast.FunctionDef) -> Iterator[str]:
    """The names by which a call's result is made."""
    for node in ast.walk(function):
        match node:
            case ast.Return(ast.Call(keywords=keywords)):
                yield from (keyword.arg for keyword in keywords if keyword.arg)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
