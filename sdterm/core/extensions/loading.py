"""How a plugin's modules are loaded: what lies in `extensions/` under a private name of its content, so that two
extensions, or two versions of one, never meet in `sys.modules` or `sys.path`.
"""

import importlib
import importlib.util
import linecache
import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from sdterm.core.extensions.install.dependencies import is_own_place
from sdterm.core.extensions.source import Source

_PRIVATE = "_sdterm_extension_"


def load(source: Source) -> ModuleType:
    """Import a plugin. Whatever its code raises comes through."""
    if source.origin == "built-in":
        return importlib.import_module(source.location)
    if source.site:
        _bring(source.site)
    if source.origin == "package":
        loaded = EntryPoint(source.slug, source.location, "sdterm").load()
        return loaded  # type: ignore[no-any-return]  # an entry point may name any module-like object
    path = Path(source.location)
    name = _private_name(source)
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
        forget(source)
        raise
    return module


def forget(source: Source) -> None:
    """Let go of a loaded extension's modules; what still refers to them keeps them alive. Loading it again gives new
    ones. Of what is no extension nothing is let go."""
    if source.origin != "extension":
        return
    name = _private_name(source)
    for module in [known for known in sys.modules if known == name or known.startswith(name + ".")]:
        del sys.modules[module]
    for place in [place for place in sys.path_importer_cache if place.startswith(source.location)]:
        del sys.path_importer_cache[place]
    for file in [file for file in linecache.cache if file.startswith(source.location)]:
        del linecache.cache[file]


def _bring(site: str) -> None:
    """Make importable what an extension brought, behind everything: what sdterm runs with is never covered up. What the
    same extension brought before is let go of."""
    if site in sys.path:
        return
    for place in [place for place in sys.path if is_own_place(place) and Path(place).parent == Path(site).parent]:
        sys.path.remove(place)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(place + os.sep):
                del sys.modules[name]
    sys.path.append(site)
    importlib.invalidate_caches()


def _private_name(source: Source) -> str:
    return _PRIVATE + re.sub(r"\W", "_", source.slug) + "_" + source.digest


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
