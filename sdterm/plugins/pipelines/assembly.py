"""What a pipeline is put together of: a diffusers folder, and files that give the weights of some of its parts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdterm.errors import SdtermError
from sdterm.hooks import CheckpointReader, PluginError, WeightsReader
from sdterm.messages import message, sentences
from sdterm.plugins.pipelines import single_files
from sdterm.plugins.pipelines.index import UNUSED, Index, index_of
from sdterm.plugins.pipelines.single_files import Shapes, Single

_VOCABULARY = re.compile(r"(tokenizer|vocab|tekken)\.json|vocab\.txt|.*\.(model|tiktoken)")
"""Files of which a tokenizer needs one: the words that it knows."""
_BYTES = "ByT5"
"""Tokenizers that know no words."""


@dataclass(frozen=True)
class Source:
    """A file with the weights of one part. prefix: what stands before the part's keys in it; check: whether a part of a
    configuration has such shapes."""

    reader: WeightsReader
    prefix: str = ""
    check: Callable[[Mapping[str, Any], Shapes], bool] = field(default=lambda config, shapes: True, compare=False)

    def fits(self, config: Any) -> bool:
        """Whether it has the weights of a part of that configuration."""
        return isinstance(config, Mapping) and self.check(config, self.shapes())

    def shapes(self) -> Shapes:
        return {
            key.removeprefix(self.prefix): shape
            for key, shape in self.reader.shapes().items()
            if key.startswith(self.prefix)
        }


@dataclass(frozen=True)
class Assembly:
    """base: the folder whose configurations and vocabularies count, and whose weights do, where no source gives them;
    sources: part → its file; lacking: parts that nothing here has the weights of."""

    base: CheckpointReader
    index: Index
    sources: Mapping[str, Source]
    lacking: tuple[str, ...] = ()

    @property
    def configs(self) -> Mapping[str, Any]:
        return self.base.config or {}

    @property
    def numbers(self) -> dict[str, int]:
        """How many weights each part has."""
        found = {part: 0 for part in self.base.parts}
        for key, shape in self.base.shapes().items():
            found[key.partition(".")[0]] += math.prod(shape)
        return found | {part: sum(map(math.prod, source.shapes().values())) for part, source in self.sources.items()}

    def files_beside(self, path: Path) -> dict[str, Path]:
        """Part → where it comes from, of those that do not come from `path`."""
        own = {} if self.base.path == path else {part: self.base.path for part in self.base.parts}
        found = own | {part: source.reader.path for part, source in self.sources.items()}
        return {part: place for part, place in found.items() if place != path}


def assemble(reader: CheckpointReader) -> Assembly | None:
    """What draws with a checkpoint; None if it is nothing that diffusers has a pipeline for. Raises PluginError with
    what is missing and where it goes."""
    if reader.parts:
        return _of_folder(reader)
    found = single_files.known(reader.shapes())
    return _of_single(reader, *found) if found else None


def _of_folder(reader: CheckpointReader) -> Assembly | None:
    index = index_of(reader)
    if index is None:
        return None
    _check_small(reader, index)
    whole = _completed(reader, index, {}, reader)
    if whole.lacking:
        raise PluginError(message("{model} lacks {missing}.", model=reader.path.name, missing=_missing(whole)))
    return whole


def _of_single(reader: CheckpointReader, single: Single, prefix: str) -> Assembly:
    own = Source(reader, prefix)
    shapes = own.shapes()
    found = []
    for base, index in _folders(reader):
        part = index.denoiser
        config = (base.config or {}).get(part, {})
        if index.parts.get(part, ("", ""))[1] == single.part and single_files.is_denoiser(config, shapes):
            found.append(_completed(base, index, {part: own}, reader))
    said = message("{file} is a transformer of {family}.", file=reader.path.name, family=single.label)
    if not found:
        needed = message(
            "It also needs the configurations and vocabularies in the diffusers folder of such a model: "
            "`sdterm models add hf:{repository}/model_index.json --without transformer` downloads them.",
            repository=single.home,
        )
        raise PluginError(sentences(said, needed))
    best = min(found, key=lambda whole: len(whole.lacking))
    _check_small(best.base, best.index)
    if best.lacking:
        lacks = message(
            "{model}, which it is used with, lacks {missing}.", model=best.base.path.name, missing=_missing(best)
        )
        raise PluginError(sentences(said, lacks))
    return best


def _check_small(base: CheckpointReader, index: Index) -> None:
    """Raises PluginError if a folder lacks a configuration or a vocabulary: for one that is not there, the libraries
    may make one that knows no word."""
    for part, (_, kind) in index.parts.items():
        if part == UNUSED:
            continue
        folder = base.path / part
        there = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        needed = "config.json" if part in base.parts else "scheduler_config.json" if part == "scheduler" else ""
        if (
            "Tokenizer" in kind
            and not kind.startswith(_BYTES)
            and not any(_VOCABULARY.fullmatch(each) for each in there)
        ):
            needed = "tokenizer.json"
        if not there or (needed and needed not in there):
            what = f"{part}/{needed}" if needed else part
            raise PluginError(
                message(
                    "{model} lacks {what} ({kind}). Copy or download the complete folder again.",
                    model=base.path.name,
                    what=what,
                    kind=kind,
                )
            )


def _folders(reader: CheckpointReader) -> Iterator[tuple[CheckpointReader, Index]]:
    """The diffusers folders of the library, as far as they are sound."""
    for other in reader.others("checkpoint"):
        if not other.path.is_dir():
            continue
        try:
            index = index_of(other)
            configured = other.config is not None
        except SdtermError:
            continue
        if index and configured:
            yield other, index


def _completed(base: CheckpointReader, index: Index, given: Mapping[str, Source], reader: CheckpointReader) -> Assembly:
    """A folder, with a file for each part whose weights it lacks. given: parts that have one already; reader: the
    checkpoint that is drawn with, which may hold some."""
    sources = dict(given)
    if reader.vae and "vae" in base.parts:
        sources["vae"] = next(_sources_in(reader.vae, "vae"), Source(reader.vae))
    lacking = []
    for part, files in base.parts.items():
        if files or part in sources:
            continue
        config = (base.config or {}).get(part, {})
        source = next(
            (each for each in _offered(part, reader) if each not in sources.values() and each.fits(config)), None
        )
        if source:
            sources[part] = source
        else:
            lacking.append(part)
    return Assembly(base, index, sources, tuple(lacking))


def _offered(part: str, reader: CheckpointReader) -> Iterator[Source]:
    """What may have a part's weights: the checkpoint itself, if it is a single file, and those in the folders for such.
    A denoiser is what is drawn with: nothing else takes its place."""
    kind = "text_encoder" if part.startswith("text_encoder") else part
    if kind not in ("text_encoder", "vae"):
        return
    for other in (*(() if reader.parts else (reader,)), *reader.others(kind)):
        with suppress(SdtermError):  # of a file that is not sound
            yield from _sources_in(other, kind)


def _sources_in(reader: WeightsReader, kind: str) -> Iterator[Source]:
    """What a file has of a kind of parts: it is one, or it has one under a prefix."""
    shapes = reader.shapes()
    whole = {".".join(key.split(".")[:3]) + "." for key in shapes if key.startswith("text_encoders.")}
    prefixes = ("first_stage_model.", "vae.", "") if kind == "vae" else (*sorted(whole), "")
    check = single_files.is_vae if kind == "vae" else single_files.is_text_encoder
    yield from (Source(reader, each, check) for each in prefixes if any(key.startswith(each) for key in shapes))


def _missing(whole: Assembly) -> str:
    """What is missing, and where it goes."""
    return "; ".join(_missing_part(whole, part) for part in whole.lacking)


def _missing_part(whole: Assembly, part: str) -> str:
    kind, place = whole.index.parts[part][1], f"{whole.base.path.name}/{part}"
    if part.startswith("text_encoder"):
        usual = single_files.usual_text_encoder(kind, whole.configs.get(part, {}))
        named = f"{usual}, {kind}" if usual else kind
        return message(
            "its text encoder {part} ({name}), which belongs in models/text_encoder or {folder}",
            part=part,
            name=named,
            folder=place,
        )
    if part == "vae":
        return message("its VAE ({kind}), which belongs in models/VAE or {folder}", kind=kind, folder=place)
    return message("the weights of its {part} ({kind}), which belong in {folder}", part=part, kind=kind, folder=place)
