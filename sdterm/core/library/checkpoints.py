"""Model files: which there are, what their headers say, their hashes."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sdterm.core.files import legible, regular
from sdterm.core.library.about import header_facts, notes_of
from sdterm.core.library.folder_weights import FolderWeights
from sdterm.core.library.folders import default_folders, folders_of
from sdterm.core.library.hashes import OLD_DIGITS, HashCache, Known, hashes_of, old_hash_of, short_hash
from sdterm.core.library.scan import ModelFile, scan, scan_vaes_beside, single, stamp_of
from sdterm.core.library.tensors import ModelFileError as ModelFileError
from sdterm.core.library.weights import WeightsFile
from sdterm.core.names import find
from sdterm.core.settings.model_kinds import KINDS_BY_ID
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

AUTOMATIC_VAE, NO_VAE = "Automatic", "None"
_DEMO_KINDS = ("lora", "hypernetwork", "embedding")
_FIELDS = {"checkpoint": "model", "vae": "vae"}
"""Kind → the field of a request that names one."""
_WITH_HEADERS = ("lora", "embedding")
"""Kinds of which a list says what their headers say."""


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint on disk: a file, or a folder as diffusers saves them. Implements the `WeightsReader` that model
    families read from."""

    path: Path
    vae: "CheckpointFile | None" = None
    """A separate VAE, used instead of the file's own."""
    kept_on: "torch.device | None" = None
    """Where its tensors go, whatever device is asked for."""
    on_read: Callable[[int], None] | None = field(default=None, compare=False, repr=False)
    """Told of each tensor that was read how many numbers it has."""
    library: "Library | None" = field(default=None, compare=False, repr=False)
    """What it lies among."""

    @property
    def name(self) -> str:
        return legible(self.path.name if self.path.is_dir() else self.path.stem)

    @cached_property
    def weights(self) -> WeightsFile | FolderWeights:
        return (FolderWeights if self.path.is_dir() else WeightsFile)(self.path, self.on_read)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape; a folder's keys begin with the part, as `unet.`. Raises ModelFileError."""
        return self.weights.shapes()

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.weights.metadata

    @property
    def content(self) -> Any:
        """The nested value that a PyTorch file holds, see `WeightsFile.content`."""
        return self.weights.content

    def read(
        self, keys: Sequence[str], device: "torch.device", dtype: "torch.dtype | None"
    ) -> "dict[str, torch.Tensor]":
        """The tensors of `keys`, memory-mapped where neither device nor dtype has to change; without a dtype, each
        keeps its own. Raises ModelFileError."""
        return self.weights.read(keys, self.kept_on or device, dtype)

    def has_read(self, numbers: int) -> None:
        """Tell of numbers that were read by other means."""
        if self.on_read:
            self.on_read(numbers)

    @property
    def parts(self) -> Mapping[str, tuple[Path, ...]]:
        """Of a folder the files of each part that has weights, none of one that lacks them. Raises ModelFileError."""
        if not isinstance(self.weights, FolderWeights):
            return {}
        return {name: tuple(file.path for file in files) for name, files in self.weights.parts.items()}

    def others(self, kind: str) -> "tuple[CheckpointFile, ...]":
        """The files of a kind that lie in the same library."""
        return tuple(map(self.library.checkpoint, self.library.files(kind))) if self.library else ()

    @property
    def embedded(self) -> bool:
        """Whether this is the demo model that ships with sdterm."""
        return self.path == EMBEDDED_MODEL

    @cached_property
    def config(self) -> Mapping[str, Any] | None:
        """The `.yaml` beside the file, parsed; None if there is none. Of a folder its parts' configurations."""
        if isinstance(self.weights, FolderWeights):
            return self.weights.config
        path = self.path.with_suffix(".yaml")
        if not path.is_file():
            return None
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ModelFileError(
                message(
                    "{file}, beside the model, cannot be read as YAML: {problem}.", file=path.name, problem=_line(error)
                )
            ) from error
        if not isinstance(content, dict):
            raise ModelFileError(message("{file}, beside the model, is not a model configuration.", file=path.name))
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


@dataclass(frozen=True)
class Library:
    """The model files of a data root, by kind; the embedded demo model is the last checkpoint."""

    root: Path
    folders: Mapping[str, tuple[Path, ...]] = field(default_factory=dict, hash=False)
    """Kind → where to look; unset: below the data root."""
    chosen: Path | None = None
    """A single checkpoint that comes first (`--ckpt`)."""
    forced_vae: Path | None = None
    """The one VAE that is used, whatever is asked for (`--vae-path`)."""

    def places(self, kind: str) -> tuple[Path, ...]:
        """The folders of a kind, in the order in which they are looked in."""
        return self.folders.get(kind) or default_folders(self.root)[kind]

    def files(self, kind: str) -> tuple[ModelFile, ...]:
        """All files of a kind (an `id` of MODEL_KINDS)."""
        found = scan(kind, self.places(kind))
        if kind == "vae":
            return (*found, *scan_vaes_beside(self.places("checkpoint")))
        if kind == "checkpoint":
            first = (single(kind, self.chosen),) if self.chosen else ()
            found = (*first, *found, single(kind, EMBEDDED_MODEL))
        return tuple({file.location: file for file in found}.values())

    def names(self, kind: str) -> tuple[str, ...]:
        """The names by which prompts call the files of a kind, the demo model's among them."""
        return tuple(sorted({file.name for file in (*self.files(kind), *_shipped(kind))}))

    def file(self, kind: str, name: str) -> ModelFile:
        """The file of a kind by its name, file name, path, its maker's name for it (LoRAs), or a hash that is known; of
        several in different folders the first, then what ships for the demo model. Raises UnknownNameError."""
        files = (*self.files(kind), *_shipped(kind))
        names: dict[str, ModelFile] = {}
        for file in reversed(files):
            relative = file.relative_name
            called = (file.name, file.file_name, relative, os.path.splitext(relative)[0], file.location)
            names |= {legible(each): file for each in called}
        wanted, row = legible(name), KINDS_BY_ID[kind]
        if wanted in names:
            return names[wanted]
        known = self.known(files)
        aliases = Counter(_alias(entry).casefold() for entry in known)
        more: dict[str, ModelFile] = {}
        for file, entry in zip(files, known, strict=True):
            if (alias := _alias(entry)) and aliases[alias.casefold()] == 1:  # as A1111: one that two have is none's
                more[alias] = file
            more |= dict.fromkeys(_digests(kind, entry), file)
        advice = message("{kind} belong in {folder}.", kind=row.label, folder=self.places(kind)[0])
        return find(row.word, wanted, {**names, **more, **names}, more=advice, field=_FIELDS.get(kind))

    def called(self, kind: str) -> dict[str, str | None]:
        """The names by which prompts may call the files of a kind, their makers' names among them, each with the models
        that the file is for, if it says so."""
        files = (*self.files(kind), *_shipped(kind))
        known = self.known(files)
        bases = [
            notes_of(file).base or entry.get("header", {}).get("base") for file, entry in zip(files, known, strict=True)
        ]
        aliases = Counter(_alias(entry).casefold() for entry in known)
        called = {
            alias: base
            for entry, base in zip(known, bases, strict=True)
            if (alias := _alias(entry)) and aliases[alias.casefold()] == 1
        }
        for file, base in reversed([*zip(files, bases, strict=True)]):
            called[file.name] = base
        return called

    def known(self, files: Sequence[ModelFile]) -> list[Known]:
        """What is known of files, in their order: hashes that were computed, and what a LoRA's or embedding's header
        says, which is read once."""
        entries = self.hashes.known_of(files)
        new = {
            (file.location, file.stamp): {"header": header_facts(file.path)}
            for file, entry in zip(files, entries, strict=True)
            if file.kind in _WITH_HEADERS and "header" not in entry
        }
        if not new:
            return entries
        self.hashes.remember(new)
        return [
            {**new.get((file.location, file.stamp), {}), **entry} for file, entry in zip(files, entries, strict=True)
        ]

    def short_hash(self, file: ModelFile) -> str:
        """The hash by which A1111 names a file of its kind, computed now if need be. Raises OSError."""
        (known,) = self.known([file])
        return str(short_hash(file.kind, known) or short_hash(file.kind, self.compute(file)))

    def compute(self, file: ModelFile, on_read: Callable[[int], None] = lambda count: None) -> Known:
        """Read a file and keep its hashes. on_read: see `hashes_of`. Raises OSError."""
        found = hashes_of(file.path, data=file.kind == "lora", on_read=on_read)
        self.hashes.remember({(file.location, file.stamp): found})
        (known,) = self.known([file])
        return {**known, **found}

    def hashed(self, kind: str, digest: str, *, read_at_most: int = 0) -> ModelFile | None:
        """The file of a kind with that hash: A1111's old one (8 digits), its new one or the whole SHA-256.

        Files whose hash nobody computed yet are read until `read_at_most` bytes are spent, the smallest first.
        """
        files = [file for file in self.files(kind) if file.stamp[-1]]
        if len(digest) == OLD_DIGITS:
            return next((file for file in files if self.old_hash(file.path) == digest), None)
        unknown = []
        for file, known in zip(files, self.known(files), strict=True):
            if digest in _digests(kind, known):
                return file
            unknown += [] if short_hash(kind, known) else [file]
        for file in sorted(unknown, key=lambda file: file.size):
            if (read_at_most := read_at_most - file.size) < 0:
                break
            with contextlib.suppress(OSError):
                if digest in _digests(kind, self.compute(file)):
                    return file
        return None

    def checkpoint(self, file: ModelFile) -> CheckpointFile:
        """A file of this library, to be read."""
        return CheckpointFile(file.path, library=self)

    def checkpoints(self) -> tuple[CheckpointFile, ...]:
        return tuple(map(self.checkpoint, self.files("checkpoint")))

    def find(self, name: str) -> CheckpointFile:
        """The checkpoint of that name, file name, path or hash. Raises UnknownNameError."""
        return self.checkpoint(self.file("checkpoint", name))

    def first(self, usable: Callable[[CheckpointFile], bool]) -> CheckpointFile:
        """The checkpoint that is used where none is named: the first usable one, so that a file that is broken or of
        another kind takes nobody's default away. One that was given by `--ckpt` is used, or refused in a sentence."""
        there = self.checkpoints()
        return next((each for each in there if each.path == self.chosen or usable(each)), there[0])

    def vaes(self) -> tuple[CheckpointFile, ...]:
        """The separate VAEs."""
        return tuple(CheckpointFile(file.path) for file in self.files("vae"))

    def find_vae(self, name: str, checkpoint: CheckpointFile) -> CheckpointFile | None:
        """The VAE to use with a checkpoint; None for its own. As A1111 has it, one that `--vae-path` names is used for
        all, and `Automatic` is the first whose file's name begins with the checkpoint's. Raises UnknownNameError,
        ModelFileError."""
        if self.forced_vae:
            if not self.forced_vae.is_file():
                where = printable(str(self.forced_vae), 1000)
                raise ModelFileError(
                    message("There is no file {file}, which --vae-path or the setting vae_path names.", file=where)
                )
            return CheckpointFile(self.forced_vae)
        if name == NO_VAE:
            return None
        if name != AUTOMATIC_VAE:
            return CheckpointFile(self.file("vae", name).path)
        fitting = (file for file in self.files("vae") if file.file_name.startswith(checkpoint.path.stem))
        return next((CheckpointFile(file.path) for file in fitting), None)

    def with_hash(self, digest: str, *, read_at_most: int = 0) -> CheckpointFile | None:
        """The checkpoint with that hash, see `hashed`."""
        file = self.hashed("checkpoint", digest, read_at_most=read_at_most)
        return self.checkpoint(file) if file else None

    def has_hash(self, path: Path, digest: str, *, compute: bool = True) -> bool:
        """Whether a file has that old, new or whole hash. Without `compute`, a SHA-256 not known yet is another."""
        try:
            if len(digest) == OLD_DIGITS:
                return self.old_hash(path) == digest
            known = self.sha256(path) if compute else self.known_hash(path)
        except OSError:
            return False
        return known is not None and known.startswith(digest)

    def sha256(self, path: Path) -> str:
        """Of the whole file, hex; A1111's model hash is its first 10 digits. Raises OSError."""
        if not (known := self.known_hash(path)):
            stamp = stamp_of(path)
            found = hashes_of(path)
            self.hashes.remember({(str(path), stamp): found})
            return found["sha256"]
        return known

    def old_hash(self, path: Path) -> str | None:
        """A1111's first model hash; None for a file that cannot be read."""
        try:
            stamp = stamp_of(path)
            if known := self.hashes.known(path, stamp).get("old"):
                return str(known)
            digest = old_hash_of(path)
        except OSError:
            return None
        self.hashes.remember({(str(path), stamp): {"old": digest}})
        return digest

    def known_hash(self, path: Path) -> str | None:
        """The SHA-256 of a file if it was computed before and the file has not changed since."""
        return self.known_hashes([path]).get(path)

    def known_hashes(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The same of many files at once; those not known are left out."""
        found = {}
        for path in paths:
            with contextlib.suppress(OSError):
                if known := self.hashes.known(path).get("sha256"):
                    found[path] = str(known)
        return found

    @property
    def hashes(self) -> HashCache:
        """What is kept of model files."""
        return HashCache(self.root / "cache" / "hashes.json")


def library_of(settings: Settings) -> Library:
    """The model files that these settings see."""
    chosen, vae = (
        Path(settings[key]).expanduser().absolute() if settings[key] else None for key in ("ckpt", "vae_path")
    )
    return Library(settings.root, folders_of(settings).of, chosen, vae)


def _shipped(kind: str) -> tuple[ModelFile, ...]:
    """The demo model's networks, which lie beside it."""
    folders = KINDS_BY_ID[kind].folders if kind in _DEMO_KINDS else ()
    return scan(kind, (EMBEDDED_MODEL.parent / folder.name for folder in folders))


def _digests(kind: str, known: Known) -> set[str]:
    """The hashes by which a file is found."""
    return {digest for digest in (short_hash(kind, known), known.get("sha256"), known.get("data")) if digest}


def _alias(known: Known) -> str:
    return str(known.get("header", {}).get("alias", ""))


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))
