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
from importlib.metadata import distributions
from pathlib import Path

from sdterm.core.extensions.frozen import frozen
from sdterm.core.extensions.install.dependencies import is_own_place
from sdterm.core.extensions.install.records import InstallRecord, RecordsError, own_place, read_records
from sdterm.core.extensions.manifest import ManifestError, read_manifest
from sdterm.core.extensions.source import Source, Stamps, digest, stamp_of, stamps
from sdterm.core.files import legible
from sdterm.messages import message

BUILTINS = (
    "sdterm.plugins.sd",
    "sdterm.plugins.pipelines",
    "sdterm.plugins.networks",
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
    "sdterm.plugins.masked",
    "sdterm.plugins.soft_inpainting",
    "sdterm.plugins.upscalers.resizing",
    "sdterm.plugins.upscalers.esrgan",
    "sdterm.plugins.upscalers.others",
    "sdterm.plugins.interrogators",
    "sdterm.plugins.png",
    "sdterm.plugins.jpeg",
    "sdterm.plugins.webp",
    "sdterm.plugins.avif",
    "sdterm.plugins.memory.attention",
    "sdterm.plugins.memory.vae",
    "sdterm.plugins.memory.offload",
    "sdterm.plugins.memory.layout",
    "sdterm.plugins.memory.fp8",
    "sdterm.plugins.memory.token_merging",
    "sdterm.plugins.memory.deep_cache",
    "sdterm.plugins.memory.fast",
    "sdterm.plugins.comments",
    "sdterm.plugins.styles",
)


def discover(extensions: Path | None) -> Iterator[Source]:
    """Every plugin there is, built-ins first, then packages, then the files and folders of `extensions`, by name."""
    yield from built_ins()
    records, _ = _known(extensions.parent) if extensions else ({}, None)
    for source in packages():
        yield replace(source, refusal=_off(source.slug)) if not _enabled(records, source.slug) else source
    if extensions:
        yield from installed_packages(extensions.parent, records)
        yield from in_folder(extensions)


def installed_packages(root: Path, records: Mapping[str, InstallRecord]) -> Iterator[Source]:
    """Those that were installed for sdterm alone, by name. What was approved lies in a place of its own, where nobody
    edits it."""
    for slug, record in sorted(records.items()):
        if record.kind != "package":
            continue
        place = own_place(root, slug) / record.site
        refusal = (
            None
            if place.is_dir()
            else message(
                "{folder} is missing: `sdterm ext install {source}` restores it", folder=place, source=record.source
            )
        )
        yield Source(
            slug,
            "package",
            record.entry,
            record.digest or "",
            refusal=refusal if record.enabled else _off(slug),
            site=str(place),
            version=record.version,
        )


def in_folder(extensions: Path) -> Iterator[Source]:
    """The files and folders of `extensions` that are plugins, by name."""
    return _those(extensions, lambda path: path.suffix == ".py" or (path / "__init__.py").is_file())


def language_packs(extensions: Path) -> Iterator[Path]:
    """The `localizations/` of the folders of `extensions`, by name: data, for which nothing is run. Those of what is
    switched off or refused are left out."""
    for source in _those(extensions, lambda path: (path / "localizations").is_dir()):
        if not source.refusal:
            yield Path(source.location, "localizations")


def every_extension(extensions: Path) -> Iterator[Source]:
    """Those in `extensions`, by name, with those that are data alone."""
    return _those(
        extensions,
        lambda path: path.suffix == ".py" or any((path / part).exists() for part in ("__init__.py", "localizations")),
    )


def _those(extensions: Path, wanted: Callable[[Path], bool]) -> Iterator[Source]:
    records, unreadable = _known(extensions.parent)
    arriving = {slug: kept for slug, record in records.items() if (kept := _arriving(extensions.parent, slug, record))}
    paths = [path for path in _entries(extensions) if path.stem not in arriving]
    exposed = _exposed_by_folders(extensions / "any")
    for path in sorted([*paths, *arriving.values()], key=lambda path: path.name):
        if wanted(path):
            is_here = path.parent == extensions and not path.is_symlink()
            above = exposed if is_here else _exposed_by_folders(path)
            source = _as_approved(extensions.parent, path, records.get(path.stem, InstallRecord()), above)
            yield replace(source, refusal=unreadable) if unreadable else source


def _entries(extensions: Path) -> list[Path]:
    try:
        return [path for path in extensions.iterdir() if not path.name.startswith((".", "_"))]
    except OSError:  # there is none
        return []


def _arriving(root: Path, slug: str, record: InstallRecord) -> Path | None:
    """The approved copy of an extension whose folder is being put in place, or was when its installer died."""
    return frozen(root, slug, record.digest) if record.arriving and record.digest else None


def _known(root: Path) -> tuple[Mapping[str, InstallRecord], str | None]:
    """The records; none, and why, if they cannot be read."""
    try:
        return read_records(root), None
    except RecordsError as error:
        return {}, str(error)


def _enabled(records: Mapping[str, InstallRecord], slug: str) -> bool:
    return slug not in records or records[slug].enabled


def _off(slug: str) -> str:
    return message("it is disabled: `sdterm ext enable {slug}`", slug=slug)


def _as_approved(root: Path, path: Path, record: InstallRecord, exposed: str | None) -> Source:
    """What is to run of an extension: itself, its approved copy, or nothing. exposed: whether everyone could put
    another one there."""
    source = Source(legible(path.stem), "extension", legible(str(path)), digest(path))
    if source.location != str(path):
        return replace(source, refusal=message("its name is not valid UTF-8: rename it"))
    if record.site:
        source = replace(source, site=str(own_place(root, source.slug) / record.site))
    if not record.enabled:
        return replace(source, refusal=_off(source.slug))
    if record.digest and record.digest != source.digest:
        kept = frozen(root, source.slug, record.digest)
        if kept is None:
            return replace(
                source,
                refusal=message(
                    "it changed since it was approved: `sdterm ext trust {slug}` shows and approves the change",
                    slug=path.stem,
                ),
            )
        notice = message(
            "It changed since it was approved, and the approved version runs: `sdterm ext trust "
            "{slug}` shows the change.",
            slug=path.stem,
        )
        return _as_it_says(replace(source, location=str(kept), digest=record.digest, notice=notice))
    files = stamps(path)
    return _as_it_says(replace(source, refusal=_exposed(path, files) or exposed, notice=_strange(path, files)))


def _as_it_says(source: Source) -> Source:
    """With what its manifest adds: its version, and whether this sdterm is one that it is written for."""
    try:
        manifest = read_manifest(Path(source.location))
    except ManifestError as error:
        return replace(source, refusal=source.refusal or str(error))
    return replace(source, version=manifest.version, refusal=source.refusal or manifest.refusal)


def _exposed(path: Path, files: Stamps) -> str | None:
    """Whether everyone on the machine could put code into it."""
    folders = {path, *(file.parent for file in files)} if path not in files else set()
    for place in sorted({*files, *folders}):
        if _mode(place, files) & stat.S_IWOTH:
            return message("everyone can write to {name}: `chmod -R o-w {folder}`", name=place.name, folder=path)
    return None


def _exposed_by_folders(path: Path) -> str | None:
    """Whether everyone could put another extension in its place, since the folders above allow it; not so in one like
    /tmp (sticky), if it is further above."""
    for place in sorted({path.parent, *path.resolve().parents}):
        mode = _mode(place, {})
        if mode & stat.S_IWOTH and (place == path.parent or not mode & stat.S_ISVTX):
            return message(
                "everyone can write to {name}: `chmod -R o-w {folder}`", name=place.name or place, folder=place
            )
    return None


def _strange(path: Path, files: Stamps) -> str | None:
    """Whether it belongs to somebody else than its user and the administrator."""
    for place, stamp in {path: stamp_of(path), **files}.items():
        if stamp and stamp.st_uid not in (os.geteuid(), 0):
            return message("{name} belongs to another user (number {uid}).", name=place.name, uid=stamp.st_uid)
    return None


def _mode(place: Path, known: Stamps) -> int:
    stamp = known.get(place) or stamp_of(place)
    return stamp.st_mode if stamp else 0  # loading it will say why


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
    return _packages(tuple((place, _changed(place)) for place in sys.path if not is_own_place(place)))


@lru_cache(maxsize=1)
def _packages(places: tuple[tuple[str, int], ...]) -> tuple[Source, ...]:
    """Looked for again once a folder of `sys.path` (path, its time) changes."""
    found: dict[tuple[str, str], Source] = {}
    for distribution in distributions(path=[place for place, _ in places]):
        for point in distribution.entry_points.select(group="sdterm"):
            version = f"{distribution.name} {distribution.version}"
            content = hashlib.sha256(version.encode()).hexdigest()[:16]
            source = Source(point.name, "package", point.value, content, version=version)
            found.setdefault((distribution.name, point.name), source)  # of two the first in sys.path is imported
    return tuple(sorted(found.values(), key=lambda source: source.slug))


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0
