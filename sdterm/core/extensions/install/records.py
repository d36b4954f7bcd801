"""What was installed, approved and switched off: `<data root>/installed/`, beside the extensions, not among them.

What a person puts into `extensions/` by hand has no record unless it was switched off.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sdterm.core.files import write_atomically
from sdterm.core.locks import lock
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.messages import message

FOLDER = "installed"
_FILE, _LOG, _LOCK = "records.json", "log.jsonl", ".lock"
_PATIENCE = 10.0  # seconds


class RecordsError(SdtermError, OSError):
    """The records cannot be read or written. The message is a sentence."""

    code = "extension_records"


class InstallRecord(BaseModel):
    """What is known of one extension besides its files."""

    model_config = ConfigDict(frozen=True)

    enabled: bool = True
    kind: Literal["files", "package"] = "files"
    """Files in `extensions/`, or a package that lies in its own place and announces itself by an entry point."""
    digest: str | None = None
    """Of the content that was approved; None for what was put there by hand, which runs whatever it is."""
    arriving: bool = False
    """Whether the approved files are still being put in place: until then their frozen copy is the extension."""
    source: str = ""
    """Where it was installed from."""
    version: str = ""
    capabilities: tuple[str, ...] = ()
    """What it said that it does, when it was approved."""
    site: str = ""
    """The name of the folder in its own place that holds the packages it needs; empty if it needs none."""
    packages: Mapping[str, str] = {}
    """Those packages, name → version."""
    entry: str = ""
    """Of a package: the module that its entry point names."""
    installed: float = 0.0
    """Seconds since 1970."""


def read_records(root: Path) -> dict[str, InstallRecord]:
    """By slug. Raises RecordsError: without them nobody knows what was approved, so nothing may be loaded."""
    file = root / FOLDER / _FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {slug: InstallRecord.model_validate(record) for slug, record in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, ValidationError, RecursionError) as error:
        said = printable(str(error), limit=300)
        raise RecordsError(
            message(
                "{file} cannot be read, so no extension is loaded. Repair or delete it. {problem}",
                file=file,
                problem=said,
            )
        ) from error


def write_records(root: Path, records: Mapping[str, InstallRecord]) -> None:
    """Replace them at once. Raises RecordsError."""
    content = {slug: record.model_dump() for slug, record in sorted(records.items())}
    try:
        write_atomically(_folder(root) / _FILE, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise RecordsError(
            message("{folder} cannot be written: {problem}.", folder=root / FOLDER, problem=error.strerror or error)
        ) from error


def own_place(root: Path, slug: str) -> Path:
    """Where the packages lie that an extension needs."""
    return root / FOLDER / slug


@contextlib.contextmanager
def changing(root: Path) -> Iterator[None]:
    """Around every change: one process at a time. Raises RecordsError if another does not come to an end."""
    with open(_folder(root) / _LOCK, "w") as file:
        if not lock(file, patience=_PATIENCE):
            raise RecordsError(message("Another sdterm is changing the extensions. Try again when it has finished."))
        yield


def note(root: Path, what: str, slug: str, **facts: str) -> None:
    """Write down, for good, that something was installed, trusted, refused … Raises RecordsError."""
    said = {name: printable(fact, limit=1000) for name, fact in {"what": what, "slug": slug, **facts}.items()}
    line = json.dumps({"time": time.time(), **said}) + "\n"
    try:
        descriptor = os.open(_folder(root) / _LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, line.encode())  # one call: lines of two processes do not mix
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RecordsError(
            message("{file} cannot be written: {problem}.", file=root / FOLDER / _LOG, problem=error.strerror or error)
        ) from error


def notes(root: Path, slug: str) -> list[dict[str, Any]]:
    """What was written down about an extension, oldest first; lines that cannot be read are passed over."""
    found = []
    with contextlib.suppress(OSError):
        for line in (root / FOLDER / _LOG).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                content = json.loads(line)
                if isinstance(content, dict) and content.get("slug") == slug:
                    found.append(content)
    return found


def _folder(root: Path) -> Path:
    folder = root / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RecordsError(
            message("{folder} cannot be created: {problem}.", folder=folder, problem=error.strerror or error)
        ) from error
    return folder
