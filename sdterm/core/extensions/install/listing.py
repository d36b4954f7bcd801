"""The extensions as a list to look at. Nothing of their code runs for it."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from sdterm.core.extensions.discovery import every_extension, installed_packages, packages
from sdterm.core.extensions.install.records import InstallRecord, read_records
from sdterm.core.extensions.manifest import Manifest, ManifestError, read_manifest
from sdterm.core.extensions.source import Source
from sdterm.core.names import find
from sdterm.events import Saying, Text
from sdterm.messages import message

State = Literal["on", "off", "waiting", "refused", "gone"]

STATES = {
    "on": message("runs"),
    "off": message("disabled"),
    "waiting": message("changed since it was approved; the approved version runs"),
    "refused": message("does not run"),
    "gone": message("its files are missing"),
}


class Listed(Saying):
    """One extension, by what is known without running it."""

    model_config = ConfigDict(frozen=True)

    slug: str
    state: State
    came: Literal["by hand", "installed", "package"]
    """Put into `extensions/` by hand; installed by sdterm; in a package of sdterm's own environment."""
    version: str = ""
    source: str = ""
    """Where it was installed from."""
    location: str = ""
    why: Text = ""
    """Why it does not run, or what its user should know."""
    digest: str = ""
    """Of what runs."""
    capabilities: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """What it brought, as `name version`."""
    installed: float | None = None
    """Seconds since 1970."""
    description: str = ""


def listed(root: Path) -> tuple[Listed, ...]:
    """All extensions and plugin packages, by name. Raises RecordsError."""
    records = read_records(root)
    found = [*packages(), *installed_packages(root, records), *every_extension(root / "extensions")]
    rows = [_row(source, records.get(source.slug), root / "extensions") for source in found]
    known = {source.slug for source in found}
    gone = (slug for slug, record in records.items() if slug not in known and record.digest)
    rows += [_gone(slug, records[slug]) for slug in gone]
    return tuple(sorted(rows, key=lambda row: row.slug))


def find_listed(root: Path, slug: str) -> Listed:
    """The one of that name. Raises UnknownNameError, RecordsError."""
    rows = {row.slug: row for row in listed(root)}
    return rows.get(slug) or find("extension", slug, rows, more=message("`sdterm ext list` lists them."))


def _row(source: Source, record: InstallRecord | None, extensions: Path) -> Listed:
    state: State = "refused" if source.refusal else "on"
    if record and not record.enabled:
        state = "off"
    elif record and record.digest and not record.arriving and not source.refusal and source.origin == "extension":
        state = "on" if Path(source.location).parent == extensions else "waiting"
    installed = record is not None and record.digest is not None
    manifest = _manifest(source)
    return Listed(
        slug=source.slug,
        state=state,
        came="installed" if installed else "package" if source.origin == "package" else "by hand",
        version=source.version,
        source=record.source if record else "",
        location=source.location,
        why=(source.refusal or source.notice or "") if state != "off" else "",
        digest=source.digest,
        capabilities=manifest.capabilities,
        packages=tuple(f"{name} {version}" for name, version in record.packages.items()) if record else (),
        installed=record.installed if record and installed else None,
        description=manifest.description,
    )


def _gone(slug: str, record: InstallRecord) -> Listed:
    return Listed(
        slug=slug,
        state="gone" if record.enabled else "off",
        came="installed",
        version=record.version,
        source=record.source,
        why=message("`sdterm ext remove {slug}` forgets it; install it again to restore it", slug=slug),
        digest=record.digest or "",
        installed=record.installed,
    )


def _manifest(source: Source) -> Manifest:
    if source.origin != "extension":
        return Manifest()
    try:
        return read_manifest(Path(source.location))
    except ManifestError:
        return Manifest()
