"""Model files: which there are, what their headers say, their hashes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from safetensors import SafetensorError, safe_open

from sdterm.core.files import legible, regular
from sdterm.core.names import find
from sdterm.core.sealed import read_sealed, write_sealed
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL, VAES
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.errors import SdtermError

if TYPE_CHECKING:
    import torch

SUFFIXES = (".safetensors", ".ckpt")
NETWORK_SUFFIXES = (*SUFFIXES, ".pt", ".bin")
AUTOMATIC_VAE, NO_VAE = "Automatic", "None"
_OLD_DIGITS = 8  # of the hash that A1111 wrote until 2023


class ModelFileError(SdtermError, ValueError):
    """A model file cannot be used; the message says which and why."""

    code = "bad_model"

    def __init__(self, message: str) -> None:
        super().__init__(legible(message))


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint on disk. Implements the `WeightsReader` that model families read from."""

    path: Path
    vae: "CheckpointFile | None" = None
    """A separate VAE, used instead of the file's own."""
    on_read: Callable[[int], None] | None = field(default=None, compare=False, repr=False)
    """Told of each tensor that was read how many numbers it has."""

    @property
    def name(self) -> str:
        return legible(self.path.stem)

    @property
    def embedded(self) -> bool:
        """Whether this is the demo model that ships with sdterm."""
        return self.path == EMBEDDED_MODEL

    @cached_property
    def _header(self) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
        if self.path.suffix == ".ckpt":
            raise ModelFileError(
                f"{self.path.name} is a .ckpt file, which can run code when it is read, so sdterm does not open it. "
                "Get the model as .safetensors, or convert it."
            )
        with self._open() as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}, dict(file.metadata() or {})

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape, from the header. Raises ModelFileError if it is no sound safetensors file."""
        return self._header[0]

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._header[1]

    @cached_property
    def config(self) -> Mapping[str, Any] | None:
        """The `.yaml` beside the file, parsed; None if there is none."""
        path = self.path.with_suffix(".yaml")
        if not path.is_file():
            return None
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ModelFileError(f"{path.name} beside the model cannot be read as YAML: {_line(error)}.") from error
        if not isinstance(content, dict):
            raise ModelFileError(f"{path.name} beside the model holds no model configuration.")
        return content

    @cached_property
    def preview(self) -> Mapping[str, Any] | None:
        path = self.path.with_suffix(".preview.json")
        try:
            with open(path, encoding="utf-8", opener=regular) as file:
                content = json.load(file)
        except (OSError, ValueError):
            return None  # previews are a courtesy: without a fitted map the family has a general one
        return content if isinstance(content, dict) else None

    def read(self, keys: Sequence[str], device: "torch.device", dtype: "torch.dtype") -> "dict[str, torch.Tensor]":
        """The tensors of `keys`, memory-mapped where neither device nor dtype has to change."""
        tensors = {}
        with self._open("pt") as file:
            for key in keys:
                tensors[key] = file.get_tensor(key).to(device=device, dtype=dtype)
                if self.on_read:
                    self.on_read(tensors[key].numel())
        return tensors

    def _open(self, framework: str = "np") -> Any:
        try:
            with open(self.path, "rb", opener=regular) as file:  # safetensors does not pass on the system's own word
                path = str(self.path)
                readable = path if legible(path) == path else f"/dev/fd/{file.fileno()}"  # torch takes UTF-8 only
                return safe_open(readable, framework=framework)
        except SafetensorError as error:
            raise ModelFileError(
                f"{self.path.name} is no sound .safetensors file ({_line(error)}). "
                "It may be an unfinished download: fetch it again."
            ) from error
        except OSError as error:
            reason = error.strerror or _line(error)
            raise ModelFileError(f"{self.path} cannot be read: {reason}.") from error


@dataclass(frozen=True)
class Library:
    """The checkpoints of a data root, the embedded demo model last."""

    root: Path
    folders: tuple[Path, ...] = ()
    """More folders to look in (`--ckpt-dir`)."""
    chosen: Path | None = None
    """A single file that comes first (`--ckpt`)."""

    def checkpoints(self) -> tuple[CheckpointFile, ...]:
        files = [self.chosen] if self.chosen else []
        for folder in (*self.folders, self.root / CHECKPOINTS):
            files += sorted(_model_files(folder))
        return tuple(CheckpointFile(path) for path in dict.fromkeys((*files, EMBEDDED_MODEL)))

    def find(self, name: str | None) -> CheckpointFile:
        """The checkpoint of that name, file name, path or hash; None: the first. Raises UnknownNameError."""
        checkpoints = self.checkpoints()
        if name is None:
            return checkpoints[0]
        names: dict[str, CheckpointFile] = {}
        hashes = self.known_hashes(checkpoint.path for checkpoint in checkpoints)
        for checkpoint in reversed(checkpoints):  # the first of two with one name wins
            called = (checkpoint.path.stem, checkpoint.path.name, str(checkpoint.path))
            names |= {legible(name): checkpoint for name in called}
            if known := hashes.get(checkpoint.path):
                names |= {known[:10]: checkpoint, known: checkpoint}
        more = f" Checkpoints go to {self.root / CHECKPOINTS}."
        return find("model", legible(name), names, more=more, field="model")

    def vaes(self) -> tuple[CheckpointFile, ...]:
        """The separate VAEs."""
        return tuple(CheckpointFile(path) for path in sorted(_model_files(self.root / VAES)))

    def find_vae(self, name: str, checkpoint: CheckpointFile) -> CheckpointFile | None:
        """The VAE to use with a checkpoint, by stem, file name or path; None for its own. `Automatic` is A1111's: the
        first whose file's name begins with the checkpoint's. Raises UnknownNameError."""
        if name == NO_VAE:
            return None
        there = self.vaes()
        if name == AUTOMATIC_VAE:
            return next((vae for vae in there if vae.path.name.startswith(checkpoint.path.stem)), None)
        called = {legible(n): vae for vae in reversed(there) for n in (vae.path.stem, vae.path.name, str(vae.path))}
        return find("VAE", legible(name), called, more=f" VAEs go to {self.root / VAES}.", field="vae")

    def with_hash(self, digest: str, *, read_at_most: int = 0) -> CheckpointFile | None:
        """The checkpoint with that hash: A1111's old one (8 digits), its new one (10) or the whole SHA-256.

        Files whose hash nobody computed yet are read until `read_at_most` bytes are spent, the smallest first.
        """
        checkpoints = [checkpoint for checkpoint in self.checkpoints() if checkpoint.path.is_file()]
        for checkpoint in checkpoints:
            if self.has_hash(checkpoint.path, digest, compute=False):
                return checkpoint
        unknown = [checkpoint for checkpoint in checkpoints if not self.known_hash(checkpoint.path)]
        for checkpoint in sorted(unknown, key=lambda checkpoint: checkpoint.path.stat().st_size):
            read_at_most -= checkpoint.path.stat().st_size
            if len(digest) == _OLD_DIGITS or read_at_most < 0:
                break
            if self.has_hash(checkpoint.path, digest):
                return checkpoint
        return None

    def has_hash(self, path: Path, digest: str, *, compute: bool = True) -> bool:
        """Whether a file has that old, new or whole hash. Without `compute`, a SHA-256 not known yet is another."""
        try:
            if len(digest) == _OLD_DIGITS:
                return self.old_hash(path) == digest
            known = self.sha256(path) if compute else self.known_hash(path)
        except OSError:
            return False
        return known is not None and known.startswith(digest)

    def sha256(self, path: Path) -> str:
        """Of the whole file, hex; A1111's model hash is its first 10 digits. Cached by size, mtime and inode."""
        if known := self.known_hash(path):
            return known
        with open(path, "rb", opener=regular) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._remember(path, {"sha256": digest})
        return digest

    def old_hash(self, path: Path) -> str | None:
        """A1111's first model hash, of 64 KB from 1 MB on; it collides. Cached as the other one is; None for a file
        that cannot be read."""
        try:
            if known := self._entry(path).get("old"):
                return str(known)
            with open(path, "rb", opener=regular) as file:
                file.seek(0x100000)
                digest = hashlib.sha256(file.read(0x10000)).hexdigest()[:_OLD_DIGITS]
            self._remember(path, {"old": digest})
        except OSError:
            return None
        return digest

    def known_hash(self, path: Path) -> str | None:
        """The SHA-256 of a file if it was computed before and the file has not changed since."""
        return self.known_hashes([path]).get(path)

    def known_hashes(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The same of many files at once; those not known are left out."""
        entries, found = self._entries(), {}
        for path in paths:
            with contextlib.suppress(OSError):
                if known := _current(entries, path).get("sha256"):
                    found[path] = str(known)
        return found

    def _remember(self, path: Path, hashes: dict[str, str]) -> None:
        entry = self._entry(path) | {"stamp": _stamp(path)} | hashes
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            write_sealed(self._cache_file, self._entries() | {str(path): entry})

    def _entry(self, path: Path) -> dict[str, Any]:
        """What is remembered of a file as it is now. Raises OSError."""
        return _current(self._entries(), path)

    @property
    def _cache_file(self) -> Path:
        return self.root / "cache" / "hashes.json"

    def _entries(self) -> dict[str, Any]:
        entries = read_sealed(self._cache_file)
        return entries if isinstance(entries, dict) else {}


def library_of(settings: Settings) -> Library:
    """The checkpoints that these settings see."""
    folders = tuple(Path(folder).expanduser() for folder in settings["ckpt_dirs"])
    chosen = settings["ckpt"]
    return Library(settings.root, folders, Path(chosen).expanduser().absolute() if chosen else None)


def file_stems(folder: Path, suffixes: Sequence[str] = NETWORK_SUFFIXES) -> list[str]:
    """The names by which prompts call the networks or embeddings below a folder."""
    return sorted({legible(path.stem) for path in _model_files(folder, suffixes)})


def _model_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> Iterator[Path]:
    """Below a folder, linked folders included (people keep models on another disk), each once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for path in (Path(place, name) for name in files):
            if path.suffix in suffixes and ".vae" not in path.suffixes and path.is_file():
                yield path


def _current(entries: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The entry of a file, unless the file has changed since. Raises OSError."""
    entry = entries.get(str(path))
    return entry if isinstance(entry, dict) and entry.get("stamp") == _stamp(path) else {}


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))
