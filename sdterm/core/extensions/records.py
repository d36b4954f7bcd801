"""What was installed, approved and switched off: `<data root>/installed/`, beside the extensions, not among them.

What a person puts into `extensions/` by hand has no record unless it was switched off.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sdterm.core.output import write_atomically

FOLDER = "installed"
_FILE, _LOG = "records.json", "log.jsonl"


class RecordsError(OSError):
    """The records cannot be read or written."""


class Record(BaseModel):
    """What is known of one extension besides its files."""

    model_config = ConfigDict(frozen=True)

    enabled: bool = True
    digest: str | None = None
    """Of the content that was approved; None for what was put there by hand, which runs whatever it is."""
    source: str = ""
    """Where it was installed from."""
    version: str = ""
    installed: float = 0.0
    """Seconds since 1970."""


def read_records(root: Path) -> dict[str, Record]:
    """By slug. Raises RecordsError: without them nobody knows what was approved, so nothing may be loaded."""
    file = root / FOLDER / _FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {slug: Record.model_validate(record) for slug, record in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise RecordsError(f"{file} cannot be read, so no extension is loaded: {error}") from error


def write_records(root: Path, records: Mapping[str, Record]) -> None:
    """Replace them at once. Raises OSError."""
    (root / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {slug: record.model_dump() for slug, record in sorted(records.items())}
    write_atomically(root / FOLDER / _FILE, json.dumps(content, indent=1).encode())


def note(root: Path, what: str, slug: str, **facts: str) -> None:
    """Write down, for good, that something was installed, trusted, refused … Raises OSError."""
    (root / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    line = json.dumps({"time": time.time(), "what": what, "slug": slug, **facts})
    with (root / FOLDER / _LOG).open("a", encoding="utf-8") as log:
        log.write(line + "\n")
