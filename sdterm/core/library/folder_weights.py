"""A checkpoint that is a folder, as diffusers saves them: a list of parts, each with its configuration and its weights,
in one file or several.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.core.files import regular
from sdterm.core.library.tensors import ModelFileError, TensorRecord
from sdterm.core.library.weights import WeightsFile
from sdterm.core.text import printable
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
"""What lies in a folder that is one checkpoint."""
SCHEDULER = "scheduler"
"""The part that has a configuration and no weights, but says what the model predicts."""
_CONFIGS = {SCHEDULER: "scheduler_config.json"}
_UNUSED = "safety_checker"
"""The part that nobody here asks: it is neither read nor fetched."""
_WEIGHTLESS = re.compile(r".*(Tokenizer|TokenizerFast|TokenizersBackend|Scheduler|Processor|FeatureExtractor)")
"""Classes of parts that are small files alone."""
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_ENDINGS = (".safetensors", ".fp16.safetensors", ".bf16.safetensors", ".bin", ".fp16.bin")
"""What weights are called: safetensors before pickles, whole precision before half."""
_SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Suffixes of what a part has beside its weights: configurations and vocabularies."""
_LICENCES = re.compile(r"(README|LICEN[SC]E)(\.\w+)?", re.IGNORECASE)
_MOST_JSON = 16 * 2**20  # bytes of a list of a part's tensors


def files_in(index: Mapping[str, Any], names: Collection[str], without: Collection[str] = ()) -> list[str]:
    """Those of a repository's files (their paths) that make the folder whose list of parts is `index`: of each part its
    configuration and vocabularies, and the weights that `FolderWeights` would read, but of the parts `without`; and
    what says its licence. A part may have none."""
    found = [INDEX, *(name for name in sorted(names) if _LICENCES.fullmatch(name))]
    for part in classes_of(index):
        inside = [name for name in sorted(names) if re.fullmatch(rf"{part}/[^/\s]+", name)]
        found += [name for name in inside if name.endswith(_SMALL) and not name.endswith(".index.json")]
        if part in without:
            continue
        for whole, listed in ((f"{part}/{each[0]}", f"{part}/{each[1]}") for each in _weights_names()):
            if whole in names:
                found.append(whole)
                break
            if listed in names:
                found += [listed, *(name for name in inside if _is_shard(name, whole))]
                break
    return [name for name in found if name in names]


def _is_shard(name: str, whole: str) -> bool:
    """Whether a file is a part of one that would have that name: `a-00001-of-00002.fp16.b` of `a.fp16.b`."""
    stem, variant, suffix = whole.partition(".")[0], "".join(whole.split(".")[1:-1]), whole.rpartition(".")[2]
    found = re.fullmatch(rf"{re.escape(stem)}(?:\.(\w+))?-\d{{5}}-of-\d{{5}}(?:\.(\w+))?\.{suffix}", name)
    return found is not None and (found[1] or found[2] or "") == variant


def classes_of(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Part → its library and its class there, of those that there are."""
    found = {}
    for name, said in index.items():
        match said:
            case [str(library), str(kind)] if re.fullmatch(r"[a-z][a-z0-9_]*", name) and name != _UNUSED:
                found[name] = library, kind
    return found


def with_weights(index: Mapping[str, Any]) -> list[str]:
    """The parts that have weights."""
    return [name for name, (_, kind) in classes_of(index).items() if not _WEIGHTLESS.fullmatch(kind)]


def _weights_names() -> Iterator[tuple[str, str]]:
    """What a part's file may be called, and a list of shards in its place, the best first."""
    for ending in _ENDINGS:
        suffix = ending.rpartition(".")[2]
        for stem in _STEMS:
            yield f"{stem}{ending}", f"{stem}.{suffix}.index{ending.removesuffix(f'.{suffix}')}.json"


@dataclass(frozen=True)
class FolderWeights:
    """All parts of a folder, read as one file whose keys begin with the part: `unet.conv_in.weight`. Raises
    ModelFileError like `WeightsFile`."""

    path: Path
    on_read: Callable[[int], None] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def index(self) -> Mapping[str, Any]:
        """What `model_index.json` says: the pipeline's class, and each part's."""
        return self._json(self.path / INDEX)

    @cached_property
    def parts(self) -> Mapping[str, tuple[WeightsFile, ...]]:
        """The files of each part that has weights, as far as they are there."""
        found = {name: tuple(self._files(name)) for name in with_weights(self.index)}
        if not found:
            raise self._unsound(message("its {file} names no component", file=INDEX))
        return {name: tuple(map(self._file, paths)) for name, paths in found.items()}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files with weights."""
        return tuple(file.path for files in self.parts.values() for file in files)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The parts whose weights are not there."""
        return tuple(name for name, files in self.parts.items() if not files)

    def check_complete(self, without: Collection[str] = ()) -> None:
        """Raises ModelFileError if a part lacks its weights that is not one of those."""
        if lacking := [part for part in self.lacking if part not in without]:
            raise self._unsound(message("the weights of its component {part} are missing", part=lacking[0]))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Each part's configuration, by the part: `unet`, `vae`, `text_encoder` …, and `scheduler`."""
        names = {name: "config.json" for name in self.parts} | _CONFIGS
        paths = {name: self.path / name / file for name, file in names.items()}
        return {name: self._json(path) for name, path in paths.items() if path.is_file()}

    @property
    def metadata(self) -> Mapping[str, str]:
        """The pipeline's class."""
        return {key: value for key, value in self.index.items() if isinstance(value, str)}

    @property
    def content(self) -> Any:
        """The list of its parts: the pipeline's class, and each part's library and class."""
        return self.index

    @cached_property
    def tensors(self) -> Mapping[str, tuple[WeightsFile, str, TensorRecord]]:
        """Key → its file, its key there, and what the header says of it."""
        found: dict[str, tuple[WeightsFile, str, TensorRecord]] = {}
        for part, files in self.parts.items():
            for file in files:
                for key, record in file.header.tensors.items():
                    if found.setdefault(f"{part}.{key}", (file, key, record))[0] is not file:
                        raise self._unsound(
                            message(
                                "two files of its component {part} both have {tensor}",
                                part=part,
                                tensor=printable(repr(key), 60),
                            )
                        )
        return found

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    @cached_property
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {key: record.shape for key, (_, _, record) in self.tensors.items()}

    def read(
        self, keys: Sequence[str], device: "torch.device", dtype: "torch.dtype | None"
    ) -> "dict[str, torch.Tensor]":
        """The tensors of `keys`, as `WeightsFile.read` gives them."""
        by_file: dict[WeightsFile, dict[str, str]] = {}
        for key in keys:
            file, inner, _ = self.tensors[key]
            by_file.setdefault(file, {})[inner] = key
        read: dict[str, torch.Tensor] = {}
        for file, names in by_file.items():
            tensors = file.read(list(names), device, dtype)
            read |= {names[inner]: tensor for inner, tensor in tensors.items()}
        return read

    def _file(self, path: Path) -> WeightsFile:
        """A file of its weights, called by its folders too: parts' files have the same names."""
        return WeightsFile(path, self.on_read, f"{self.path.name}/{self._within(path)}")

    def _files(self, part: str) -> Iterator[Path]:
        """Those of a part: one, or those that its list of shards names."""
        folder = self.path / part
        for whole, listed in _weights_names():
            if (folder / whole).is_file():
                yield folder / whole
                return
            if (folder / listed).is_file():
                yield from self._shards(folder / listed)
                return

    def _shards(self, listed: Path) -> list[Path]:
        """The files that a list of shards names, each of which is there and lies beside it."""
        names = self._json(listed).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise self._unsound(message("{file} is empty", file=listed.name))
        found = []
        for name in dict.fromkeys(str(name) for name in names.values()):
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
                raise self._unsound(
                    message(
                        "{file} names {name}, which does not exist beside it",
                        file=listed.name,
                        name=printable(repr(name), 60),
                    )
                )
            if not (listed.parent / name).is_file():
                raise self._unsound(
                    message(
                        "the file {file} of its component {part} is missing. Copy or download it",
                        file=name,
                        part=listed.parent.name,
                    )
                )
            found.append(listed.parent / name)
        return found

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            with open(path, "rb", opener=regular) as file:
                content = json.loads(file.read(_MOST_JSON))
        except OSError as error:
            raise self._unsound(
                message("{file} cannot be read: {problem}", file=self._within(path), problem=error.strerror)
            ) from error
        except (ValueError, RecursionError) as error:
            raise self._unsound(
                message("{file} is not valid JSON. Copy or download it again", file=self._within(path))
            ) from error
        if not isinstance(content, dict):
            raise self._unsound(message("{file} is not a table", file=self._within(path)))
        return content

    def _within(self, path: Path) -> str:
        return printable(path.relative_to(self.path).as_posix())

    def _unsound(self, why: str) -> ModelFileError:
        return ModelFileError(
            message(
                "{folder} is not a complete diffusers folder: {problem}.", folder=printable(self.path.name), problem=why
            )
        )
