"""Wildcards: the text files under `wildcards/`, a line each for one thing that may stand in a prompt.

`animals/birds.txt` is the wildcard `animals/birds`. Only names that were found are looked up, so that none leads out
of the folder; links that do are left out.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from sdterm.core.files import legible, regular
from sdterm.core.text import printable
from sdterm.messages import message
from sdterm.request import RequestError

FOLDER = Path("wildcards")
MOST_BYTES = 16 * 2**20
"""Of one file."""
MOST_FILES = 50_000

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey, and no prompt may have


class Wildcards(Mapping[str, tuple[str, ...]]):
    """Name → lines, without comments (`#`) and blanks. The folder is listed when it is first needed, a file read when
    it is asked for. Raises RequestError for what cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[str, ...]] = {}

    @cached_property
    def _files(self) -> Mapping[str, Path]:
        root, found = self._folder.resolve(), dict[str, Path]()
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                if file.suffix != ".txt" or name.startswith(".") or not file.is_file():
                    continue
                if file.resolve().is_relative_to(root):
                    found[legible(file.relative_to(root).with_suffix("").as_posix())] = file
            if len(found) > MOST_FILES:
                raise RequestError(
                    message("There are more than {limit:,} files in {folder}.", limit=MOST_FILES, folder=self._folder)
                )
        return found

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in self._read:
            self._read[name] = _lines(self._files[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _lines(file: Path) -> tuple[str, ...]:
    try:
        with open(file, "rb", opener=regular) as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise RequestError(
                message(
                    "The wildcard file {file} is larger than {limit} MiB.",
                    file=printable(str(file)),
                    limit=MOST_BYTES // 2**20,
                )
            )
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise RequestError(
            message(
                "The wildcard file {file} cannot be read: {problem}.", file=printable(str(file)), problem=error.strerror
            )
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(message("The wildcard file {file} is not UTF-8 text.", file=printable(str(file)))) from error
    lines = (_CONTROLS.sub("", line).strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
