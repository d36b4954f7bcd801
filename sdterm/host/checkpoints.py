"""The checkpoints as a host sees them: what each is, by the families that serve."""

import contextlib
from collections.abc import Collection, Sequence
from functools import cached_property, partial
from pathlib import Path

from sdterm.api import FieldError, Model
from sdterm.core.extensions.registry import PluginSet, load_plugins
from sdterm.core.files import legible
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError, library_of
from sdterm.core.library.pipeline_facts import PipelineFacts, pipeline_facts
from sdterm.core.library.recognition import Recognition, recognise_any, recognition
from sdterm.core.library.scan import stamp_of
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.pipelines import check, completed
from sdterm.core.prompt.networks import blank, tags
from sdterm.core.settings.settings import Settings
from sdterm.hooks import ModelFamily, Pipeline, PluginError, TokenCount
from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError

Families = tuple[tuple[str, str], ...]
"""(slug, digest) of the extensions that give model families."""
_Stamps = tuple[object, ...]


class Checkpoints:
    """All checkpoints of one host."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recognised: dict[_Stamps, tuple[Recognition, int]] = {}  # by what ships with sdterm; see `_around`
        self._last_around: tuple[Library | None, int] = (None, 0)
        self._by_others: dict[tuple[Families, _Stamps], Recognition] = {}
        self._families: dict[_Stamps, ModelFamily | Pipeline] = {}

    @property
    def library(self) -> Library:
        return library_of(self._settings)

    def models(self, loaded: Collection[str | None], families: Families = ()) -> list[Model]:
        """All of them, unusable ones last. loaded: the names of those in memory; families: of extensions, see
        `unknown`."""
        library, found = self.library, []
        checkpoints = library.checkpoints()
        hashes = library.known_hashes(checkpoint.path for checkpoint in checkpoints)
        for checkpoint in checkpoints:
            with contextlib.suppress(OSError):  # it went away in between
                found.append(
                    Model(
                        name=checkpoint.name,
                        path=legible(str(checkpoint.path)),
                        size=stamp_of(checkpoint.path)[0],
                        sha256=hashes.get(checkpoint.path),
                        embedded=checkpoint.embedded,
                        loaded=checkpoint.name in loaded,
                        **self._what(checkpoint, families).model_dump(exclude={"depends"}),
                    )
                )
        first = library.chosen and legible(str(library.chosen))
        return sorted(found, key=lambda model: not model.usable and model.path != first)

    def drawn_with(self, name: str | None, families: Families = ()) -> CheckpointFile:
        """The checkpoint of that name, or the one that is used where none is named. Raises UnknownNameError."""
        usable = partial(self._is_usable, families=families)
        return self.library.first(usable) if name is None else self.library.find(name)

    def is_usable(self, name: str | None, families: Families = ()) -> bool:
        """Whether our families or `families`, of extensions, draw with the checkpoint of that name, or with the first
        one where none is named. Raises UnknownNameError."""
        checkpoint = self.library.checkpoints()[0] if name is None else self.library.find(name)
        return self._is_usable(checkpoint, families)

    def find(self, name: str) -> CheckpointFile:
        """By name, file name, path or hash. Raises FieldError naming what comes near."""
        try:
            return self.library.find(name)
        except UnknownNameError as error:
            raise FieldError("name", str(error)) from error

    def unknown(self, families: Families, name: str | None = None) -> list[CheckpointFile]:
        """Those that none of our families can draw with and that `families`, of extensions, were not asked about.
        name: look at that one alone. Raises UnknownNameError."""
        found = []
        for checkpoint in self.library.checkpoints() if name is None else [self.library.find(name)]:
            with contextlib.suppress(OSError):  # it went away in between
                if (families, _stamps(checkpoint)) not in self._by_others and not self._ours(checkpoint).usable:
                    found.append(checkpoint)
        return found

    def learn(self, families: Families, checkpoint: CheckpointFile, known_as: Recognition | None) -> None:
        """What `families`, of extensions, know a checkpoint as; None if they could not be asked."""
        with contextlib.suppress(OSError):
            self._by_others[families, _stamps(checkpoint)] = known_as or self._ours(checkpoint)

    def family(self, name: str | None) -> ModelFamily | None:
        """Ours of that checkpoint, or the first one; None if there is none."""
        found = self._drawn_by_ours(name)
        return found[0] if found and isinstance(found[0], ModelFamily) else None

    def counts(self, name: str | None, text: str) -> Sequence[TokenCount] | None:
        """How the text encoders of a checkpoint that one of our pipelines draws with read a prompt; None for others."""
        if (found := self._drawn_by_ours(name)) is None:
            return None
        pipeline, checkpoint = found
        if not isinstance(pipeline, Pipeline):
            return None
        try:
            with self._built_in.guard(pipeline, ModelFileError):
                return pipeline.count(checkpoint, blank(text, tags(text))) if pipeline.count else ()
        except (ModelFileError, PluginError):
            return ()

    def _drawn_by_ours(self, name: str | None) -> tuple[ModelFamily | Pipeline, CheckpointFile] | None:
        try:
            checkpoint = self.drawn_with(name)
            if not self._ours(checkpoint).usable:
                return None
            stamps = _stamps(checkpoint)
            if stamps not in self._families:
                self._families[stamps], _ = recognise_any(checkpoint, self._built_in)
            return self._families[stamps], checkpoint
        except (ModelFileError, PluginError, UnknownNameError, OSError):
            return None

    def is_tapped(self, name: str | None, families: Families = ()) -> bool:
        """Whether a pipeline draws with that checkpoint, or where none is named with the first."""
        try:
            return self._what(self.drawn_with(name, families), families).pipeline is not None
        except (UnknownNameError, OSError):
            return False

    def settled(self, request: GenerationRequest, families: Families = ()) -> GenerationRequest:
        """The request as its model takes it: where a pipeline draws with that, checked and spelled out, see
        `core.planning.pipelines`. Raises RequestError, UnknownNameError."""
        checkpoint = self.drawn_with(request.model, families)
        try:
            known = self._what(checkpoint, families)
        except OSError:
            return request  # it went away in between, which the worker says
        facts = known.pipeline
        if request.pipeline and (facts is None or facts.id != request.pipeline):
            facts = self._drawn_by(request.pipeline, checkpoint)
        if facts is None:
            if request.pipeline_options and known.usable and not request.pipeline:
                said = message(
                    "{name} uses the family {family}, and has no pipeline with options.",
                    name=checkpoint.name,
                    family=known.family,
                )
                raise RequestError(said, "pipeline_options")
            return request
        settled = completed(request, facts, checkpoint.name)
        check(settled, facts, checkpoint.name)
        return settled

    def _drawn_by(self, pipeline: str, checkpoint: CheckpointFile) -> PipelineFacts | None:
        """What a pipeline that a request names says of a checkpoint, if it is ours."""
        try:
            named = self._built_in.pipeline(pipeline)
            if (match := named.detect(checkpoint)) is None or match.refusal:
                raise RequestError(
                    (match and match.refusal)
                    or message("{pipeline} does not know {model}.", pipeline=named.label, model=checkpoint.name),
                    "pipeline",
                )
            return pipeline_facts(named, checkpoint, self._built_in)
        except (UnknownNameError, ModelFileError, PluginError):
            return None  # an extension's, or a broken file: the worker says so

    def _what(self, checkpoint: CheckpointFile, families: Families) -> Recognition:
        """What a checkpoint is, as far as that is known. Raises OSError."""
        ours = self._ours(checkpoint)
        return ours if ours.usable else self._by_others.get((families, _stamps(checkpoint)), ours)

    def _is_usable(self, checkpoint: CheckpointFile, families: Families = ()) -> bool:
        with contextlib.suppress(OSError):  # it went away in between
            return self._what(checkpoint, families).usable
        return False

    def _ours(self, checkpoint: CheckpointFile) -> Recognition:
        """What our families know a checkpoint as. Raises OSError."""
        stamps = _stamps(checkpoint)
        known, around = self._recognised.get(stamps, (None, 0))
        if known is None or (known.depends and around != self._around(checkpoint)):
            around = self._around(checkpoint)  # before what is asked, which may change meanwhile
            known = recognition(checkpoint, self._built_in)
            self._recognised[stamps] = known, around
        return known

    def _around(self, checkpoint: CheckpointFile) -> int:
        """By which it is noticed that parts which models may be put together of come or go."""
        library = checkpoint.library
        if library and library is not self._last_around[0]:
            folders = tuple(file for file in library.files("checkpoint") if file.is_folder)
            self._last_around = library, hash((folders, library.files("vae"), library.files("text_encoder")))
        return self._last_around[1]

    @cached_property
    def _built_in(self) -> PluginSet:
        return load_plugins(None, third_party=False)


def _stamps(checkpoint: CheckpointFile) -> _Stamps:
    """By which a change of the file, or of what lies beside it, is noticed. Raises OSError."""
    beside = checkpoint.path.with_suffix(".yaml")
    return (*_stamp(checkpoint.path), *(_stamp(beside) if beside.exists() else ()))


def _stamp(path: Path) -> tuple[object, ...]:
    """Other rights change the last one."""
    status = path.stat()
    return str(path), *stamp_of(path), status.st_ctime_ns
