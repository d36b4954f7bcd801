"""Which plugins there are.

Built-ins are listed by name; pip packages announce themselves in the entry point group `sdterm`; the others lie in
`extensions/`. What was put there by hand is taken as it is; of what was installed, the content that was approved.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from sdterm.core.extensions.frozen import frozen
from sdterm.core.extensions.records import Record, RecordsError, read_records
from sdterm.core.extensions.source import Source, digest, files_of

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


def discover(extensions: Path | None) -> Iterator[Source]:
    """Every plugin there is, built-ins first, then packages, then the files and folders of `extensions`, by name."""
    yield from built_ins()
    yield from packages()
    if extensions:
        yield from in_folder(extensions)


def in_folder(extensions: Path) -> Iterator[Source]:
    """The files and folders of `extensions` that are plugins, by name."""
    return _those(extensions, lambda path: path.suffix == ".py" or (path / "__init__.py").is_file())


def language_packs(extensions: Path) -> Iterator[Path]:
    """The `localizations/` of the folders of `extensions`, by name: data, for which nothing is run. Those of what is
    switched off or refused are left out."""
    for source in _those(extensions, lambda path: (path / "localizations").is_dir()):
        if not source.refusal:
            yield Path(source.location, "localizations")


def _those(extensions: Path, wanted: Callable[[Path], bool]) -> Iterator[Source]:
    if not extensions.is_dir():
        return
    unreadable = None
    try:
        records: Mapping[str, Record] = read_records(extensions.parent)
    except RecordsError as error:
        records, unreadable = {}, str(error)
    for path in sorted(extensions.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if wanted(path):
            source = _as_approved(extensions.parent, path, records.get(path.stem, Record()))
            yield replace(source, refusal=unreadable) if unreadable else source


def _as_approved(root: Path, path: Path, record: Record) -> Source:
    source = Source(path.stem, "extension", str(path), digest(path))
    if not record.enabled:
        return replace(source, refusal=f"it is switched off: `sdterm ext enable {path.stem}`")
    if record.digest and record.digest != source.digest:
        kept = frozen(root, source.slug, record.digest)
        review = f"changed since it was approved: `sdterm ext trust {path.stem}` shows and approves the change"
        if kept is None:
            return replace(source, refusal=f"it {review}")
        return replace(source, location=str(kept), digest=record.digest, notice=f"It {review}; what was approved runs.")
    return replace(source, refusal=_unsafe(path), notice=_strange(path))


def _unsafe(path: Path) -> str | None:
    """Whether everyone on the machine could put code into it."""
    for place in {path, *files_of(path), *(file.parent for file in files_of(path) if path.is_dir())}:
        try:
            mode = place.stat().st_mode
        except OSError:
            continue  # loading it will say why
        if mode & stat.S_IWOTH:
            return f"everyone may write {place.name}: `chmod -R o-w {path.name}`"
    return None


def _strange(path: Path) -> str | None:
    try:
        owner = path.stat().st_uid
    except OSError:
        return None
    return None if owner in (os.geteuid(), 0) else f"It belongs to another user (number {owner})."


@cache
def built_ins() -> tuple[Source, ...]:
    """Looked at once: what a process has imported stays as it was."""
    sources = []
    for module in BUILTINS:
        path = Path(__file__).parents[2].joinpath(*module.split(".")[1:])
        content = digest(path if path.is_dir() else path.with_suffix(".py"))
        sources.append(Source(module.removeprefix("sdterm.plugins."), "built-in", module, content))
    return tuple(sources)


def packages() -> tuple[Source, ...]:
    """Those that installed packages announce."""
    return _packages(tuple((place, _changed(place)) for place in sys.path))


@lru_cache(maxsize=1)
def _packages(places: tuple[tuple[str, int], ...]) -> tuple[Source, ...]:
    """Looked for again once a folder of `sys.path` (path, its time) changes."""
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
