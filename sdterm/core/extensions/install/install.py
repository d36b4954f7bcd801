"""Installing, updating and approving: first a proposal that says everything, then, if its user agrees, the change.

Nothing of an extension's code runs here. The record is what makes a change: before it is written the old extension is
the one there is, afterwards the new one, wherever the process dies in between (`placing.settle` puts the files right).
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.discovery import built_ins, packages
from sdterm.core.extensions.frozen import freeze, frozen
from sdterm.core.extensions.install.dependencies import PLACE, Wheel, install, resolve
from sdterm.core.extensions.install.fetch import Tell, fetch
from sdterm.core.extensions.install.placing import extension_paths, lay_out, put_in_place, settle, sweep_places
from sdterm.core.extensions.install.records import (
    InstallRecord,
    RecordsError,
    changing,
    note,
    own_place,
    read_records,
    write_records,
)
from sdterm.core.extensions.install.slug import alike, check_slug, slug_of
from sdterm.core.extensions.install.staging import Staging
from sdterm.core.extensions.manifest import Manifest, read_manifest
from sdterm.core.extensions.source import Source, digest, files_of
from sdterm.core.settings.paths import prepare
from sdterm.core.text import printable
from sdterm.messages import message, plural

_NATIVE = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # Linux, Windows, macOS


@dataclass(frozen=True)
class Changes:
    """How files differ from those that were approved before."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """What would be installed, updated or approved: everything that there is to say before somebody agrees to it."""

    root: Path
    slug: str
    record: InstallRecord
    """As it will be."""
    before: InstallRecord | None
    """As it is; None if nothing of that name is installed."""
    manifest: Manifest
    content: Path
    """The files, in staging."""
    files: int
    size: int
    """Bytes of all files."""
    changes: Changes
    native: tuple[str, ...]
    """Files of compiled code."""
    wheels: tuple[Wheel, ...]
    """Packages that come with it, into a place of their own."""
    warnings: tuple[str, ...]
    in_place: bool
    """Whether the files are where they belong and only their approval is missing."""
    replaces: bool
    """Whether files that its user changed are to be replaced."""
    pip: Sequence[str]
    staging: Staging

    @property
    def new_capabilities(self) -> tuple[str, ...]:
        known = self.before.capabilities if self.before else ()
        return tuple(each for each in self.record.capabilities if each not in known)

    @property
    def new_wheels(self) -> tuple[Wheel, ...]:
        known = self.before.packages if self.before else {}
        return tuple(wheel for wheel in self.wheels if known.get(wheel.name) != wheel.version)

    @property
    def unchanged(self) -> bool:
        """Whether everything is already as it would be afterwards."""
        old, new = self.before, self.record
        if old is None or self.replaces or (old.digest, old.site, old.arriving) != (new.digest, new.site, False):
            return False
        site = own_place(self.root, self.slug) / new.site
        paths = extension_paths(self.root, self.slug)
        there = new.kind == "package" or (len(paths) == 1 and digest(paths[0]) == new.digest)
        return there and (not new.site or site.is_dir())


def prepare_install(
    root: Path,
    source: str,
    tell: Tell,
    *,
    name: str | None = None,
    replace_changes: bool = False,
    transports: Sequence[str] = ("https", "ssh"),
    pip: Sequence[str] = (),
) -> Proposal:
    """Fetch a source into staging and look at it. `apply` or `discard` the proposal.

    name: what to call it. replace_changes: even if its files were changed here since they were approved. transports:
    that git may use. pip: options for pip. Raises ExtensionError, RecordsError.
    """
    staging = _begin(root)
    try:
        fetched = fetch(source, staging.path, tell, transports=transports)
        if fetched.requirement:
            return _package(root, staging, source, fetched.requirement, fetched.name, tell, pip)
        records = read_records(root)
        manifest = read_manifest(fetched.path)
        slug = _slug(records, source, name, [manifest.name, fetched.name])
        _check_not_by_hand(root, slug, records.get(slug))
        replaces = _check_unchanged_here(root, slug, records.get(slug), replace_changes)
        content = staging.path / "content" / (slug if fetched.path.is_dir() else f"{slug}.py")
        lay_out(fetched.path, content)
        return _files(root, staging, source, slug, content, manifest, tell, pip, replaces=replaces)
    except OSError as error:
        staging.close()
        raise _unreadable(source, error) from error
    except ExtensionError as error:
        staging.close()
        note(root, "refused", name or "", source=_without_credentials(source), why=str(error))
        raise
    except BaseException:
        staging.close()
        raise


def prepare_trust(root: Path, slug: str, tell: Tell, *, pip: Sequence[str] = ()) -> Proposal:
    """Look at how the files of an installed extension changed since they were approved, to approve them as they are.
    Raises ExtensionError, RecordsError."""
    record = read_records(root).get(slug)
    if record is None or record.digest is None:
        if extension_paths(root, slug):
            raise ExtensionError(
                message("{slug} was put into extensions/ by hand, so it needs no approval.", slug=slug)
            )
        raise ExtensionError(message("No extension named {slug} is installed.", slug=printable(slug)))
    paths = extension_paths(root, slug)
    if record.kind == "package" or (len(paths) == 1 and digest(paths[0]) == record.digest):
        raise ExtensionError(message("{slug} is unchanged since it was approved.", slug=slug))
    if len(paths) != 1:
        raise ExtensionError(
            message(
                "The files of {slug} are missing: `sdterm ext install {source}` restores them.",
                slug=slug,
                source=printable(record.source),
            )
        )
    staging = _begin(root)
    try:
        content = staging.path / "content" / paths[0].name
        lay_out(paths[0], content)
        manifest = read_manifest(content)
        return _files(root, staging, record.source, slug, content, manifest, tell, pip, in_place=True)
    except OSError as error:
        staging.close()
        raise _unreadable(slug, error) from error
    except BaseException:
        staging.close()
        raise


def apply(proposal: Proposal, tell: Tell) -> None:
    """Do what was proposed, and close it. Raises ExtensionError, RecordsError; then the old extension is there."""
    root, slug, record = proposal.root, proposal.slug, proposal.record
    try:
        site = proposal.content if record.kind == "package" else proposal.staging.path / "site"
        if proposal.wheels and record.kind == "files":
            tell(plural("Installing {number} package …", "Installing {number} packages …", len(proposal.wheels)))
            install(proposal.wheels, site, proposal.staging.path, options=proposal.pip)
        with changing(root):
            records = read_records(root)
            if records.get(slug) != proposal.before:
                raise ExtensionError(message("Another sdterm changed {slug} meanwhile. Review it again.", slug=slug))
            if record.kind == "files":
                _check_unchanged_here(root, slug, proposal.before, proposal.replaces or proposal.in_place)
                freeze(root, Source(slug, "extension", str(proposal.content), str(record.digest)))
            if record.site and not (place := own_place(root, slug) / record.site).exists():
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                site.rename(place)
            moves = record.kind == "files" and not proposal.in_place
            record = record.model_copy(update={"installed": time.time(), "arriving": moves})
            write_records(root, {**records, slug: record})  # from here on it is the new one
            if moves:
                put_in_place(root, slug, record, tell)
                write_records(root, {**records, slug: record.model_copy(update={"arriving": False})})
            sweep_places(root, slug, [record, proposal.before])
            note(root, _deed(proposal), slug, source=record.source, version=record.version, digest=record.digest or "")
    except RecordsError:
        raise
    except OSError as error:
        raise ExtensionError(
            message("{slug} cannot be installed: {problem}.", slug=slug, problem=error.strerror or error)
        ) from error
    finally:
        proposal.staging.close()


def discard(proposal: Proposal) -> None:
    """Its user does not agree."""
    proposal.staging.close()


def _unreadable(what: str, error: OSError) -> Exception:
    if isinstance(error, RecordsError):
        return error
    return ExtensionError(
        message("{name} cannot be read or copied: {problem}.", name=printable(what), problem=error.strerror or error)
    )


def _deed(proposal: Proposal) -> str:
    return "trusted" if proposal.in_place else "updated" if proposal.before else "installed"


def _begin(root: Path) -> Staging:
    with changing(root):
        prepare(root)
        settle(root)
        return Staging(root)


def _files(
    root: Path,
    staging: Staging,
    source: str,
    slug: str,
    content: Path,
    manifest: Manifest,
    tell: Tell,
    pip: Sequence[str],
    *,
    in_place: bool = False,
    replaces: bool = False,
) -> Proposal:
    """The proposal for files that belong into `extensions/`."""
    if content.is_dir() and not any((content / part).exists() for part in ("__init__.py", "localizations")):
        raise ExtensionError(message("It is not an extension: it has neither __init__.py nor localizations/."))
    if manifest.refusal:
        raise ExtensionError(message("{slug} cannot run here: {reason}.", slug=slug, reason=manifest.refusal))
    wheels: tuple[Wheel, ...] = ()
    if manifest.dependencies:
        tell(message("Resolving its dependencies …"))
        wheels = resolve(manifest.dependencies, _of_others(root, slug), staging.path, options=pip)
    before = read_records(root).get(slug)
    record = InstallRecord(
        enabled=before.enabled if before else True,
        digest=digest(content),
        source=_origin(source),
        version=manifest.version,
        capabilities=manifest.capabilities,
        site=_place(wheels) if wheels else "",
        packages={wheel.name: wheel.version for wheel in wheels},
    )
    old = _approved(root, slug, before) if before else None
    return _proposal(root, staging, slug, record, before, manifest, content, old, wheels, pip, in_place, replaces)


def _approved(root: Path, slug: str, record: InstallRecord) -> Path | None:
    """Where the files lie that were approved before."""
    there = (path for path in extension_paths(root, slug) if digest(path) == record.digest)
    return frozen(root, slug, record.digest or "") or next(there, None)


def _package(
    root: Path, staging: Staging, source: str, requirement: str, name: str, tell: Tell, pip: Sequence[str]
) -> Proposal:
    """The proposal for a package with the entry point group `sdterm`: it and what it needs lie in its own place."""
    records = read_records(root)
    name = canonicalize_name(name)
    mine = (slug for slug, record in records.items() if record.kind == "package" and name in record.packages)
    known = next(mine, "")
    tell(message("Resolving …"))
    wheels = resolve([requirement], _of_others(root, known), staging.path, options=pip)
    if not any(wheel.name == name for wheel in wheels):
        raise ExtensionError(message("{name} is already installed with sdterm itself.", name=printable(name)))
    tell(plural("Downloading {number} package …", "Downloading {number} packages …", len(wheels)))
    site = staging.path / "site"
    install(wheels, site, staging.path, options=pip)
    found = next(each for each in distributions(path=[str(site)]) if canonicalize_name(each.name) == name)
    points = list(found.entry_points.select(group="sdterm"))
    if len(points) != 1:
        raise ExtensionError(
            message(
                "{package} must have one sdterm plugin, but it has {number}.",
                package=printable(name),
                number=len(points),
            )
        )
    slug = points[0].name
    before = records.get(slug)
    if before is None or before.kind != "package":
        check_slug(slug, {*_taken(), *records})
        _check_not_by_hand(root, slug, None)
    record = InstallRecord(
        enabled=before.enabled if before else True,
        kind="package",
        digest=_place(wheels).removeprefix(PLACE),
        source=_origin(source),
        version=f"{found.name} {found.version}",
        site=_place(wheels),
        packages={wheel.name: wheel.version for wheel in wheels},
        entry=points[0].value,
    )
    old = own_place(root, slug) / before.site if before else None
    manifest = Manifest(name=slug[:60], description=(found.metadata["Summary"] or "")[:1000])
    return _proposal(root, staging, slug, record, before, manifest, site, old, wheels, pip, False, False)


def _proposal(
    root: Path,
    staging: Staging,
    slug: str,
    record: InstallRecord,
    before: InstallRecord | None,
    manifest: Manifest,
    content: Path,
    old: Path | None,
    wheels: tuple[Wheel, ...],
    pip: Sequence[str],
    in_place: bool,
    replaces: bool,
) -> Proposal:
    files = files_of(content)
    native = tuple(_inside(content, file) for file in files if _is_native(file))
    warnings = []
    if before is None:
        others = {*_taken(), *read_records(root), *(path.stem for path in (root / "extensions").glob("[a-z]*"))}
        warnings += [message("Its name is very similar to {other}.", other=other) for other in alike(slug, others)]
    if native and record.kind == "files" and "native" not in manifest.capabilities:
        warnings.append(
            message("It has compiled code but does not say so: {files}.", files=printable(", ".join(native[:3])))
        )
    return Proposal(
        root=root,
        slug=slug,
        record=record,
        before=before,
        manifest=manifest,
        content=content,
        files=len(files),
        size=sum(file.stat().st_size for file in files),
        changes=_changes(old, content),
        native=native,
        wheels=wheels,
        warnings=tuple(warnings),
        in_place=in_place,
        replaces=replaces,
        pip=pip,
        staging=staging,
    )


def _slug(records: Mapping[str, InstallRecord], source: str, name: str | None, names: Sequence[str]) -> str:
    """What to call an extension: as asked, or as what came from there is called already, or by the first of `names`
    that is one."""
    known = [slug for slug, record in records.items() if record.kind == "files" and record.source == _origin(source)]
    slug = name or next((each for each in [*known, *map(slug_of, names)] if each), "")
    if slug not in records:
        check_slug(slug, _taken())
    return slug


def _taken() -> set[str]:
    """Names of plugins that are no extensions."""
    return {source.slug for source in (*built_ins(), *packages())}


def _check_not_by_hand(root: Path, slug: str, record: InstallRecord | None) -> None:
    if (paths := extension_paths(root, slug)) and (record is None or record.digest is None):
        raise ExtensionError(
            message(
                "{path} was put there by hand, so sdterm does not replace it. Move it away first, or install "
                "under another name with --as.",
                path=paths[0],
            )
        )
    if record and record.kind == "package":
        raise ExtensionError(
            message("{slug} is installed as a package. Remove that first: `sdterm ext remove {slug}`.", slug=slug)
        )


def _check_unchanged_here(root: Path, slug: str, record: InstallRecord | None, allowed: bool) -> bool:
    """Whether its files were changed here since they were approved. Raises ExtensionError if that is not allowed."""
    paths = extension_paths(root, slug)
    if record is None or record.digest is None or record.arriving or not paths:
        return False
    if len(paths) == 1 and digest(paths[0]) == record.digest:
        return False
    if not allowed:
        raise ExtensionError(
            message(
                "{slug} was changed here since it was approved. `sdterm ext trust {slug}` approves it as it is; "
                "--replace updates it and keeps your files beside it.",
                slug=slug,
            )
        )
    return True


def _of_others(root: Path, slug: str) -> dict[str, tuple[str, str]]:
    """The packages that other extensions brought: name → (version, whose)."""
    records = read_records(root)
    return {n: (v, other) for other, record in records.items() if other != slug for n, v in record.packages.items()}


def _place(wheels: Sequence[Wheel]) -> str:
    return PLACE + sha256("\n".join(f"{w.name}=={w.version} {w.sha256}" for w in wheels).encode()).hexdigest()[:16]


def _origin(source: str) -> str:
    """A source as it is recorded: a path as it is from everywhere."""
    path = Path(os.path.expanduser(source))
    return str(path.absolute()) if "://" not in source and path.exists() else source


def _without_credentials(source: str) -> str:
    return re.sub(r"://[^/]*@", "://", source)


def _changes(old: Path | None, new: Path) -> Changes:
    before, after = (_contents(path) if path else {} for path in (old, new))
    return Changes(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        tuple(sorted(name for name in after.keys() & before.keys() if after[name] != before[name])),
    )


def _contents(path: Path) -> dict[str, str]:
    return {_inside(path, file): sha256(file.read_bytes()).hexdigest() for file in files_of(path) if file.is_file()}


def _inside(path: Path, file: Path) -> str:
    return str(file.relative_to(path)) if file != path else file.name


def _is_native(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4).startswith(_NATIVE)
