"""From what was asked to what will be drawn: the resolved plan, fixed before the first step."""

import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from sdterm.core.a1111 import UNIFORM
from sdterm.core.extensions.registry import ContractError, PluginFailure, PluginSet, check_options, named
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.recognition import recognise
from sdterm.core.names import UnknownNameError, normal
from sdterm.core.planning.additions import addition_options, all_asked_for, asked_for, options_of
from sdterm.core.prompt.styles import Styles, find_style
from sdterm.core.prompt.wildcards import FOLDER as WILDCARDS
from sdterm.core.prompt.wildcards import Wildcards
from sdterm.core.text import printable
from sdterm.hooks import (
    ModelFamily,
    ModelMatch,
    OptionValue,
    OutputSaver,
    PluginError,
    PromptContext,
    PromptText,
    PromptTransform,
    Sampler,
    Scheduler,
)
from sdterm.request import MAX_PROMPT, GenerationRequest, RequestError

AUTOMATIC = "Automatic"
_NOT_TEXT = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # as in a request
_MOST_TEXTS = 100_000  # of one transform for one prompt: combinations grow fast
MOST_IMAGES = 1000
"""That a job grows to where a prompt transform makes several texts of one."""
_SEEDS = 4_294_967_294  # A1111 draws -1 from 0 … 4294967293


class ImagePlan(BaseModel):
    """One image of the job."""

    model_config = ConfigDict(frozen=True)

    seed: int
    variation_seed: int = 0
    """Of the noise mixed in, where the request asks for any."""
    prompt: str
    negative_prompt: str


class Plan(BaseModel):
    """Everything that decides the pixels, as values: stored with a job, it draws the same images again."""

    model_config = ConfigDict(frozen=True)

    request: GenerationRequest
    images: tuple[ImagePlan, ...]
    width: int
    height: int
    sampler: str
    scheduler: str
    """Labels, resolved: "Karras" for Automatic where the sampler has that default, else "Automatic" as asked."""
    sampler_options: dict[str, OptionValue]
    scheduler_options: dict[str, OptionValue]
    format_options: dict[str, OptionValue]
    options: dict[str, OptionValue] = {}
    """Of what else was asked for, as far as they were given: see `core.additions`."""
    model: str
    model_hash: str
    """SHA-256 of the checkpoint, hex."""


@dataclass(frozen=True)
class Choices:
    """The things that a request names, found. Nothing of the model but its header has been read."""

    checkpoint: CheckpointFile
    family: ModelFamily
    match: ModelMatch
    sampler: Sampler
    scheduler: Scheduler
    saver: OutputSaver


def choose(request: GenerationRequest, plugins: PluginSet, library: Library) -> Choices:
    """Look up every name in the request. Raises UnknownNameError, ModelFileError or RequestError."""
    parts = choose_parts(request, plugins)
    return _choices(library.find(request.model), parts, plugins)


def _choices(checkpoint: CheckpointFile, parts: tuple[Sampler, Scheduler, OutputSaver], plugins: PluginSet) -> Choices:
    family, match = recognise(checkpoint, plugins)
    if match.refusal:
        raise ModelFileError(match.refusal)
    return Choices(checkpoint, family, match, *parts)


def choose_parts(request: GenerationRequest, plugins: PluginSet) -> tuple[Sampler, Scheduler, OutputSaver]:
    """Look up the names of what plugins offer, and check the options given to them; no code of theirs is run. Raises
    UnknownNameError or RequestError."""
    sampler, scheduler_name = _sampler(request, plugins)
    scheduler = plugins.scheduler(scheduler_name or sampler.default_scheduler or UNIFORM)
    saver = plugins.saver(request.format)
    _additions(request, plugins)
    for part, field in ((sampler, "sampler_options"), (scheduler, "scheduler_options"), (saver, "format_options")):
        try:
            check_options(part.label, part.options, getattr(request, field))
        except RequestError as error:
            error.field = field
            raise
    return sampler, scheduler, saver


def _additions(request: GenerationRequest, plugins: PluginSet) -> dict[str, OptionValue]:
    """The options of what is asked for besides, all of which must be there."""
    all_asked_for(request, plugins)
    return addition_options(request, plugins)


def choose_again(plan: Plan, plugins: PluginSet, library: Library) -> Choices:
    """What a plan was made from, found again: its checkpoint by hash, whatever lies in the folders now. Raises as
    `choose` does."""
    parts = choose_parts(plan.request, plugins)
    checkpoint = library.with_hash(plan.model_hash)
    if not checkpoint:  # the cache of hashes may be gone
        namesakes = (there for there in library.checkpoints() if there.name == plan.model)
        checkpoint = next((there for there in namesakes if library.has_hash(there.path, plan.model_hash)), None)
    if not checkpoint:
        raise ModelFileError(
            f"The checkpoint that this job was begun with, {printable(plan.model)} ({plan.model_hash[:10]}), is no "
            "longer there. Put it back, or generate again with another."
        )
    return _choices(checkpoint, parts, plugins)


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


def prepare(
    request: GenerationRequest,
    choices: Choices,
    plugins: PluginSet,
    library: Library,
    styles: Styles,
    *,
    draw_seed: Callable[[], int] = lambda: secrets.randbelow(_SEEDS),
    draw_variation: Callable[[], int] = lambda: secrets.randbelow(_SEEDS),
) -> Plan:
    """Fix seeds, sizes, options and final prompts. Raises RequestError; UnknownNameError for a style that does not
    exist; PluginError if a prompt transform refuses."""
    _check_variation(request, choices.match.downscale)
    first_seed = draw_seed() if request.seed == -1 else request.seed
    varied = request.variation_strength > 0
    first_variation = draw_variation() if varied and request.variation_seed == -1 else max(request.variation_seed, 0)
    sampler, scheduler, saver = choices.sampler, choices.scheduler, choices.saver
    kept_automatic = _sampler(request, plugins)[1] is None and sampler.default_scheduler is None
    options = _additions(request, plugins)
    asked = PromptText(
        request.prompt, request.negative_prompt, tuple(find_style(name, styles) for name in request.styles)
    )
    fold = Fold(
        tuple(t for t in plugins.transforms() if t.default or t in asked_for(PromptTransform, request, plugins)),
        plugins,
        PromptContext(MappingProxyType(dict(styles)), Wildcards(library.root / WILDCARDS)),
        options,
    )

    def drawn(index: int) -> tuple[ImagePlan, int]:
        seed = first_seed + (0 if varied else index)  # as in A1111: variations of one seed, not of many
        text, texts = fold(asked, seed, index)
        image = ImagePlan(
            seed=first_seed if text.first_seed else seed,
            variation_seed=first_variation + (index if varied else 0),
            prompt=text.positive,
            negative_prompt=text.negative,
        )
        return image, texts

    first, texts = drawn(0)
    count = max(request.batch_size * request.batch_count, texts)
    return Plan(
        request=request,
        images=(first, *(drawn(index)[0] for index in range(1, count))),
        width=request.width or choices.match.native_size,
        height=request.height or choices.match.native_size,
        sampler=sampler.label,
        scheduler=AUTOMATIC if kept_automatic else scheduler.label,
        sampler_options=check_options(sampler.label, sampler.options, request.sampler_options),
        scheduler_options=check_options(scheduler.label, scheduler.options, request.scheduler_options),
        format_options=check_options(saver.label, saver.options, request.format_options),
        options=options,
        model=choices.checkpoint.name,
        model_hash=library.sha256(choices.checkpoint.path),
    )


def _check_variation(request: GenerationRequest, downscale: int) -> None:
    """A1111 mixes noises along their columns; columns of one cell have no direction, and it draws nothing at all."""
    resized = request.seed_resize_width > 0 and request.variation_strength > 0
    if resized and downscale <= request.seed_resize_height < 2 * downscale:
        raise RequestError(
            f"seed_resize_height is {request.seed_resize_height}, but with a variation it must be 0 or at least "
            f"{2 * downscale}.",
            "seed_resize_height",
        )


@dataclass(frozen=True)
class Fold:
    """The prompt transforms of a job, one after the other."""

    transforms: tuple[PromptTransform, ...]
    plugins: PluginSet
    context: PromptContext
    options: Mapping[str, OptionValue]

    def __call__(self, text: PromptText, seed: int, index: int) -> tuple[PromptText, int]:
        """(the text of image `index`, how many images it takes until every text that is to be drawn was). Several
        texts are spread over the images in turn; of two transforms that want all theirs drawn, every pair is. Raises
        RequestError if one refuses, PluginFailure if one fails."""
        wanted, first_seed = 1, False
        for transform in self.transforms:
            texts = self._texts(transform, text, seed)
            text = texts[index // wanted % len(texts) if transform.draws_all else index % len(texts)]
            first_seed |= text.first_seed
            wanted *= len(texts) if transform.draws_all else 1
            if wanted > MOST_IMAGES:
                raise RequestError(
                    f"{transform.label} makes {wanted:,} prompts of this one; the limit is {MOST_IMAGES:,}."
                )
        return replace(text, first_seed=first_seed), wanted

    def _texts(self, transform: PromptTransform, text: PromptText, seed: int) -> tuple[PromptText, ...]:
        try:
            with self.plugins.guard(transform, RequestError):
                rng = Random(f"{seed}:{transform.id}")
                given = transform.transform(text, rng, self.context, **options_of(transform, self.options))
                return _checked(given)
        except PluginFailure:
            raise
        except PluginError as error:  # a transform's own word on the prompt
            raise RequestError(str(error)) from error


def _checked(texts: object) -> tuple[PromptText, ...]:
    """The texts that a transform gave. Raises ContractError if it may not give those."""
    if not isinstance(texts, tuple | list) or not texts:
        raise ContractError("it gave no PromptText")
    if len(texts) > _MOST_TEXTS:
        raise ContractError(f"it gave {len(texts):,} texts; at most {_MOST_TEXTS:,} are taken")
    for text in texts:
        if not isinstance(text, PromptText) or not isinstance(text.styles, tuple | list):
            raise ContractError("it gave no PromptText")
        for words in (text.positive, text.negative, *text.styles):
            if not isinstance(words, str):
                raise ContractError(f"it gave {type(words).__name__} for text")
            if len(words) > MAX_PROMPT:
                raise ContractError(f"it gave {len(words):,} characters; at most {MAX_PROMPT:,} are taken")
            if wrong := _NOT_TEXT.search(words):
                raise ContractError(f"it gave the character U+{ord(wrong[0]):04X}, which no prompt may have")
    return tuple(texts)
