"""What a request names, found: each name is looked up here, once, and each option checked.

Beside sampler, schedule and format, which every job has, a request may ask for prompt transforms, memory optimizers and
postprocessors, by name, with options as `id.name`. Setting an option asks for what it is of: `token_merging.ratio`
turns token merging on, as A1111's own key does.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from sdterm.core.a1111 import LATENT_UPSCALERS, UNIFORM
from sdterm.core.extensions.kinds import KINDS, kind_of
from sdterm.core.extensions.registry import PluginSet, check_options, named
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.pipeline_facts import PipelineFacts, pipeline_facts
from sdterm.core.library.recognition import find_checkpoint, recognise_any
from sdterm.core.library.upscalers import ChosenUpscaler
from sdterm.core.names import UnknownNameError, find, normal
from sdterm.core.planning.enlargement import (
    Enlargement,
    UpscalerPlan,
    choose_enlargement,
    found_upscaler,
    wants_upscaler,
)
from sdterm.core.planning.pipelines import PIPELINES_OWN, check, completed, pipeline_options
from sdterm.core.text import printable
from sdterm.hooks import (
    DenoiseHook,
    MemoryOptimizer,
    ModelFamily,
    ModelMatch,
    OptionValue,
    OutputSaver,
    Pipeline,
    Postprocessor,
    PromptTransform,
    Sampler,
    Scheduler,
)
from sdterm.messages import either, message
from sdterm.request import GenerationRequest, RequestError

AUTOMATIC = "Automatic"

Addition = PromptTransform | MemoryOptimizer | DenoiseHook | Postprocessor
A = TypeVar("A", PromptTransform, MemoryOptimizer, DenoiseHook, Postprocessor)
A_co = TypeVar("A_co", bound=Addition, covariant=True)


@dataclass(frozen=True)
class Chosen(Generic[A_co]):
    """An addition, with a value for each of its options."""

    of: A_co
    options: Mapping[str, OptionValue]


@dataclass(frozen=True)
class PassParts:
    """What one pass is stepped with, found, with checked options."""

    sampler: Sampler
    scheduler: Scheduler
    sampler_options: Mapping[str, OptionValue]
    scheduler_options: Mapping[str, OptionValue]
    automatic: bool
    """Whether the schedule was left to a sampler that has none of its own."""


@dataclass(frozen=True)
class ChosenModel:
    """A checkpoint, and what draws with it: a native family, or a pipeline."""

    checkpoint: CheckpointFile
    family: ModelFamily | Pipeline
    match: ModelMatch
    facts: PipelineFacts | None = None
    """What may be asked of a pipeline."""
    pipeline_options: Mapping[str, OptionValue] = field(default_factory=dict)
    """Of a pipeline, those that the request sets, checked."""


@dataclass(frozen=True)
class PassChoices(PassParts):
    """What one pass is drawn with."""

    model: ChosenModel
    refiner: ChosenModel | None = None
    """The model that takes over on the way."""
    upscaler: ChosenUpscaler | None = None
    """What makes the picture that it begins with larger, where that is no latent upscaler."""


@dataclass(frozen=True)
class Parts:
    """What a request names of what plugins offer, found, with checked options. No code of theirs has been run."""

    passes: tuple[PassParts, ...]
    saver: OutputSaver
    fallback_saver: OutputSaver
    """PNG: what the other one fails at is saved with it."""
    format_options: Mapping[str, OptionValue]
    hooks: tuple[Chosen[DenoiseHook], ...]
    """The denoise hooks that act, the outermost first."""
    additions: tuple[Chosen[Addition], ...]
    """Those asked for, of each kind in the order asked for."""
    options: Mapping[str, OptionValue]
    """Of additions, as far as they are set: `id.name` → value."""
    pipeline: Pipeline | None
    """The one that the request names."""

    def asked(self, kind: type[A]) -> tuple[Chosen[A], ...]:
        """The additions of one kind."""
        return tuple(Chosen(each.of, each.options) for each in self.additions if isinstance(each.of, kind))

    def postprocessors(self) -> tuple[Chosen[Postprocessor], ...]:
        """In the order in which they are applied."""
        return tuple(sorted(self.asked(Postprocessor), key=lambda each: each.of.order))


@dataclass(frozen=True)
class Choices(Parts):
    """Everything that a request names, found. Nothing of the model but its header has been read."""

    passes: tuple[PassChoices, ...]
    enlargement: Enlargement | None = None
    """What is done to finished pictures."""

    @property
    def first(self) -> PassChoices:
        """Of the first pass, which sizes, seeds and prompts are made for."""
        return self.passes[0]


@dataclass(frozen=True)
class PictureChoices(Parts):
    """Everything that a request names which only makes pictures larger."""

    enlargement: Enlargement | None


def facts_of(checkpoint: CheckpointFile, request: GenerationRequest, plugins: PluginSet) -> PipelineFacts | None:
    """What a request may ask of a checkpoint that is drawn with a pipeline; None for one of a native family. Raises
    UnknownNameError, ModelFileError, PluginError."""
    named = plugins.pipeline(request.pipeline) if request.pipeline else None
    family, match = recognise_any(checkpoint, plugins, named)
    if match.refusal:
        raise ModelFileError(match.refusal)
    return pipeline_facts(family, checkpoint, plugins) if isinstance(family, Pipeline) else None


def choose(request: GenerationRequest, plugins: PluginSet, library: Library) -> Choices:
    """Look up every name in the request, as its model completes it. Raises UnknownNameError, ModelFileError or
    RequestError."""
    checkpoint = find_checkpoint(request.model, library, plugins)
    if facts := facts_of(checkpoint, request, plugins):
        request = completed(request, facts, checkpoint.name)
    parts = choose_parts(request, plugins)

    def with_vae(checkpoint: CheckpointFile) -> CheckpointFile:
        return replace(checkpoint, vae=library.find_vae(request.vae, checkpoint))

    first = with_vae(checkpoint)
    second = with_vae(_find(library, request.hires_model, "hires_model")) if request.hires_model else first
    refiner = with_vae(_find(library, request.refiner, "refiner")) if request.refiner else None
    files = [
        PassFiles(base, refiner if refiner and refines(request, number) else None)
        for number, base in enumerate((first, second)[: len(parts.passes)])
    ]
    return with_files(parts, files, request, plugins, library)


def choose_pictures(
    request: GenerationRequest, plugins: PluginSet, library: Library, planned: Sequence[UpscalerPlan] = ()
) -> PictureChoices:
    """The same of a request that only makes pictures larger. planned: the upscalers that its job was begun with."""
    enlargement = choose_enlargement(request, plugins, library, planned)
    return PictureChoices(**vars(choose_parts(request, plugins)), enlargement=enlargement)


@dataclass(frozen=True)
class PassFiles:
    """The checkpoints of a pass, and the upscaler that its job was begun with."""

    base: CheckpointFile
    refiner: CheckpointFile | None = None
    upscaler: UpscalerPlan | None = None


def refines(request: GenerationRequest, pass_no: int) -> bool:
    """Whether a pass goes over to the refiner on its way."""
    passes = {"first pass": (0,), "second pass": (1,), "both passes": (0, 1)}[request.refiner_passes]
    return bool(request.refiner) and request.refiner_switch_at < 1 and (not request.hires or pass_no in passes)


def with_files(
    parts: Parts,
    files: Sequence[PassFiles],
    request: GenerationRequest,
    plugins: PluginSet,
    library: Library,
    planned: Sequence[UpscalerPlan] = (),
) -> Choices:
    """The parts and checkpoints whose families are here. planned: the upscalers of finished pictures that the job was
    begun with. Raises ModelFileError, or RequestError if a sampler or a
    schedule is not for such a model, or if two models do not work together; UnknownNameError for an upscaler that there
    is not."""
    recognised = partial(_recognised, request=request, pipeline=parts.pipeline, plugins=plugins)
    passes = tuple(_with_models(each, own, recognised, plugins) for each, own in zip(parts.passes, files, strict=True))
    begun_with = [[each.upscaler] if each.upscaler else [] for each in files]
    if request.init_images and wants_upscaler(request.init_upscaler):
        upscaler = found_upscaler("init_upscaler", request, plugins, library, begun_with[0])
        passes = (replace(passes[0], upscaler=upscaler), *passes[1:])
    if len(passes) > 1 and not latent_upscaler(request):
        upscaler = found_upscaler("hires_upscaler", request, plugins, library, begun_with[1])
        passes = (passes[0], replace(passes[1], upscaler=upscaler))
    enlargement = choose_enlargement(request, plugins, library, planned)
    return Choices(**vars(parts) | {"passes": passes}, enlargement=enlargement)


def latent_upscaler(request: GenerationRequest) -> str | None:
    """The one that a hires fix asks for, if it asks for one of these."""
    return {normal(name): name for name in LATENT_UPSCALERS}.get(normal(request.hires_upscaler))


def _with_models(
    found: PassParts, files: PassFiles, recognised: Callable[[CheckpointFile], ChosenModel], plugins: PluginSet
) -> PassChoices:
    model = recognised(files.base)
    if isinstance(model.family, Pipeline):
        return PassChoices(**vars(found), model=model)
    for part in (found.sampler,) if found.sampler.grid == "own" else (found.sampler, found.scheduler):
        if model.match.process not in part.models:
            raise _unfit(part, model, plugins)
    if not files.refiner or files.refiner.path == files.base.path:
        return PassChoices(**vars(found), model=model)
    refiner = recognised(files.refiner)
    if refiner.match.process != model.match.process or isinstance(refiner.family, Pipeline):
        raise RequestError(
            message(
                "The refiner {refiner} cannot continue from {model}: they are different kinds of model.",
                refiner=refiner.checkpoint.name,
                model=model.checkpoint.name,
            ),
            "refiner",
        )
    return PassChoices(**vars(found), model=model, refiner=refiner)


def _recognised(
    checkpoint: CheckpointFile, request: GenerationRequest, pipeline: Pipeline | None, plugins: PluginSet
) -> ChosenModel:
    family, match = recognise_any(checkpoint, plugins, pipeline)
    if match.refusal:
        raise ModelFileError(match.refusal)
    if isinstance(family, Pipeline):
        facts = pipeline_facts(family, checkpoint, plugins)
        check(request, facts, checkpoint.name)
        return ChosenModel(checkpoint, family, match, facts, pipeline_options(request, facts, checkpoint.name))
    if request.pipeline_options:
        said = message(
            "{model} belongs to the family {family}, which has no pipeline options.",
            model=checkpoint.name,
            family=family.label,
        )
        raise RequestError(said, "pipeline_options")
    return ChosenModel(checkpoint, family, match)


def _find(library: Library, name: str, field: str) -> CheckpointFile:
    try:
        return library.find(name)
    except UnknownNameError as error:
        error.field = field
        raise


def _unfit(part: Sampler | Scheduler, model: ChosenModel, plugins: PluginSet) -> RequestError:
    """That a part is not for models like this one, and which are."""
    match, checkpoint = model.match, model.checkpoint
    row, process = kind_of(type(part)), {"vp": message("diffusion"), "flow": message("rectified flow")}[match.process]
    fit = [each.label for each in plugins.all(type(part)) if match.process in each.models]
    offered = either(fit) or message("another one")
    said = message(
        "The {part} {name} cannot be used with {process} models like {model}: choose {choices}.",
        part=row.word,
        name=part.label,
        process=process,
        model=checkpoint.name,
        choices=offered,
    )
    return RequestError(said, row.field)


def choose_parts(request: GenerationRequest, plugins: PluginSet) -> Parts:
    """Look up the names of what plugins offer, and check the options given to them; no code of theirs is run. Raises
    UnknownNameError or RequestError."""
    if request.hires and request.init_images:
        raise RequestError(message("Hires fix cannot be combined with an init image: remove one of them."), "hires")
    first = _pass_parts(request, plugins)
    saver = plugins.saver(request.format)
    given = {**_assigned(request.memory), **request.options}
    options = {key: value for each in given.items() for key, value in [checked_option(*each, plugins)]}
    additions: list[Addition] = [
        *_asked_for(PromptTransform, request, plugins),
        *_asked_for(MemoryOptimizer, request, plugins),
        *_asked_for(DenoiseHook, request, plugins),
        *_asked_for(Postprocessor, request, plugins),
    ]
    chosen = tuple(Chosen(each, options_of(each, options)) for each in additions)
    return Parts(
        passes=(first, _hires_parts(request, first, plugins)) if request.hires else (first,),
        saver=saver,
        fallback_saver=plugins.saver("png"),
        format_options=_options(saver, request, "format_options"),
        hooks=_acting(chosen, request, plugins),
        additions=chosen,
        options=options,
        pipeline=plugins.pipeline(request.pipeline) if request.pipeline else None,
    )


def _acting(
    asked: tuple[Chosen[Addition], ...], request: GenerationRequest, plugins: PluginSet
) -> tuple[Chosen[DenoiseHook], ...]:
    """The hooks asked for and those that always act: of a group the first, and none that lacks what it needs."""
    called = [Chosen(each.of, each.options) for each in asked if isinstance(each.of, DenoiseHook)]
    usual = [Chosen(hook, options_of(hook, {})) for hook in plugins.all(DenoiseHook) if hook.default]
    acting: dict[str, Chosen[DenoiseHook]] = {}
    for each in (*called, *usual):
        if each.of.needs != "mask" or (request.mask and request.init_images):
            acting.setdefault(each.of.group or each.of.id, each)
    return tuple(sorted(acting.values(), key=lambda each: each.of.order))


def _pass_parts(request: GenerationRequest, plugins: PluginSet) -> PassParts:
    if request.pipeline:
        return _pipeline_parts(request, plugins)
    sampler, schedule = _sampler(request, plugins)
    scheduler = plugins.scheduler(schedule or sampler.default_scheduler or UNIFORM)
    return PassParts(
        sampler=sampler,
        scheduler=scheduler,
        sampler_options=_options(sampler, request, "sampler_options"),
        scheduler_options=_options(scheduler, request, "scheduler_options"),
        automatic=schedule is None and sampler.default_scheduler is None,
    )


def _pipeline_parts(request: GenerationRequest, plugins: PluginSet) -> PassParts:
    """Of a pass that a pipeline draws, whose samplers only the pipeline knows."""
    automatic = normal(request.scheduler) == normal(AUTOMATIC)
    return PassParts(
        sampler=replace(PIPELINES_OWN, label=request.sampler),
        scheduler=plugins.scheduler(UNIFORM if automatic else request.scheduler),
        sampler_options={},
        scheduler_options={},
        automatic=automatic,
    )


def _hires_parts(request: GenerationRequest, first: PassParts, plugins: PluginSet) -> PassParts:
    """Of the second pass: the first one's where nothing else is asked for, with those of its options that they take."""
    asked = {
        "sampler": request.hires_sampler or request.sampler,
        "scheduler": request.hires_scheduler or request.scheduler,
        "sampler_options": {},
        "scheduler_options": {},
    }
    try:
        second = _pass_parts(request.model_copy(update=asked), plugins)
    except UnknownNameError as error:
        error.field = f"hires_{error.field}" if error.field else None
        raise
    sampled = _taken(second.sampler, request.sampler_options, first.sampler_options)
    scheduled = _taken(second.scheduler, request.scheduler_options, first.scheduler_options)
    return replace(
        second,
        sampler_options={**second.sampler_options, **sampled},
        scheduler_options={**second.scheduler_options, **scheduled},
    )


def _taken(
    part: Sampler | Scheduler, given: Mapping[str, OptionValue], checked: Mapping[str, OptionValue]
) -> dict[str, OptionValue]:
    """Those options that were given to another part and that this one takes as well."""
    taken: dict[str, OptionValue] = {}
    for option in part.options:
        if option.name in given:
            with suppress(RequestError):
                taken |= check_options(part.label, (option,), {option.name: checked[option.name]})
    return taken


def additions_of(plugins: PluginSet) -> tuple[Addition, ...]:
    """Everything that there is of the kinds of which a request may ask for several."""
    return tuple(addition for kind in KINDS if kind.several for addition in plugins.all(kind.descriptor))


def checked_option(key: str, value: OptionValue, plugins: PluginSet) -> tuple[str, OptionValue]:
    """An addition's option: (`id.name`, the value as its declaration has it). Raises UnknownNameError or
    RequestError."""
    owner, name = _owner(key, plugins), key.rpartition(".")[2]
    try:
        return f"{owner.id}.{name}", check_options(owner.label, owner.options, {name: value})[name]
    except RequestError as error:
        error.field = "options"
        raise


def options_of(part: Addition | OutputSaver, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Every option of a part: as `given` has it under `id.name`, else its default."""
    return {option.name: given.get(f"{part.id}.{option.name}", option.default) for option in part.options}


def _options(
    part: Sampler | Scheduler | OutputSaver, request: GenerationRequest, field: str
) -> Mapping[str, OptionValue]:
    try:
        return check_options(part.label, part.options, getattr(request, field))
    except RequestError as error:
        error.field = field
        raise


def _asked_for(kind: type[A], request: GenerationRequest, plugins: PluginSet) -> tuple[A, ...]:
    """Those of a kind that a request names, or sets an option of, as asked."""
    there, row = named(plugins.all(kind)), kind_of(kind)
    names = [name for name in getattr(request, row.field) if "=" not in name]
    found = [find(row.word, name, there, field=row.field) for name in names]
    found += [addition for key in request.options if isinstance(addition := _owner(key, plugins), kind)]
    return tuple({addition.id: addition for addition in found}.values())


def _assigned(names: Sequence[str]) -> dict[str, OptionValue]:
    """Options that stand among the names of what they are of, as `id.name=value`: settings have no other place for
    them. They ask for nothing."""
    pairs = (name.partition("=") for name in names if "=" in name)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _owner(key: str, plugins: PluginSet) -> Addition:
    owner, dot, name = key.rpartition(".")
    if not dot:
        raise RequestError(
            message("options has '{key}', but its keys must look like 'token_merging.ratio'.", key=printable(key)),
            "options",
        )
    there = additions_of(plugins)
    having = named(addition for addition in there if any(option.name == name for option in addition.options))
    taken = {normal(known) for known in having}  # of two kinds with one name, that one is meant which has the option
    named_here = having | {n: a for n, a in named(there).items() if normal(n) not in taken}
    return find("part", owner, named_here, field="options")


def _sampler(request: GenerationRequest, plugins: PluginSet) -> tuple[Sampler, str | None]:
    """The sampler and the schedule's name, None where the sampler's default is wanted. Before 1.9 A1111 had both in one
    name, "DPM++ 2M Karras"."""
    asked = None if normal(request.scheduler) == normal(AUTOMATIC) else request.scheduler
    try:
        return plugins.sampler(request.sampler), asked
    except UnknownNameError:
        name = normal(request.sampler)
        for schedule in named(plugins.all(Scheduler)):
            if name.endswith(f" {normal(schedule)}"):
                with suppress(UnknownNameError):
                    return plugins.sampler(name.removesuffix(normal(schedule))), asked or schedule
        raise
