"""The checkpoints as a host sees them: what each is, by the families that ship with sdterm, and its hash on wish."""

import asyncio
import contextlib
import threading
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from sdterm.core.config import Settings
from sdterm.core.files import legible
from sdterm.core.jobs import FieldError, Model
from sdterm.core.library import CheckpointFile, Library, ModelFileError, library_of
from sdterm.core.names import UnknownNameError, printable
from sdterm.core.plan import recognise
from sdterm.core.registry import PluginSet, load_plugins
from sdterm.events import ModelHashed, Warning
from sdterm.hooks import ModelFamily, PluginError
from sdterm.host.log import EventLog


class Checkpoints:
    """All checkpoints of one host."""

    def __init__(self, settings: Settings, log: EventLog) -> None:
        self._settings, self._log = settings, log
        self._recognised: dict[tuple[object, ...], dict[str, Any]] = {}  # by the stamps of a file
        self._families: dict[tuple[object, ...], ModelFamily] = {}  # by the same
        self._hashing: set[Path] = set()
        self._disk = threading.Lock()  # files that are read whole are read one after the other

    @property
    def library(self) -> Library:
        return library_of(self._settings)

    def models(self, loaded: Collection[str | None]) -> list[Model]:
        """All of them. loaded: the names of those in memory."""
        library, found = self.library, []
        checkpoints = library.checkpoints()
        hashes = library.known_hashes(checkpoint.path for checkpoint in checkpoints)
        for checkpoint in checkpoints:
            with contextlib.suppress(OSError):  # it went away in between
                found.append(
                    Model(
                        name=checkpoint.name,
                        path=legible(str(checkpoint.path)),
                        size=checkpoint.path.stat().st_size,
                        sha256=hashes.get(checkpoint.path),
                        embedded=checkpoint.embedded,
                        loaded=checkpoint.name in loaded,
                        **self._what(checkpoint),
                    )
                )
        return found

    def find(self, name: str) -> CheckpointFile:
        """By name, file name, path or hash. Raises FieldError naming what comes near."""
        try:
            return self.library.find(name)
        except UnknownNameError as error:
            raise FieldError("name", str(error)) from error

    def family(self, name: str | None) -> ModelFamily | None:
        """Of that checkpoint, or the first one; None if there is none or nobody knows it."""
        try:
            checkpoint = self.library.find(name)
            stamps = _stamps(checkpoint)
            if stamps not in self._families:
                self._families[stamps] = recognise(checkpoint, self._built_in)[0]
            return self._families[stamps]
        except (ModelFileError, PluginError, UnknownNameError, OSError):
            return None

    def compute_hash(self, checkpoint: CheckpointFile) -> None:
        """Have a SHA-256 computed: as long as reading the file takes; an event tells. The thread ends with the host."""
        loop, path = asyncio.get_running_loop(), checkpoint.path

        def tell(event: ModelHashed | Warning) -> None:
            self._hashing.discard(path)
            self._log.add(None, event)

        def work() -> None:
            event: ModelHashed | Warning
            try:
                with self._disk:
                    event = ModelHashed(model=checkpoint.name, sha256=self.library.sha256(path))
            except OSError as error:
                said = f"{printable(str(path))} cannot be read: {error.strerror}."
                event = Warning(code="model_unreadable", message=said)
            with contextlib.suppress(RuntimeError):  # the host has ended
                loop.call_soon_threadsafe(tell, event)

        if path not in self._hashing:
            self._hashing.add(path)
            threading.Thread(target=work, name="hash", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        return bool(self._hashing)

    def _what(self, checkpoint: CheckpointFile) -> dict[str, Any]:
        """What a checkpoint is; no stranger's code runs for that. Raises OSError."""
        key = _stamps(checkpoint)
        if key not in self._recognised:
            try:
                family, match = recognise(checkpoint, self._built_in)
                said = {"family": family.label, "native_size": match.native_size}
                self._recognised[key] = {**said, "usable": match.refusal is None, "note": legible(match.refusal or "")}
            except (ModelFileError, PluginError) as error:
                self._recognised[key] = {"usable": False, "note": str(error)}
        return self._recognised[key]

    @cached_property
    def _built_in(self) -> PluginSet:
        return load_plugins(None, third_party=False)


def _stamps(checkpoint: CheckpointFile) -> tuple[object, ...]:
    """By which a change of the file, or of what lies beside it, is noticed. Raises OSError."""
    beside = checkpoint.path.with_suffix(".yaml")
    return (*_stamp(checkpoint.path), *(_stamp(beside) if beside.exists() else ()))


def _stamp(path: Path) -> tuple[object, ...]:
    """Other rights change the last one."""
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns
