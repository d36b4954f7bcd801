"""What can be seen to be wrong with an extension without running any of it."""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from sdterm import hooks
from sdterm.core.extensions.kinds import BY_HOOK
from sdterm.core.extensions.manifest import FILE, ManifestError, read_manifest
from sdterm.core.extensions.source import files_of
from sdterm.core.files import legible
from sdterm.core.names import did_you_mean
from sdterm.core.syntax import parsed
from sdterm.messages import message

DESCRIPTORS: dict[str, type[Any]] = {
    name: kind for name, kind in vars(hooks).items() if isinstance(kind, type) and is_dataclass(kind)
}
_FOR_EXTENSIONS = ("sdterm.hooks.", "sdterm.messages.", "sdterm.modelling.", "sdterm.testing.")
_SHARED_RANDOM = {
    "torch": {"manual_seed", "seed", "randn", "rand", "randint", "randperm", "randn_like", "rand_like", "normal"},
    "random": {"seed", "random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "gauss"},
    "numpy.random": {"seed", "rand", "randn", "randint", "random", "choice", "shuffle", "normal", "uniform"},
}
"""Functions that draw from a generator that everybody shares, by module."""


@dataclass(frozen=True)
class Finding:
    """One thing. An error keeps the extension from working; a warning is against the rules, or a risk."""

    file: str
    line: int
    column: int
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"


def check(path: Path) -> list[Finding]:
    """Everything found in an extension: a folder, or a single file."""
    found: list[Finding] = []
    root = path if path.is_dir() else path.parent
    try:
        manifest = read_manifest(path)
        if manifest.refusal:
            found.append(Finding(FILE, 1, 1, manifest.refusal))
    except ManifestError as error:
        found.append(Finding(FILE, 1, 1, str(error)))
    if path.is_dir() and not any((path / name).exists() for name in ("__init__.py", "localizations")):
        found.append(Finding(path.name, 1, 1, message("it has no __init__.py, so nothing would be loaded")))
    hook_functions = 0
    for file in files_of(path):
        name = legible(str(file.relative_to(root)))
        if file.is_symlink() and not file.resolve().is_relative_to(root.resolve()):
            found.append(Finding(name, 1, 1, message("it is a link to something outside the extension")))
        elif file.suffix == ".py":
            try:
                tree = parsed(file.read_bytes(), name)
            except SyntaxError as error:
                found.append(Finding(name, error.lineno or 1, error.offset or 1, f"{error.msg}"))
                continue
            except (OSError, ValueError, RecursionError) as error:
                found.append(Finding(name, 1, 1, message("it cannot be read: {problem}", problem=error)))
                continue
            reader = _Reader(name, path.stem)
            reader.visit(tree)
            found += sorted(reader.found, key=lambda finding: (finding.line, finding.column))
            hook_functions += reader.hooks
    if not hook_functions and not found and (path.is_file() or (path / "__init__.py").exists()):
        said = message("no function has @hookimpl, so the extension offers nothing")
        found.append(Finding(path.name, 1, 1, said, "warning"))
    return found


class _Reader(ast.NodeVisitor):
    """Reads one module."""

    def __init__(self, file: str, slug: str) -> None:
        self.file, self.slug = file, slug
        self.is_test = "tests" in Path(file).parts  # which may look behind the contract, and draw as they like
        self.found: list[Finding] = []
        self.hooks = 0
        self.names: dict[str, str] = {}  # a name here → what it is, dotted

    def _find(self, node: ast.expr | ast.stmt, message: str, severity: Literal["error", "warning"] = "error") -> None:
        self.found.append(Finding(self.file, node.lineno, node.col_offset + 1, message, severity))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.names[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )
            self._imported(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            self.names[alias.asname or alias.name] = f"{module}.{alias.name}"
            if module == "sdterm.hooks" and not node.level and alias.name != "*" and not hasattr(hooks, alias.name):
                self._find(
                    node,
                    message(
                        "sdterm.hooks has no {name}{hint}", name=alias.name, hint=did_you_mean(alias.name, vars(hooks))
                    ),
                )
        if not node.level:
            self._imported(node, module)

    def _imported(self, node: ast.stmt, module: str) -> None:
        first, _, rest = module.partition(".")
        if first == self.slug and first not in sys.stdlib_module_names and importlib.util.find_spec(first) is None:
            self._find(
                node, message("import the extension's own modules relatively: from .{module} import …", module=rest)
            )
        elif self.is_test:
            return
        elif first == "sdterm" and not f"{module}.".startswith(_FOR_EXTENSIONS) and module != "sdterm":
            self._find(
                node,
                message("{module} is internal and may change: extensions may rely on sdterm.hooks only", module=module),
                "warning",
            )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if marks := [decorator for decorator in node.decorator_list if self._is_hookimpl(decorator)]:
            self.hooks += 1
            options = {word.arg: word.value for mark in marks if isinstance(mark, ast.Call) for word in mark.keywords}
            if "wrapper" in options or "hookwrapper" in options:
                self._find(
                    node,
                    message(
                        "{function} is a wrapper, but a plugin cannot change what other plugins return",
                        function=node.name,
                    ),
                )
            match options.get("specname"):
                case ast.Constant(value=str(name)):
                    pass
                case _:
                    name = node.name
            if name not in BY_HOOK:
                self._find(node, message("there is no hook {name}{hint}", name=name, hint=did_you_mean(name, BY_HOOK)))
            given = [*node.args.posonlyargs, *node.args.args]
            if given[len(node.args.defaults) :]:
                self._find(
                    node,
                    message(
                        "a hook is called without arguments, but {function} takes {argument}",
                        function=node.name,
                        argument=given[0].arg,
                    ),
                )
        elif node.name in BY_HOOK:
            self._find(node, message("{function} lacks @hookimpl, so it is not called", function=node.name), "warning")
        self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        if any(self._is_hookimpl(decorator) for decorator in node.decorator_list):
            self._find(node, message("a hook is an ordinary function, not an async one"))
        self.generic_visit(node)

    def _is_hookimpl(self, decorator: ast.expr) -> bool:
        return self._dotted(decorator.func if isinstance(decorator, ast.Call) else decorator) == "sdterm.hooks.hookimpl"

    def visit_Call(self, node: ast.Call) -> None:
        called = self._dotted(node.func)
        module, _, name = called.rpartition(".")
        if module == "sdterm.hooks" and name in DESCRIPTORS:
            self._check_descriptor(node, name)
        own = any(keyword.arg == "generator" for keyword in node.keywords)
        if name in _SHARED_RANDOM.get(module, ()) and not own and not self.is_test:
            said = message(
                "{function} uses the global random generator: use the `noise` or `rng` argument instead",
                function=called,
            )
            self._find(node, said, "warning")
        if called.startswith("sys.path."):
            self._find(
                node,
                message("sys.path is shared by all plugins: import the extension's own modules relatively"),
                "warning",
            )
        self.generic_visit(node)

    def _check_descriptor(self, node: ast.Call, name: str) -> None:
        known = {field.name: field for field in fields(DESCRIPTORS[name])}
        if len(node.args) > len(known):
            self._find(
                node,
                message(
                    "{name} takes {expected} arguments, not {given}",
                    name=name,
                    expected=len(known),
                    given=len(node.args),
                ),
            )
        given = {keyword.arg for keyword in node.keywords} | set([*known][: len(node.args)])
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in known:
                self._find(
                    keyword.value,
                    message(
                        "{name} has no field {field}{hint}",
                        name=name,
                        field=keyword.arg,
                        hint=did_you_mean(keyword.arg, known),
                    ),
                )
        if None in given or any(isinstance(argument, ast.Starred) for argument in node.args):
            return  # what else is given is not to be seen
        for field in known.values():
            needed = field.default is MISSING and field.default_factory is MISSING
            if needed and field.name not in given:
                self._find(node, message("{name} lacks {field}", name=name, field=field.name))

    def _dotted(self, node: ast.expr) -> str:
        """What a name stands for; empty if that is not to be seen."""
        match node:
            case ast.Name(id=name):
                return self.names.get(name, "")
            case ast.Attribute(value=value, attr=name):
                before = self._dotted(value)
                return f"{before}.{name}" if before else ""
        return ""


def errors(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Those that keep it from working."""
    return (finding for finding in findings if finding.severity == "error")
