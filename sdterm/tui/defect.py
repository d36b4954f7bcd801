"""What is left of a defect: a file for whoever mends it, and a sentence for whoever met it."""

import traceback
from datetime import datetime
from pathlib import Path

from sdterm.core.text import printable
from sdterm.tui.language import tr

FILE = Path("cache", "workstation-errors.txt")
_LARGEST = 1_000_000  # bytes


def note(root: Path, error: Exception) -> str:
    """Write it down, and say where."""
    path = root / FILE
    cause = error.__cause__ or error
    what = f"{type(cause).__name__}: {cause}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        full = path.exists() and path.stat().st_size > _LARGEST
        with path.open("w" if full else "a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%F %T}\n{''.join(traceback.format_exception(error))}\n")
    except OSError:
        return tr("A defect of sdterm: {what}. Jobs continue.", what=printable(what))
    return tr("A defect of sdterm: {what}. Jobs continue; {path} has more.", what=printable(what), path=path)
