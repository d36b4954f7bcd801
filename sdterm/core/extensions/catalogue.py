"""The catalogue: what plugins offer, as data, for front ends that run no plugin code.

It is exported by a process of its own (`python -m sdterm.core.extensions.catalogue FOLDER FILE`) and cached by the
content of all plugins, so that listing and validating need neither torch nor strangers' code in the asking process.
"""

import contextlib
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict

from sdterm.core.extensions.discovery import discover
from sdterm.core.extensions.kinds import BY_NAME, Descriptor, Kind, kind_of
from sdterm.core.extensions.registry import Plugin, PluginSet, load_plugins
from sdterm.core.extensions.source import Source
from sdterm.core.processes import BoundsError, run_bounded
from sdterm.core.sealed import read_sealed, write_sealed
from sdterm.errors import SdtermError
from sdterm.events import Saying, Text
from sdterm.hooks import MemoryOptimizer, Option, OutputSaver, Sampler, Scheduler
from sdterm.messages import message
from sdterm.version import __version__

_FORMAT = 6  # of the cache
EXPORT_TIMEOUT = 60  # seconds; an extension that takes longer to import is stuck


class CatalogueError(SdtermError, RuntimeError):
    """The plugins could not be listed."""

    code = "plugins_broken"


class Offer(BaseModel):
    """One thing a plugin offers: everything of its descriptor but the code."""

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    label: str
    plugin: str
    aliases: tuple[str, ...] = ()
    note: str = ""
    options: tuple[Option, ...] = ()
    facts: dict[str, bool | int | float | str | tuple[str, ...] | dict[str, str] | None] = {}
    """Its other values that are data, by field."""

    def draws(self, process: str) -> bool:
        """Whether a model of that process can be drawn with it."""
        models = self.facts.get("models")
        return not isinstance(models, tuple) or process in models


class PluginEntry(Saying):
    """One plugin, loaded or not."""

    model_config = ConfigDict(frozen=True)

    slug: str
    origin: Literal["built-in", "package", "extension"]
    location: str
    digest: str
    gives: tuple[str, ...]
    error: Text | None = None
    version: str = ""


class Catalogue(BaseModel):
    """Everything on offer."""

    model_config = ConfigDict(frozen=True)

    offers: tuple[Offer, ...]
    plugins: tuple[PluginEntry, ...]

    def of(self, kind: str) -> tuple[Offer, ...]:
        return tuple(offer for offer in self.offers if offer.kind == kind)

    def names(self) -> PluginSet:
        """What is on offer as a plugin set without code: enough to look up names and check options. What would have
        to run does not: it raises RuntimeError."""
        gives: dict[str, list[Descriptor]] = {entry.slug: [] for entry in self.plugins}
        owners: dict[int, str] = {}
        given = []
        for offer in self.offers:
            if kind := BY_NAME.get(offer.kind):
                given.append(_hollow(kind, offer))
                gives[offer.plugin].append(given[-1])
                owners[id(given[-1])] = offer.plugin
        plugins = tuple(
            Plugin(Source(e.slug, e.origin, e.location, e.digest), tuple(gives[e.slug]), e.error) for e in self.plugins
        )
        return PluginSet(plugins, MappingProxyType(owners), tuple(given))


def load_catalogue(root: Path, *, third_party: bool = True) -> Catalogue:
    """The catalogue of a data root, from the cache or exported anew. Raises CatalogueError."""
    folder = root / "extensions" if third_party else None
    key = [__version__, _FORMAT, third_party, *([s.slug, s.digest] for s in discover(folder))]
    cache = root / "cache" / "catalogue.json"
    cached = read_sealed(cache)
    if isinstance(cached, dict) and cached.get("key") == key:
        return Catalogue.model_validate(cached["catalogue"])
    catalogue = _export_elsewhere(folder)
    with contextlib.suppress(OSError):  # without a cache the next call exports again
        write_sealed(cache, {"key": key, "catalogue": catalogue.model_dump(mode="json")})
    return catalogue


def catalogue_of(plugins: PluginSet) -> Catalogue:
    """A plugin set as data."""
    offers = [
        Offer(
            kind=kind_of(type(given)).name,
            id=given.id,
            label=given.label,
            plugin=plugins.owner(given),
            aliases=tuple(getattr(given, "aliases", ())),
            note=_note(given),
            options=getattr(given, "options", ()),
            facts=_facts(given),
        )
        for given in plugins.given
    ]
    entries = [
        PluginEntry(
            slug=plugin.source.slug,
            origin=plugin.source.origin,
            location=plugin.source.location,
            digest=plugin.source.digest,
            gives=tuple(f"{kind_of(type(given)).name} {given.label}" for given in plugin.gives),
            error=plugin.error,
            version=plugin.source.version,
        )
        for plugin in plugins.plugins
    ]
    return Catalogue(offers=tuple(offers), plugins=tuple(entries))


def _note(given: object) -> str:
    match given:
        case Sampler(grid="own"):
            return message("has its own schedule")
        case Sampler(default_scheduler=str(name)):
            return message("Automatic schedule: {name}", name=name)
        case OutputSaver(suffix=suffix):
            return suffix
        case MemoryOptimizer() as optimizer:
            if optimizer.rung:
                return message("{effect}; turned on when memory runs out", effect=optimizer.effect)
            return optimizer.effect
        case Scheduler() | _:
            return ""


def _facts(given: Descriptor) -> dict[str, Any]:
    said = {field.name: getattr(given, field.name) for field in fields(given) if field.name not in Offer.model_fields}
    texts = {name: dict(value) for name, value in said.items() if isinstance(value, Mapping)}
    lists = {name: v for name, v in said.items() if isinstance(v, tuple) and all(isinstance(each, str) for each in v)}
    return texts | lists | {name: v for name, v in said.items() if isinstance(v, bool | int | float | str | None)}


def _hollow(kind: Kind, offer: Offer) -> Descriptor:
    """A descriptor with everything but its code."""
    given: dict[str, Any] = {"id": offer.id, "label": offer.label, **offer.facts}
    names = [field.name for field in fields(kind.descriptor)]
    given |= {name: getattr(offer, name) for name in ("aliases", "options") if name in names}
    hollow: Descriptor = kind.descriptor(**{name: given.get(name, _no_code) for name in names})
    return hollow


def _no_code(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("The catalogue holds no code.")


def _export_elsewhere(folder: Path | None) -> Catalogue:
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "catalogue.json"
        command = [sys.executable, "-P", "-m", "sdterm.core.extensions.catalogue", str(folder or ""), str(target)]
        try:
            done = run_bounded(command, EXPORT_TIMEOUT)
        except BoundsError as error:
            raise CatalogueError(_stuck(folder, str(error))) from None
        if done.code or not target.is_file():
            raise CatalogueError(_stuck(folder, message("ended the process (exit code {code})", code=done.code)))
        return Catalogue.model_validate_json(target.read_bytes())


def _stuck(folder: Path | None, what: str) -> str:
    return message(
        "Loading the plugins {problem}. Check what was last changed in {folder}, or start with "
        "--disable-all-extensions.",
        problem=what,
        folder=folder,
    )


if __name__ == "__main__":
    _folder, _target = sys.argv[1:]
    _plugins = load_plugins(Path(_folder) if _folder else None, third_party=bool(_folder))
    Path(_target).write_text(catalogue_of(_plugins).model_dump_json(), encoding="utf-8")
