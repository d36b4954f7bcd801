"""Discovery: which plugins there are, and how their modules are loaded.

Built-ins are listed by name; pip packages announce themselves in the entry point group `sdterm`; what lies in
`extensions/` is loaded under a private module name, so that two extensions, or two versions of one, never meet in
`sys.modules` or `sys.path`.
"""

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

BUILTINS = (
    "sdterm.plugins.sd1",
    "sdterm.plugins.samplers.dpmpp_2m",
    "sdterm.plugins.samplers.dpmpp_sde",
    "sdterm.plugins.samplers.dpmpp_2s_a",
    "sdterm.plugins.samplers.euler",
    "sdterm.plugins.samplers.lms",
    "sdterm.plugins.samplers.heun",
    "sdterm.plugins.samplers.dpm2",
    "sdterm.plugins.samplers.dpm_solver",
    "sdterm.plugins.samplers.restart",
    "sdterm.plugins.samplers.ddim",
    "sdterm.plugins.samplers.plms",
    "sdterm.plugins.samplers.unipc",
    "sdterm.plugins.samplers.lcm",
    "sdterm.plugins.schedulers",
    "sdterm.plugins.png",
    "sdterm.plugins.jpeg",
    "sdterm.plugins.webp",
    "sdterm.plugins.avif",
    "sdterm.plugins.attention",
    "sdterm.plugins.vae_tiling",
    "sdterm.plugins.comments",
    "sdterm.plugins.styles",
)


_PRIVATE = "_sdterm_extension_"


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from. `digest` identifies its content: same digest, same behaviour."""

    slug: str
    origin: Literal["built-in", "package", "extension"]
    location: str
    digest: str


def discover(extensions: Path | None) -> Iterator[Source]:
    """Every plugin there is, built-ins first, then packages, then the files and folders of `extensions`, by name."""
    yield from _builtins()
    yield from _packages(tuple((place, _changed(place)) for place in sys.path))
    for path in sorted(extensions.iterdir()) if extensions and extensions.is_dir() else ():
        if path.name.startswith((".", "_")):
            continue
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            yield Source(path.stem, "extension", str(path), digest(path))


@cache
def _builtins() -> tuple[Source, ...]:
    """Looked at once: what a process has imported stays as it was."""
    sources = []
    for module in BUILTINS:
        path = Path(__file__).parents[1].joinpath(*module.split(".")[1:])
        content = digest(path if path.is_dir() else path.with_suffix(".py"))
        sources.append(Source(module.removeprefix("sdterm.plugins."), "built-in", module, content))
    return tuple(sources)


@lru_cache(maxsize=1)
def _packages(places: tuple[tuple[str, int], ...]) -> tuple[Source, ...]:
    """Of packages that announce themselves; looked for again once a folder of `sys.path` (path, its time) changes."""
    sources = []
    for point in sorted(entry_points(group="sdterm"), key=lambda p: p.name):
        version = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
        content = hashlib.sha256(version.encode()).hexdigest()[:16]
        sources.append(Source(point.name, "package", point.value, content))
    return tuple(sources)


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def load(source: Source) -> ModuleType:
    """Import a plugin. Whatever its code raises comes through."""
    if source.origin == "built-in":
        return importlib.import_module(source.location)
    if source.origin == "package":
        loaded = EntryPoint(source.slug, source.location, "sdterm").load()
        return loaded  # type: ignore[no-any-return]  # an entry point may name any module-like object
    path = Path(source.location)
    name = _PRIVATE + re.sub(r"\W", "_", source.slug) + "_" + source.digest
    if name in sys.modules:
        return sys.modules[name]
    file = path / "__init__.py" if path.is_dir() else path
    spec = importlib.util.spec_from_file_location(
        name,
        file,
        loader=_Uncached(name, str(file)),
        submodule_search_locations=[str(path)] if path.is_dir() else None,
    )
    assert spec and spec.loader  # it was given one
    if not any(isinstance(finder, _PrivateModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PrivateModules())
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and relative imports look here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Uncached(SourceFileLoader):
    """Compiles the source it finds. Python's compiled files are told from stale ones by time and size only, which an
    editor that restores times defeats."""

    def path_stats(self, path: str | bytes) -> Any:
        raise OSError("extensions are not cached")


class _PrivateModules(MetaPathFinder):
    """Finds what an extension imports from its own folder, uncached too."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_PRIVATE) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Uncached(fullname, spec.loader.path)
        return spec


def digest(path: Path) -> str:
    """Identifies the content of a file, or of every source and data file under a folder."""
    content = hashlib.sha256()
    inside = (p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    for file in [path] if path.is_file() else sorted(inside):
        content.update(f"{file.relative_to(path) if file != path else file.name}\0".encode(errors="surrogateescape"))
        try:
            content.update(file.read_bytes())
        except OSError:
            content.update(b"unreadable")  # loading it will say why
    return content.hexdigest()[:16]
