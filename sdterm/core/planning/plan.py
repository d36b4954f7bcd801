"""From what was asked to what will be drawn: the resolved plan, fixed before the first step."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.files import legible
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.planning.choices import (
    AUTOMATIC,
    Choices,
    ChosenModel,
    PassChoices,
    PassFiles,
    PictureChoices,
    choose_parts,
    latent_upscaler,
    with_files,
)
from sdterm.core.planning.enlargement import UpscalerPlan, plan_upscaler, plan_upscalers
from sdterm.core.planning.hires import hires_size
from sdterm.core.planning.networks import NetworkPlan, Networks, Unapplied, WordGroup
from sdterm.core.planning.pipelines import edits
from sdterm.core.planning.transforms import TransformPipeline
from sdterm.core.prompt.networks import extract
from sdterm.core.prompt.styles import Styles, find_style
from sdterm.core.prompt.wildcards import FOLDER as WILDCARDS
from sdterm.core.prompt.wildcards import Wildcards
from sdterm.core.text import printable
from sdterm.hooks import (
    OptionValue,
    PromptContext,
    PromptText,
    Start,
)
from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError

_SEEDS = 4_294_967_294  # A1111 draws -1 from 0 … 4294967293


class TextPlan(BaseModel):
    """What guides an image."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    negative_prompt: str
    networks: tuple[NetworkPlan, ...] = ()
    """What the prompt's tags call, in the order in which it acts."""
    words: tuple[WordGroup, ...] = ()
    """The embeddings that the prompts name."""
    unapplied: tuple[Unapplied, ...] = ()
    """Tags that do nothing."""

    @cached_property
    def text(self) -> str:
        """The prompt without its tags: what is encoded."""
        return extract(self.prompt)[0]


class ImagePlan(TextPlan):
    """One image of the job, and what guides it in its first pass."""

    seed: int
    variation_seed: int = 0
    """Of the noise mixed in, where the request asks for any."""
    init_image: str = ""
    """The digest of the picture it starts from."""


class ModelPlan(BaseModel):
    """The files that a pass is drawn with."""

    model_config = ConfigDict(frozen=True)

    model: str
    model_hash: str
    """SHA-256 of the checkpoint, hex."""
    vae: str = ""
    """The separate VAE's file name; empty where the checkpoint's own is used."""
    vae_hash: str = ""
    parts: dict[str, str] = {}
    """SHA-256 of what gives each part besides: text encoders, a diffusers folder."""


class RefinerPlan(ModelPlan):
    """The files of a model that takes over within a pass."""

    switch_at: float
    """From 0 to 1: how far the pass is then."""
    by_steps: bool = False
    """Whether that is a share of the steps, and not of the noise that is gone."""


class UpscalePlan(BaseModel):
    """What makes the picture larger that a pass begins with: an init image, or that of the pass before."""

    model_config = ConfigDict(frozen=True)

    upscaler: UpscalerPlan
    width: int
    height: int
    """What stands out over the pass's own size is cut off, in whole cells."""


class PassPlan(BaseModel):
    """One way through the noise levels, for every image."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    asked: tuple[int, int] | None = None
    """Width and height before they were rounded down to these, as a model that knows sizes is told them."""
    steps: int
    sampler: str
    scheduler: str
    """Labels, resolved: "Karras" for Automatic where the sampler has that default, else "Automatic" as asked."""
    sampler_options: dict[str, OptionValue]
    scheduler_options: dict[str, OptionValue]
    start: Start = "noise"
    """What it begins with: noise alone, the init image, or what the pass before it ended with. `given`: it is not
    drawn, since its picture is there."""
    upscale: UpscalePlan | None = None
    """Of a pass that begins with the one before it, or with an init image that is not enlarged by Lanczos."""
    denoising_strength: float = 1.0
    """How much of an image that it begins with is drawn anew."""
    exactly: bool = False
    """Whether it makes as many steps, whatever the strength."""
    cfg_scale: float | None = None
    """Where it is another than the request's."""
    model: ModelPlan | None = None
    """Where it is another than the job's."""
    refiner: RefinerPlan | None = None
    texts: tuple[TextPlan, ...] = ()
    """Of each image, where they are others than in the first pass."""

    @property
    def told_size(self) -> tuple[int, int]:
        """What a model that knows sizes is told."""
        return self.asked or (self.width, self.height)


class Plan(ModelPlan):
    """Everything that decides the pixels, as values: stored with a job, it draws the same images again."""

    request: GenerationRequest
    images: tuple[ImagePlan, ...]
    passes: tuple[PassPlan, ...]
    """One after the other, each from where the one before ended."""
    format_options: dict[str, OptionValue]
    options: dict[str, OptionValue] = {}
    """Of what else was asked for, as far as they were given: see `core.planning.choices`."""
    upscalers: tuple[UpscalerPlan, ...] = ()
    """Those that finished pictures are made larger by."""
    together: int | None = None
    """How many images are drawn together, where there was no memory for the request's batches."""

    @property
    def width(self) -> int:
        """Of the images: the last pass's."""
        return self.passes[-1].width

    @property
    def height(self) -> int:
        return self.passes[-1].height

    def model_of(self, pass_no: int) -> ModelPlan:
        """The files that a pass is drawn with."""
        return self.passes[pass_no].model or self

    def text_of(self, index: int, pass_no: int) -> TextPlan:
        """What guides an image in a pass."""
        texts = self.passes[pass_no].texts
        return texts[index] if texts else self.images[index]


def choose_again(plan: Plan, plugins: PluginSet, library: Library) -> Choices:
    """What a plan was made from, found again: its checkpoint by hash, whatever lies in the folders now. Raises as
    `choose` does."""
    files = [
        PassFiles(
            _same_files(plan.model_of(number), library),
            _same_files(planned.refiner, library) if planned.refiner else None,
            planned.upscale.upscaler if planned.upscale else None,
        )
        for number, planned in enumerate(plan.passes)
    ]
    found = with_files(
        choose_parts(plan.request, plugins), files, plan.request, plugins, library, planned=plan.upscalers
    )
    for number, each in enumerate(found.passes):
        _check_parts(plan.model_of(number), each.model, library)
    return found


def _check_parts(plan: ModelPlan, model: ChosenModel, library: Library) -> None:
    """Raises ModelFileError if a part would come from another file than the job was begun with."""
    there = _parts(model, library)
    if changed := sorted(part for part in plan.parts.keys() | there.keys() if plan.parts.get(part) != there.get(part)):
        raise ModelFileError(
            message(
                "{model} now takes its {part} from another file than at the start of this job. Put the old "
                "file back, or generate again.",
                model=printable(plan.model),
                part=changed[0],
            )
        )


def _same_files(plan: ModelPlan, library: Library) -> CheckpointFile:
    """The checkpoint that a plan was made with, with its VAE. Raises ModelFileError."""
    namesakes = [there for there in library.checkpoints() if there.name == plan.model]

    def namesake(*, compute: bool) -> CheckpointFile | None:
        same = (there for there in namesakes if library.has_hash(there.path, plan.model_hash, compute=compute))
        return next(same, None)

    # A copy of another name may have another configuration beside it. The cache of hashes may be gone.
    checkpoint = namesake(compute=False) or library.with_hash(plan.model_hash) or namesake(compute=True)
    if not checkpoint:
        raise ModelFileError(
            message(
                "The checkpoint that this job started with, {name} ({hash}), is missing. Put it back, or "
                "generate again with another one.",
                name=printable(plan.model),
                hash=plan.model_hash[:10],
            )
        )
    return replace(checkpoint, vae=_same_vae(plan, library))


def _same_vae(plan: ModelPlan, library: Library) -> CheckpointFile | None:
    """The separate VAE that a plan was made with. Raises ModelFileError."""
    there = sorted(library.vaes(), key=lambda vae: vae.path.name != plan.vae)
    found = next((vae for vae in there if plan.vae_hash and library.has_hash(vae.path, plan.vae_hash)), None)
    if plan.vae and not found:
        raise ModelFileError(
            message(
                "The VAE that this job started with, {name} ({hash}), is missing. Put it back, or generate "
                "again with another one.",
                name=printable(plan.vae),
                hash=plan.vae_hash[:10],
            )
        )
    return found


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
    _check_size(request, choices)
    first_pass = choices.first
    inits = () if edits(request, first_pass.model.facts) else request.init_images
    _check_variation(request, first_pass.model.match.downscale)
    if request.mask and not inits:
        raise RequestError(message("There is a mask, but no init image. Add an init image."), "mask")
    first_seed = draw_seed() if request.seed == -1 else request.seed
    varied = request.variation_strength != 0
    is_drawn = request.variation_seed == -1
    first_variation = (draw_variation() if varied else 0) if is_drawn else request.variation_seed
    asked = PromptText(
        request.prompt, request.negative_prompt, tuple(find_style(name, styles) for name in request.styles)
    )
    context = PromptContext(MappingProxyType(dict(styles)), Wildcards(library.root / WILDCARDS))
    transform = TransformPipeline.of(choices, plugins, context)
    networks = Networks(library, plugins, tapped=first_pass.model.facts is not None)
    calls = [
        steps * found.sampler.calls_per_step
        for steps, found in zip((request.steps, request.hires_steps or request.steps), choices.passes, strict=False)
    ]

    def planned_text(prompt: str, negative: str, pass_no: int) -> TextPlan:
        prompt, called, unapplied = networks.called(prompt, request)
        plan = TextPlan(prompt=prompt, negative_prompt=negative, networks=called, unapplied=unapplied)
        family, before = choices.passes[pass_no].model.family, calls[0] if pass_no else None
        words, unusable = networks.words(plan.text, negative, request, calls[pass_no], family, before)
        return plan.model_copy(update={"words": words, "unapplied": (*unapplied, *unusable)})

    def drawn(index: int) -> tuple[ImagePlan, TextPlan, int]:
        seed = first_seed + (0 if varied else index)  # as in A1111: variations of one seed, not of many
        text, texts = transform(asked, seed, index)
        first = planned_text(text.positive, text.negative, 0)
        image = ImagePlan(
            **dict(first),
            seed=first_seed if text.first_seed else seed,
            variation_seed=first_variation + (index if varied else 0),
            init_image=inits[index % len(inits)] if inits else "",
        )
        if not request.hires:
            return image, first, texts
        again = replace(
            asked,
            positive=request.hires_prompt or asked.positive,
            negative=request.hires_negative_prompt or asked.negative,
        )
        second = text if again == asked else transform(again, seed, index)[0]
        return image, planned_text(second.positive, second.negative, 1), texts

    first, first_again, texts = drawn(0)
    together = len(inits) if len(inits) > 1 else request.batch_size  # as A1111: each of several inits once a batch
    count = max(together * request.batch_count, texts)
    more = [drawn(index) for index in range(1, count)]
    images = (first, *(image for image, *_ in more))
    _check_seeds(images, choices)
    return Plan(
        request=request,
        images=images,
        passes=_passes(request, choices, library, images, [first_again, *(again for _, again, _ in more)]),
        format_options=dict(choices.format_options),
        options=dict(choices.options),
        upscalers=plan_upscalers(choices.enlargement, library),
        **dict(_model_plan(first_pass.model, library)),
    )


def _passes(
    request: GenerationRequest,
    choices: Choices,
    library: Library,
    images: Sequence[ImagePlan],
    second_texts: Sequence[TextPlan],
) -> tuple[PassPlan, ...]:
    native_size = choices.first.model.match.native_size
    width, height = request.width or native_size, request.height or native_size
    asked = request.asked(width, height)
    first = _pass_plan(choices.first, request, library, width=width, height=height, asked=asked, steps=request.steps)
    if request.init_images and not edits(request, choices.first.model.facts):
        enlarges = choices.first.upscaler
        begins = {
            "start": "image",
            "upscale": enlarges and UpscalePlan(upscaler=plan_upscaler(enlarges, library), width=width, height=height),
            "denoising_strength": request.denoising_strength,
            "exactly": request.fix_steps,
        }
        return (first.model_copy(update=begins),)
    if len(choices.passes) == 1:
        return (first,)
    found = choices.passes[1]
    size = hires_size(request, *asked, found.model.match.downscale)
    latent = UpscalerPlan(name=latent_upscaler(request) or "")
    upscale = UpscalePlan(
        upscaler=plan_upscaler(found.upscaler, library) if found.upscaler else latent,
        width=size.upscaled_width,
        height=size.upscaled_height,
    )
    if request.first_pass_image:
        first = first.model_copy(update={"start": "given"})
    model = _model_plan(found.model, library)
    same_texts = all(text == _first_text(image) for text, image in zip(second_texts, images, strict=True))
    second = _pass_plan(
        found,
        request,
        library,
        width=size.width,
        height=size.height,
        asked=(size.upscaled_width, size.upscaled_height),
        steps=request.hires_steps or request.steps,
    )
    changes = {
        "start": "pass",
        "upscale": upscale,
        "denoising_strength": request.denoising_strength,
        "exactly": True,
        "cfg_scale": request.hires_cfg_scale or None,
        "model": None if model == _model_plan(choices.first.model, library) else model,
        "texts": () if same_texts else tuple(second_texts),
    }
    return first, second.model_copy(update=changes)


def _pass_plan(
    found: PassChoices,
    request: GenerationRequest,
    library: Library,
    *,
    width: int,
    height: int,
    asked: tuple[int, int],
    steps: int,
) -> PassPlan:
    return PassPlan(
        width=width,
        height=height,
        asked=asked,
        steps=steps,
        sampler=found.sampler.label,
        scheduler=AUTOMATIC if found.automatic else found.scheduler.label,
        sampler_options=dict(found.sampler_options),
        scheduler_options=dict(found.scheduler_options),
        refiner=RefinerPlan(
            **dict(_model_plan(found.refiner, library)),
            switch_at=request.refiner_switch_at,
            by_steps=request.refiner_by_steps,
        )
        if found.refiner
        else None,
    )


def _first_text(image: ImagePlan) -> TextPlan:
    return TextPlan(**{name: getattr(image, name) for name in TextPlan.model_fields})


def _model_plan(model: ChosenModel, library: Library) -> ModelPlan:
    checkpoint, vae = model.checkpoint, model.checkpoint.vae
    return ModelPlan(
        model=checkpoint.name,
        model_hash=library.sha256(checkpoint.path),
        vae=legible(vae.path.name) if vae else "",
        vae_hash=library.sha256(vae.path) if vae else "",
        parts=_parts(model, library),
    )


def _parts(model: ChosenModel, library: Library) -> dict[str, str]:
    return {part: library.sha256(path) for part, path in model.match.files.items()}


def prepare_pictures(
    request: GenerationRequest, choices: PictureChoices, library: Library, sources: Sequence[ImagePlan]
) -> Plan:
    """The plan of a job that only makes pictures larger: no pass, and no model but the upscalers. sources: what is
    known of the pictures, in the request's order."""
    upscalers = plan_upscalers(choices.enlargement, library)
    return Plan(
        request=request,
        images=tuple(sources),
        passes=(),
        format_options=dict(choices.format_options),
        model=", ".join(each.name for each in upscalers),
        model_hash=next((each.sha256 for each in upscalers), ""),
        upscalers=upscalers,
    )


def _check_size(request: GenerationRequest, choices: Choices) -> None:
    for name in ("width", "height"):
        asked, model = getattr(request, name), choices.first.model
        if asked and asked % (step := model.match.size_step):
            said = message(
                "{field} is {value}, but {model} needs a multiple of {step}.",
                field=name,
                value=asked,
                model=model.checkpoint.name,
                step=step,
            )
            raise RequestError(said, name)


def _check_seeds(images: Sequence[ImagePlan], choices: Choices) -> None:
    """A Brownian tree takes no seeds below 0; A1111 fails there, too."""
    motion = next((each.sampler for each in choices.passes if each.sampler.noise == "brownian"), None)
    if motion and (below := next((image.seed for image in images if image.seed < 0), None)) is not None:
        raise RequestError(
            message(
                "seed is {seed}, but {sampler} needs a seed of 0 or more: change the seed or the sampler.",
                seed=below,
                sampler=motion.label,
            ),
            "seed",
        )


def _check_variation(request: GenerationRequest, downscale: int) -> None:
    """A1111 mixes noises along their columns; columns of one cell have no direction, and it draws nothing at all."""
    resized = request.seed_resize_width > 0 and request.variation_strength != 0
    if resized and downscale <= request.seed_resize_height < 2 * downscale:
        raise RequestError(
            message(
                "seed_resize_height is {value}, but with a variation it must be 0 or at least {least}.",
                value=request.seed_resize_height,
                least=2 * downscale,
            ),
            "seed_resize_height",
        )
