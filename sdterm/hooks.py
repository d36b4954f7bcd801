"""The plugin contract, version 1: what a plugin author reads first.

A plugin is a module with functions marked `@hookimpl`, named like the hooks at the end of this file. Each returns a
list of the frozen descriptors defined here. sdterm's own samplers, savers and model families are plugins like yours.
What the functions return is listed in the order of the plugins; `@hookimpl(tryfirst=True)` puts it before that of all
others and `trylast=True` behind it.

Conventions: latents are `[B, C, H/f, W/f]` float32 unless said (C channels, f pixels per cell, from the model family);
images `[H, W, 3]` uint8 sRGB; sizes in pixels, memory in bytes, time in seconds. A sigma is the standard deviation of
the noise in a latent whose signal is unscaled (k-diffusion's convention).

Only the `noise` and `rng` a plugin is handed may be used for randomness: image k of a batch must equal the single
image with that seed, and a stopped job must continue bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import pluggy

from sdterm.errors import SdtermError
from sdterm.fields import Rung

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

API_VERSION = 1

hookspec = pluggy.HookspecMarker("sdterm")
hookimpl = pluggy.HookimplMarker("sdterm")

OptionValue = bool | int | float | str


class PluginError(SdtermError):
    """A plugin says, in one sentence for the user, why it cannot do what was asked."""

    code = "plugin_failed"


@dataclass(frozen=True)
class Option:
    """A value the user may set per request. Its type is its default's; numbers may be bounded."""

    name: str
    default: OptionValue
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    infotext: str = ""
    """Its key in an image's infotext, where it is written unless it has its default; unset, the name's own words."""
    a1111: str = ""
    """A1111's setting of the same meaning, which its HTTP API may give."""
    choices: tuple[str, ...] = ()
    """All values there are, of a text with few."""
    is_image: bool = False
    """Whether it is a picture, of a denoise hook or postprocessor. Its default is "": no picture. A request has the
    SHA-256 of an input; the function gets uint8 `[H, W, 3]`, or `[H, W, 4]` with transparency, not to be written to, or
    None where there is none."""
    unset: bool = False
    """Of a pipeline: unless a request sets it, it is not given at all; its default only tells its type."""


# --- prompt transforms ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PromptText:
    """The two texts of one image, before anything is parsed. `styles` are names still to be applied."""

    positive: str
    negative: str = ""
    styles: tuple[str, ...] = ()
    first_seed: bool = False
    """True: the image is drawn with the job's first seed rather than its own, so that nothing but the text differs."""


@dataclass(frozen=True)
class PromptContext:
    """What a transform may look at besides the text."""

    styles: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name → (prompt, negative prompt), from the user's styles files."""
    wildcards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name → lines, from the text files under `wildcards/` of the data folder: `animals/birds` is that folder's
    `animals/birds.txt`. Read when it is asked for."""


@dataclass(frozen=True)
class PromptTransform:
    """Rewrites prompts. `transform(prompt, rng, context, **options)` returns one text, or several to spread over
    images: `prompt` a PromptText, `rng` a random.Random, `context` a PromptContext.

    Transforms are applied by ascending `order`; `rng` is seeded by image seed and transform. Raise `PluginError`
    to refuse a prompt.

    default: whether it is applied to every prompt, or only where a request names it. draws_all: whether a job grows
        until each of its texts has an image.
    """

    id: str
    label: str
    transform: Callable[..., tuple[PromptText, ...]]
    order: int = 100
    default: bool = True
    draws_all: bool = False
    options: tuple[Option, ...] = ()


# --- samplers and schedulers ------------------------------------------------------------------------------------------


class Denoised(NamedTuple):
    """What a denoiser call gives. `x0`: the guided prediction of the clean latents, shaped like x.
    `uncond`: the unguided one, only for samplers that declare `needs_uncond`."""

    x0: torch.Tensor
    uncond: torch.Tensor | None


class Denoise(Protocol):
    """`denoise(x, sigma)`: x `[B, C, h, w]`, sigma `[B]` on the CPU, all equal. Raises to cancel: let it pass."""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> Denoised: ...


class Noise(Protocol):
    """`noise(sigma, sigma_next)`: fresh unit noise shaped like x, each image's from its own generator."""

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor: ...


class StepCallback(Protocol):
    """`callback(i, denoised)`: call once per step, after its first denoiser call. i counts from 0."""

    def __call__(self, i: int, denoised: torch.Tensor) -> None: ...


Process = Literal["vp", "flow"]
"""How a model mixes signal and noise. `vp`: latents plus sigma times noise, as samplers see a variance-preserving
diffusion model (k-diffusion); `flow`: (1 - sigma) times latents plus sigma times noise, sigma from 0 to 1."""


class ModelSampling(Protocol):
    """A model's noise levels."""

    @property
    def sigmas(self) -> torch.Tensor:
        """float32 [T], ascending."""
        ...

    @property
    def sigma_min(self) -> float: ...
    @property
    def sigma_max(self) -> float: ...
    def sigma_to_t(self, sigma: torch.Tensor) -> torch.Tensor: ...
    def t_to_sigma(self, t: torch.Tensor) -> torch.Tensor: ...
    def noise_scaling(self, sigma: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Latents with unit noise mixed in, at the level sigma."""
        ...


class Tail(NamedTuple):
    """The end of a way down the noise levels, for what begins with an image. `level`: the sigma at which noise is mixed
    into it; `sigmas`: those to walk, float32 [n+1] on the CPU, as `sample` gets them."""

    level: torch.Tensor
    sigmas: torch.Tensor


@dataclass(frozen=True)
class Sampler:
    """A sampling algorithm.

    sample: `sample(denoise, x, sigmas, *, noise, callback, **options) -> x`, a loop in k-diffusion's shape, from noisy
        x `[B, C, h, w]` down `sigmas` (float32 [n+1], on the CPU, so that reading one never waits for a GPU) to clean
        latents; see `Denoise`, `Noise` and `StepCallback`. Every declared option is given by keyword.
    grid: where its noise levels come from. `schedule`: the chosen scheduler; `own`: `own_sigmas(steps, sampling)`,
        and the scheduler is ignored.
    own_tail: where such a sampler goes from an image: `own_tail(steps, kept, sampling, schedule)` → a `Tail`. Of a way
        of `steps` steps it has the last ones, `kept` levels after the noisiest and before the clean end; `schedule` is
        the way of the scheduler. Unset: the last kept + 1 steps of its own way.
    start: how pure noise is scaled at the start. `sigma`: by the first sigma (k-diffusion); `unit`: not at all (the
        sampler works on variance-preserving latents).
    sampling: the noise levels it works with, made from the model's: schedule and network's timesteps then follow them,
        and `sample` is given them, too, by the keyword `sampling`. With a `predicts_noise` that is true they take the
        answer of a network that predicts velocities for noise, as A1111's LCM does.
    noise: what `noise` draws. `sequential`: each image's next numbers; `brownian`: the increment of each image's
        Brownian motion from sigma to sigma_next, for SDE solvers.
    models: the kinds of model it can integrate. A solver of dx/dsigma = (x - x0) / sigma can do both; one that adds
        noise on the way, or calculates with signal and noise apart, is right for one of them.
    """

    id: str
    label: str
    sample: Callable[..., torch.Tensor]
    aliases: tuple[str, ...] = ()
    calls_per_step: int = 1
    default_scheduler: str | None = None
    grid: Literal["schedule", "own"] = "schedule"
    own_sigmas: Callable[[int, ModelSampling], torch.Tensor] | None = None
    own_tail: Callable[[int, int, ModelSampling, torch.Tensor], Tail] | None = None
    start: Literal["sigma", "unit"] = "sigma"
    sampling: Callable[[ModelSampling], ModelSampling] | None = None
    noise: Literal["sequential", "brownian"] = "sequential"
    discard_penultimate: bool = False
    """Whether the last sigma but one is left out, whatever the request says."""
    needs_uncond: bool = False
    batch_coupled: bool = False
    """True if one image's path depends on the others in its batch: images are then drawn one at a time."""
    models: tuple[Process, ...] = ("vp",)
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Scheduler:
    """A noise schedule. `sigmas(n, sampling, **options)` → float32 [n+1] on the CPU: n falling sigmas, then 0.

    models: the kinds of model it is for. One that asks `sampling` for its levels is for both.
    """

    id: str
    label: str
    sigmas: Callable[..., torch.Tensor]
    aliases: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    models: tuple[Process, ...] = ("vp", "flow")


# --- denoise hooks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetworkCall:
    """One call of the network, of a batch of B images, as a denoise hook sees it."""

    call: int
    """Which of the pass, from 0; for `finish` and `overlay`, after the last one, as many as were planned."""
    calls: int
    """How many are planned; some samplers make more, or fewer."""
    level: float
    """The noise level as A1111 counts it: the sigma, or the timestep for samplers that start from `unit` noise. After
    the last call 0."""
    start: Literal["sigma", "unit"]
    """Whether the sampler's own latents are x, or x / sqrt(1 + sigma^2), as `Sampler.start` says."""
    prompts: tuple[tuple[Conditioning, ...], ...]
    """Of each image what guides this call: a part of its prompt (`a AND b` has two) each."""
    init: torch.Tensor | None
    """`[B, C, h, w]`: the clean latents that the pass began with; None where it began with noise."""
    mask: torch.Tensor | None
    """`[B, 1, h, w]`: how much of each cell is drawn anew, 0 … 1; None where there is no mask."""
    rng: Callable[[int], torch.Generator]
    """`rng(i)`: numbers for image i of the batch, on the CPU, seeded by image seed, hook and call."""


@dataclass(frozen=True)
class DenoiseHook:
    """Changes calls of the network, in every pass or where a request asks for it. Its functions are pure: what they
    give depends on nothing but what they are given.

    denoise: `denoise(network, x, sigma, call, **options)` → a `Denoised`. `network(x, sigma)` is the guided network
        with the hooks of higher `order` around it, x and sigma are as in `Denoise`, `call` is a `NetworkCall`.
    finish: `finish(latents, call, **options)` → latents, after the last step.
    overlay: `overlay(latents, call, **options)` → `[B, h, w]`, 0 … 1: how much of what was drawn shows over the init
        image, in place of the mask.
    needs: `mask`: it acts only in passes that have one.
    group, default: at most one hook of a group acts; the first with `default` does unless another is asked for. Hooks
        without a group and with `default` always act.
    soft_mask: whether `call.mask` keeps its shades, whatever the request says.
    """

    id: str
    label: str
    denoise: Callable[..., Denoised]
    finish: Callable[..., torch.Tensor] | None = None
    overlay: Callable[..., torch.Tensor] | None = None
    needs: Literal["", "mask"] = ""
    group: str = ""
    default: bool = False
    soft_mask: bool = False
    order: int = 100
    options: tuple[Option, ...] = ()


# --- models -----------------------------------------------------------------------------------------------------------


class WeightsReader(Protocol):
    """A checkpoint file. Reading the key list touches only its header."""

    @property
    def path(self) -> Path: ...
    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's own header metadata."""
        ...

    @property
    def content(self) -> Any:
        """What a PyTorch file holds, nested as it is: its texts and numbers; something of sdterm's for each tensor. Of
        a diffusers folder what its `model_index.json` says."""
        ...

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The `.yaml` beside the file (A1111's convention), parsed."""
        ...

    @property
    def preview(self) -> Mapping[str, Any] | None:
        """The `.preview.json` beside the file: the linear latent-to-RGB map fitted for it."""
        ...

    @property
    def vae(self) -> WeightsReader | None:
        """A separate VAE that was asked for, to be used instead of the checkpoint's own."""
        ...

    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def read(self, keys: Sequence[str], device: torch.device, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        """The tensors of `keys`. dtype: None leaves each in the file's own."""
        ...


class CheckpointReader(WeightsReader, Protocol):
    """A checkpoint, and what lies around it."""

    @property
    def parts(self) -> Mapping[str, tuple[Path, ...]]:
        """Of a diffusers folder the files with the weights of each part that has some; empty for a part that lacks
        them. Of a single file nothing."""
        ...

    def others(self, kind: str) -> Sequence[CheckpointReader]:
        """The user's model files of a kind, those that come first before others: `checkpoint`, `vae`,
        `text_encoder`."""
        ...

    def has_read(self, numbers: int) -> None:
        """Say that so many numbers were read by other means than `read`, for the progress that is shown."""
        ...


@dataclass(frozen=True)
class ModelMatch:
    """A family knows this checkpoint. If `refusal` is set it knows it well enough to say, in one sentence, why it
    cannot be drawn with; that counts only where no other family can."""

    native_size: int = 512
    downscale: int = 8
    """Pixels per latent cell."""
    size_step: int = 8
    """Width and height are multiples of it, in pixels."""
    process: Process = "vp"
    inpainting: bool = False
    """Whether it is told of the init image: see `SeesInit`."""
    refusal: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict, hash=False)
    """How many weights each part has, by its name in `Components.modules`; empty where the family does not say."""
    label: str = ""
    """What such a model is called; unset, as its family is."""
    files: Mapping[str, Path] = field(default_factory=dict, hash=False)
    """Files and folders besides the checkpoint's own that it is drawn with, by the part that each gives."""


@dataclass(frozen=True)
class SamplingOptions:
    """What a request wants of a model's noise levels. A family ignores what makes no sense for it."""

    quantize: bool = False
    """There are no timesteps between the trained ones."""
    downcast_alphas: bool = False
    """The levels are rounded as half precision does it."""
    zero_terminal_snr: bool = False
    """The noisiest level has no signal at all."""


@dataclass(frozen=True)
class TextOptions:
    """How texts are read, and for what. A family ignores what makes no sense for it."""

    width: int
    height: int
    """Of the image, in pixels."""
    negative: bool = False
    """Whether they are negative prompts."""
    clip_skip: int = 1
    emphasis: str = "Original"
    """A1111's way to weigh words: Original, No norm, Ignore, or None."""
    old_emphasis: bool = False
    """Words are weighed as A1111 did at first: by tokens of brackets, in a single chunk."""
    comma_backtrack: int = 20
    """So many tokens after a comma move to the next chunk with what follows it, rather than be parted."""
    crop_top: int = 0
    crop_left: int = 0
    """How much a model that knows about cropping is to think was cut off the image, in pixels."""
    aesthetic_score: float = 6.0
    negative_aesthetic_score: float = 2.5
    """How good a picture is to be, for models that know: of the prompt, and of the negative one."""
    words: Mapping[str, tuple[torch.Tensor, ...]] = field(default_factory=dict, compare=False)
    """Learned words (embeddings): what each stands for, vectors [n, C] for each text encoder."""


@dataclass(frozen=True)
class Conditioning:
    """What guides the network: tensors by name, batch first, whose meaning is their family's.

    sdterm keeps them, takes rows out, and joins rows whose shapes are equal in one call. sequences: the names of those
    `[B, L, …]` whose length L differs from text to text. Where a request wants prompt and negative prompt equally long,
    the shorter one is lengthened by the conditioning of the empty text, or by its own last position.
    """

    tensors: Mapping[str, torch.Tensor]
    sequences: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]


class Components(Protocol):
    """A loaded model, as the engine uses it."""

    modules: dict[str, torch.nn.Module]
    """The parts by their field names (`text_encoder`, `unet`, `vae`), for optimizers."""
    device: torch.device
    dtype: torch.dtype
    latent_channels: int
    downscale: int
    latent_rgb: tuple[Sequence[Sequence[float]], Sequence[float]]
    """Factors [C, 3] and bias [3]: latents → RGB in 0..1, for previews."""

    def sampling(self, options: SamplingOptions) -> ModelSampling:
        """Its noise levels, made anew each time, since plugins are given them."""
        ...

    def encode(self, texts: Sequence[str], options: TextOptions) -> Conditioning:
        """Texts of one prompt → what guides the network, row i by text i. They are what a prompt says one after the
        other: `a [cat:dog:0.5]` is two texts. Network tags and AND are no part of them, weights in brackets are."""
        ...

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling
    ) -> torch.Tensor:
        """One network call: noisy latents `[B, C, h, w]`, their noise level `[B]` on the CPU, all equal → the clean
        latents as the network predicts them. sampling: the levels that the run is on."""
        ...

    def encode_image(self, pixels: torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
        """`[B, 3, H, W]`, -1..1 → latents. rng: for a draw from what the encoder holds possible; None: its mean."""
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """`[B, C, h, w]` → `[B, 3, H, W]`, -1..1. What half precision turns black is decoded again from float32, with
        the weights of the module named `vae` in float32."""
        ...


@runtime_checkable
class SeesLess(Components, Protocol):
    """A loaded model whose conditioning depends on some of the options of a text alone."""

    unseen_options: frozenset[str]
    """Fields of `TextOptions` that `encode` does not look at: texts that differ in these alone are encoded once."""


@runtime_checkable
class SeesInit(Components, Protocol):
    """A loaded model whose network may be told of the init image, as inpainting models are."""

    def of_init(self, pixels: torch.Tensor, mask: torch.Tensor, weight: float) -> Mapping[str, torch.Tensor]:
        """What takes the place of a `Conditioning`'s tensors, `[1, …]` each; nothing for a model that is told nothing.
        pixels: `[1, 3, H, W]`, -1..1; mask: `[1, 1, H, W]`, 1 where it is drawn anew; weight: how much of what is
        masked is hidden."""
        ...


@dataclass(frozen=True)
class TokenRules:
    """How a text encoder wants its chunks: start, end, padding and comma ids, and tokens per chunk without the two."""

    start: int
    end: int
    pad: int
    comma: int
    length: int = 75


@dataclass(frozen=True)
class LatentMap:
    """A function between latents and pixels. `load(reader, device)` → that function, of float32 tensors, whose pixels
    `[B, 3, H, W]` are -1..1; it may give pictures that are smaller than the model's.

    files: the names, without suffix, that its file may have in the folder of approximate VAEs, the best one first.
        Empty: it needs no file, and `load` is given None. Raise `PluginError` for a file that cannot be used.
    """

    load: Callable[[WeightsReader | None, torch.device], Callable[[torch.Tensor], torch.Tensor]]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approximation:
    """A quicker and rougher way between a family's latents and pixels than its models' own.

    label: A1111's name for it, by which it is asked for: `Approx NN`, `Approx cheap` or `TAESD`.
    encoder: unset, where it is asked for the model encodes.
    """

    label: str
    decoder: LatentMap
    encoder: LatentMap | None = None


@dataclass(frozen=True)
class ModelFamily:
    """A model architecture. `detect(reader)` → a match or None, from the header alone; `build(reader, device, dtype)`
    → components with the weights in place.

    tokens, tokenize: of families that read text in chunks, for counting tokens without a model and without torch.
        `tokenize(text)` → token ids without start, end and padding.
    """

    id: str
    label: str
    detect: Callable[[WeightsReader], ModelMatch | None]
    build: Callable[[WeightsReader, torch.device, torch.dtype], Components]
    tokens: TokenRules | None = None
    tokenize: Callable[[str], Sequence[int]] | None = None
    approximations: tuple[Approximation, ...] = ()


Task = Literal["txt2img", "img2img", "inpaint", "edit"]
"""What a pipeline draws from: a prompt alone, with a picture to change, with a mask, or with pictures to look at."""


class TokenCount(NamedTuple):
    """How a text encoder of a pipeline reads a prompt."""

    encoder: str
    """What it is called: `T5`."""
    tokens: int
    room: int
    """How many it reads; what is behind them is cut off."""
    cut: int | None = None
    """The character at which that begins, if it is known."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that runs its own loop: one of diffusers, or of that shape, a `components` mapping, a `scheduler` with
    `step`, and a call that takes `prompt`, `generator`, `num_inference_steps`, `height`, `width`, `output_type`. sdterm
    records the calls of its denoiser, so its jobs are paused, resumed and previewed like all others.

    detect: `detect(reader)` → a match or None, from headers and configurations alone, as a `ModelFamily`'s; native
        families are asked first.
    load: `load(reader, device, dtype)` → the pipeline, offline, its modules in eval mode. sdterm moves it to the
        device if it is not there.
    options_of: `options_of(reader)` → what its call takes beyond what every request has, by the names of the call's
        arguments (`max_sequence_length`); requests set them in `pipeline_options`.
    tasks: `tasks(reader)` → what it can draw from; unset, a prompt alone.
    takes: `takes(reader)` → the request's fields that its call knows (`negative_prompt`, `cfg_scale`, `clip_skip` …),
        each with the pipeline's own value, None where it has none; requests with others are refused. Unset:
        `negative_prompt`, `steps`, `width` and `height`.
    count: `count(reader, text)` → how many tokens each of its text encoders makes of a prompt, the one that reads most
        first; in a process without torch. Unset: nobody knows.
    samplers: `samplers(reader)` → what it can be stepped with, its own first, each with the schedules that it knows:
        names of diffusers' schedulers, without that word. Unset: its own alone, which has no name.
    """

    id: str
    label: str
    detect: Callable[[CheckpointReader], ModelMatch | None]
    load: Callable[[CheckpointReader, torch.device, torch.dtype], Any]
    options_of: Callable[[CheckpointReader], tuple[Option, ...]] | None = None
    tasks: Callable[[CheckpointReader], frozenset[Task]] | None = None
    takes: Callable[[CheckpointReader], Mapping[str, OptionValue | None]] | None = None
    samplers: Callable[[CheckpointReader], Mapping[str, tuple[str, ...]]] | None = None
    count: Callable[[CheckpointReader, str], Sequence[TokenCount]] | None = None


Start = Literal["noise", "image", "pass", "given"]
"""What a pass begins with: noise, an init image, the pass before it; `given`: its picture, and it is not drawn."""


@dataclass(frozen=True)
class ModelFacts:
    """A model that is about to be loaded, as memory optimizers are told of it."""

    family: str
    """The id of its family: `sd1`, `sd2`, `sdxl` …"""
    dtype: torch.dtype
    """Of its weights."""
    parts: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Bytes of each part's weights, by its name in `Components.modules`; empty where its family does not say."""


@dataclass(frozen=True)
class MemoryOptimizer:
    """A way to run a model in less memory or time.

    group: at most one optimizer of a group is on at a time (`attention`); the group's first `supports`-ed one with
        `default` is on unless another is asked for. `effect`: `exact` (latents within 1e-4), `close` (pixels within
        2/255), `visible`. `undo` puts things back cheaply; without it the model is built again. `apply` is given every
        declared option by keyword; the same optimizer with other options is undone and applied again.
    offloads: it keeps weights in the computer's memory and brings them to the device when they are used. The model is
        then read into that memory: `apply` finds all weights on the CPU, and `undo` leaves them there. It is applied
        after the others.
    in_pass: `in_pass(options, start)` → the options for a pass that begins with `noise`, an `image`, or the `pass`
        before it; unset, all passes have the same. It needs an `undo`.
    before_call: `before_call(components, call)`, before the pass's call of that number, from 0. For one that keeps
        something from call to call.
    span: `span(options)` → how many calls belong together. What it keeps is then from the calls since the last multiple
        of it, or nothing, and a pass that goes on from a tape does so from there.
    """

    id: str
    label: str
    group: str
    supports: Callable[[torch.device, ModelFacts], tuple[bool, str]]
    """`supports(device, model)` → (whether it can be used, the reason if not). An empty reason: it is not meant for
    such models, and nobody misses it there."""
    apply: Callable[..., None]
    """`apply(components, **options)`."""
    undo: Callable[[Components], None] | None = None
    effect: Literal["exact", "close", "visible"] = "exact"
    is_settled: Callable[[Components], bool] | None = None
    """Whether what it does to the model in the background is done; whoever measures it waits for that."""
    default: bool = False
    decodes_only: bool = False
    """Whether it changes only how latents are decoded: a stopped job then keeps its samples when it is turned on."""
    rung: Rung | None = None
    """The ladder's step that this is: a job that runs out of memory turns it on there."""
    offloads: bool = False
    in_pass: Callable[[Mapping[str, OptionValue], Start], Mapping[str, OptionValue]] | None = None
    before_call: Callable[[Components, int], None] | None = None
    span: Callable[[Mapping[str, OptionValue]], int] | None = None
    options: tuple[Option, ...] = ()


# --- networks ---------------------------------------------------------------------------------------------------------


class Origin(NamedTuple):
    """Where a tensor of a loaded model comes from: a key of the checkpoint, and how its tensor becomes the model's."""

    key: str
    shaped: Callable[[torch.Tensor], torch.Tensor] | None = None
    """Unset: it is taken as it is."""


@dataclass(frozen=True)
class Layer:
    """A layer of a loaded model that networks can change. `origins`: of its `weight` and, if it has one, its `bias`:
    they are read again when a network is taken off."""

    module: torch.nn.Module
    part: Literal["text", "unet"]
    origins: Mapping[str, Origin]
    original: str = ""
    """Its name in the checkpoint: `model.diffusion_model.middle_block.1.proj_in`."""


@runtime_checkable
class Adaptable(Components, Protocol):
    """A loaded model that networks can change: `Components` with these. Where a model has them not, prompts that call
    networks are drawn without."""

    layers: Mapping[str, Layer]
    """By their names in `modules`: `unet.mid_block.attentions.0.proj_in`."""
    text_widths: tuple[int, ...]
    """How many numbers a token is for each of its text encoders: an embedding of other widths is another model's."""


@dataclass(frozen=True)
class Strength:
    """How strongly a network acts, from its prompt tag."""

    text: float = 1.0
    """On text encoders."""
    unet: float = 1.0
    rank: int | None = None
    """`dyn`: only so many of a low-rank network's first ranks act."""

    def on(self, layer: Layer) -> float:
        return self.text if layer.part == "text" else self.unet


class Delta(Protocol):
    """What a network adds to a layer: `delta(weight, multiplier, rank)` → what is added to the weight and, or None, to
    the bias. Raises RuntimeError where shapes do not fit: the layer is then left alone."""

    def __call__(
        self, weight: torch.Tensor, multiplier: float, rank: int | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]: ...


@dataclass(frozen=True)
class LoadedNetwork:
    """What a network file does to a model.

    deltas: layer → what is added to it. inputs: layer → `change(x, multiplier)` → what it reads in place of x. Layers
    go by their names in `Adaptable.layers`. words: a word of the prompt → its vectors [n, C] for each text encoder, in
    their order. unused: how many layers of the file the model does not have.
    """

    deltas: Mapping[str, Delta] = field(default_factory=dict)
    inputs: Mapping[str, Callable[[torch.Tensor, float], torch.Tensor]] = field(default_factory=dict)
    words: Mapping[str, tuple[torch.Tensor, ...]] = field(default_factory=dict)
    unused: int = 0


@dataclass(frozen=True)
class NetworkFormat:
    """A format of files that change a loaded model: LoRA and its kin, hypernetworks, embeddings.

    role: which files it may read: those that `<lora:NAME:1>` calls, those of `<hypernet:NAME:1>`, or embeddings, which
        prompts call by their name alone.
    matches: `matches(reader)`, from the header alone. The first format of the role that says yes reads the file.
    load: `load(reader, model)` → a LoadedNetwork, its tensors on the model's device. Raise `PluginError` for a file
        that cannot be used.
    """

    id: str
    label: str
    role: Literal["lora", "hypernet", "embedding"]
    matches: Callable[[WeightsReader], bool]
    load: Callable[[WeightsReader, Adaptable], LoadedNetwork]


# --- upscalers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedUpscaler:
    """An upscaler's network in memory.

    scale: how many times as long it makes each side. apply: `apply(pixels)`: `[1, 3, h, w]`, RGB from 0 to 1 →
    `[1, 3, h * scale, w * scale]`. It is called for one tile of a picture after the other.
    """

    scale: int
    apply: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Upscaler:
    """Makes pictures larger, by a rule of its own or by the network in a model file. It has either `resize`, or
    `matches` and `build`.

    resize: `resize(image, scale)`: uint8 [H, W, 3] → uint8 [H', W', 3], each side about `scale` times as long. Requests
        name it by its id or label.
    matches: `matches(reader)`: whether it reads that file, from the header alone. Requests name the file; the first
        upscaler that says yes reads it.
    build: `build(reader, device, dtype)` → a LoadedUpscaler, which is kept while it is in use. Raise `PluginError` for
        a file that cannot be used.
    """

    id: str
    label: str
    resize: Callable[[NDArray[Any], float], NDArray[Any]] | None = None
    matches: Callable[[WeightsReader], bool] | None = None
    build: Callable[[WeightsReader, torch.device, torch.dtype], LoadedUpscaler] | None = None


# --- pictures in words ------------------------------------------------------------------------------------------------


Gives = Literal["caption", "tags"]


@dataclass(frozen=True)
class Interrogator:
    """Says what is on a picture.

    gives: a `caption`, as a sentence, or `tags`, separated by commas.
    matches: `matches(folder)`: whether it can work with the model in that folder, from its small files alone; unset, it
        needs no model.
    describe: `describe(image, folder, device, **options)`: uint8 [H, W, 3] → text. folder: of the model, None without
        one. What it loads it may keep for the next picture. Raise `PluginError` for a model that cannot be used.
    """

    id: str
    label: str
    describe: Callable[..., str]
    gives: Gives = "caption"
    matches: Callable[[Path], bool] | None = None
    options: tuple[Option, ...] = ()


# --- output -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Postprocessor:
    """Changes finished images that it is asked for. `apply(image, rng, **options)`: uint8 [H, W, 3] → uint8
    [H', W', 3]; `rng` is seeded by image seed and postprocessor. Applied by ascending `order`."""

    id: str
    label: str
    apply: Callable[..., NDArray[Any]]
    order: int = 100
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class OutputSaver:
    """A file format. `encode(image, infotext, **options)`: uint8 [H, W, 3] → bytes, the infotext stored where
    A1111 stores it in this format.

    frames: whether `encode` is given `frames=` too, uint8 [T, h, w, 3]: what the network made of the image in each of
        its calls, by the model's map from latents to colours, a pixel per latent cell. T is 0 for a grid.
    alpha: whether `encode` also takes uint8 [H, W, 4]; others are given such a picture without its transparency.
    texts: whether `encode` is given `texts=` too: more texts for the file, each by its PNG keyword. For other formats
        they are part of the infotext.
    """

    id: str
    label: str
    suffix: str
    encode: Callable[..., bytes]
    options: tuple[Option, ...] = ()
    frames: bool = False
    alpha: bool = False
    texts: bool = False


# --- observers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageFacts:
    """A finished image that is about to be encoded."""

    index: int
    """Which of the job's images, from 0."""
    images: int
    """How many the job has."""
    seed: int
    prompt: str
    """Its final prompt, styles and all."""
    negative_prompt: str
    width: int
    height: int
    model: str
    sampler: str
    scheduler: str
    steps: int
    cfg_scale: float


@dataclass(frozen=True)
class SavedImage:
    """An image or a grid that was saved."""

    path: Path
    infotext: str
    width: int
    height: int
    index: int | None = None
    """Which of the job's images, from 0; unset for the grid of all."""
    seed: int | None = None
    """Unset for a grid."""
    prompt: str = ""


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended in this process.

    state: `stopped` is a job that was cancelled or paused, or whose images could not be saved; it may go on later.
    """

    state: Literal["done", "failed", "stopped"]
    images: int
    """How many were finished since it last began."""
    saved: tuple[Path, ...]
    """Their files, and the grid's."""
    seconds: float
    prompt: str
    """As it was asked for."""
    message: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Observer:
    """Is told what happens, after it happened, and may add keys to infotexts. All functions are optional.

    They are called by the process that draws, between two images: a slow one delays the next. What they raise is a
    warning and costs the job nothing.

    on_image_saved: `on_image_saved(image)`, a SavedImage, once its file has its name.
    on_job_finished: `on_job_finished(outcome)`, a JobOutcome, just before the job's last event.
    infotext: `infotext(image)`, an ImageFacts → keys and values to add to its infotext. Keys that sdterm, A1111 or a
        plugin's option has are refused.
    """

    id: str
    label: str
    on_image_saved: Callable[[SavedImage], None] | None = None
    on_job_finished: Callable[[JobOutcome], None] | None = None
    infotext: Callable[[ImageFacts], Mapping[str, str]] | None = None


# --- the workstation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalePack:
    """Messages of the workstation in a language.

    language: its name, like `de_DE`, which the setting `language` chooses. Several packs of one language are joined.
    messages: English text → translation, `{name}` kept as it is; what is missing stays English. They are data: front
        ends are given them and run no code of the plugin.
    """

    id: str
    label: str
    language: str
    messages: Mapping[str, str]


# --- the hooks --------------------------------------------------------------------------------------------------------


@hookspec
def sdterm_prompt_transforms() -> list[PromptTransform]:  # type: ignore[empty-body]
    """Rewriters of prompts: comments, styles, wildcards. Applied in `order` before a prompt is parsed."""


@hookspec
def sdterm_samplers() -> list[Sampler]:  # type: ignore[empty-body]
    """Sampling algorithms: `sample(denoise, x, sigmas, *, noise, callback, **options)` → latents."""


@hookspec
def sdterm_schedulers() -> list[Scheduler]:  # type: ignore[empty-body]
    """Noise schedules: `sigmas(n, sampling, **options)` → float32 [n+1], falling to 0."""


@hookspec
def sdterm_denoise_hooks() -> list[DenoiseHook]:  # type: ignore[empty-body]
    """Changes to calls of the network: masks, regions, guidance of another kind."""


@hookspec
def sdterm_model_families() -> list[ModelFamily]:  # type: ignore[empty-body]
    """Architectures: recognise a checkpoint from its header, build the modules."""


@hookspec
def sdterm_pipelines() -> list[Pipeline]:  # type: ignore[empty-body]
    """Pipelines that run their own loop, as diffusers' do: recognise a checkpoint, load the pipeline."""


@hookspec
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:  # type: ignore[empty-body]
    """Attention backends, tiling, offload: run the same model in less memory or time."""


@hookspec
def sdterm_networks() -> list[NetworkFormat]:  # type: ignore[empty-body]
    """Formats of LoRAs, hypernetworks, embeddings: what a file adds to a loaded model."""


@hookspec
def sdterm_upscalers() -> list[Upscaler]:  # type: ignore[empty-body]
    """Ways to make pictures larger: a rule, or the networks of a kind of model files."""


@hookspec
def sdterm_interrogators() -> list[Interrogator]:  # type: ignore[empty-body]
    """Ways to say in words what is on a picture: captions, tags."""


@hookspec
def sdterm_postprocessors() -> list[Postprocessor]:  # type: ignore[empty-body]
    """Changes to finished images: sharpening, grain. Pixels → pixels, where a request names them."""


@hookspec
def sdterm_output_savers() -> list[OutputSaver]:  # type: ignore[empty-body]
    """File formats: pixels and infotext → bytes. sdterm names and writes the file."""


@hookspec
def sdterm_locale_packs() -> list[LocalePack]:  # type: ignore[empty-body]
    """Languages: messages of the workstation, English text → translation."""


@hookspec
def sdterm_observers() -> list[Observer]:  # type: ignore[empty-body]
    """Told of saved images and finished jobs; more keys for infotexts."""
