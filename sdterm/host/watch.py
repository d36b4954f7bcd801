"""Hints from the system that something under a folder has changed. They may be missing; who gets one looks himself."""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import DirCreatedEvent, DirDeletedEvent, DirMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from sdterm.core.extensions.source import is_left_behind

_TELLING = {"created", "modified", "moved", "deleted"}  # not that somebody reads: the look itself would cause a look


class Watch:
    """Calls `changed`, in a thread of its own, when something happens under the folders it is over."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._handler = _Handler(changed)
        self._observer = Observer()
        self._over: dict[Path, tuple[int, int]] = {}
        self._observer.start()

    def over(self, folders: Iterable[Path]) -> bool:
        """Watch exactly these, also where one was deleted and made again. Returns whether all are watched."""
        there: dict[Path, tuple[int, int]] = {}
        for folder in folders:
            with contextlib.suppress(OSError):
                found = os.stat(folder)
                there[folder] = (found.st_dev, found.st_ino)
        if there != self._over:
            self._observer.unschedule_all()
            self._over = {}
            for folder, identity in there.items():
                with contextlib.suppress(OSError):  # no watches are left, or none are possible there
                    self._observer.schedule(self._handler, str(folder), recursive=True)
                    self._over[folder] = identity
        return len(self._over) == len(there) == len(set(folders))

    def close(self) -> None:
        self._observer.stop()


class _Handler(FileSystemEventHandler):
    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        whole = isinstance(event, DirCreatedEvent | DirDeletedEvent | DirMovedEvent)
        if event.event_type not in _TELLING or (event.is_directory and not whole):
            return
        names = [os.path.basename(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if not all(map(is_left_behind, names)):
            self._changed()
