"""Where things lie until they are approved: a folder of one process, swept by the next one if that died."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import IO

from sdterm.core.extensions.install.records import FOLDER
from sdterm.core.locks import lock

_HERE, _HELD = ".staging", "held"


class Staging:
    """A folder that goes when it is closed. As long as its process lives nobody sweeps it."""

    def __init__(self, root: Path) -> None:
        """Only inside `records.changing`: a sweeper may come between making and holding it."""
        parent = root / FOLDER / _HERE
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=parent))
        self._held: IO[str] = open(self.path / _HELD, "w")  # noqa: SIM115 - open as long as the folder is there
        lock(self._held)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._held.close()


def sweep_staging(root: Path) -> None:
    """Remove what processes that are no more left behind. Only inside `records.changing`."""
    for folder in (root / FOLDER / _HERE).glob("*"):
        with contextlib.suppress(OSError):
            if _is_free(folder / _HELD):
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(held: Path) -> bool:
    """Raises OSError if that cannot be told."""
    if not held.exists():
        return True
    with held.open() as file:
        return lock(file)
