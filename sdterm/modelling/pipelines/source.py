"""diffusers' own schedulers, read and never imported: that takes seconds, and torch."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

from sdterm.core.syntax import parsed


@cache
def class_of(name: str) -> ast.ClassDef | None:
    """The definition of a class; None for one that is not there."""
    if (file := _files().get(name)) is None:
        return None
    found = parsed(file.read_text(encoding="utf-8")).body
    return next(each for each in found if isinstance(each, ast.ClassDef) and each.name == name)


@cache
def takes(name: str, method: str) -> frozenset[str]:
    """The arguments of a method, as the class or the nearest of its bases has it."""
    found = class_of(name)
    for each in found.body if found else ():
        if isinstance(each, ast.FunctionDef) and each.name == method:
            return frozenset(argument.arg for argument in (*each.args.args[1:], *each.args.kwonlyargs))
    bases = [base.id for base in (found.bases if found else ()) if isinstance(base, ast.Name)]
    return next((inherited for base in bases if (inherited := takes(base, method))), frozenset())


def classes() -> tuple[str, ...]:
    """The names of all."""
    return tuple(_files())


@cache
def _files() -> dict[str, Path]:
    """Class → the file that has it."""
    spec = importlib.util.find_spec("diffusers")  # a package that is only looked for is not imported
    folder = Path(spec.origin).parent / "schedulers" if spec and spec.origin else None
    files = sorted(folder.glob("*.py")) if folder else []
    return {name: file for file in files for name in re.findall(r"(?m)^class (\w+)\b", file.read_text("utf-8"))}
