"""The plugin contract, version 1. Plugin authors read this file first.

A plugin is a module with functions marked `@hookimpl` and named like the hooks at the end of this file. Each function
returns a list of the frozen descriptors defined here. sdterm's own samplers, savers and model families are plugins,
too. Descriptors are listed in the order of their plugins; `@hookimpl(tryfirst=True)` moves those of a function before
all others, `trylast=True` after them.

Conventions: latents are `[B, C, H/f, W/f]` float32 unless said (C channels, f pixels per cell, from the model family);
images `[H, W, 3]` uint8 sRGB; sizes in pixels, memory in bytes, time in seconds. A sigma is the standard deviation of
the noise in a latent whose signal is unscaled (k-diffusion's convention).

Randomness may come only from the `noise` and `rng` arguments: image k of a batch must equal the single image with
that seed, and a stopped job must continue bit for bit.

Texts for users, such as the help of an option or the sentence of a `PluginError`, may be plain strings. With
`sdterm.messages.message("{name} is too large.", name=…)` they can be translated.
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
    """The plugin cannot do what the user asked for. The message is a sentence for the user and says why."""

    code = "plugin_failed"


@dataclass(frozen=True)
class Option:
    """A value that the user can set for each request. It has the type of its default; numbers may have bounds."""

    name: str
    default: OptionValue
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    infotext: str = ""
    """The key in the infotext, which has the option unless it has its default. Unset: the words of the name."""
    a1111: str = ""
    """The setting of A1111 with the same meaning, which requests over its HTTP API may use."""
    choices: tuple[str, ...] = ()
    """All allowed values, for a text that has only a few."""
    is_image: bool = False
    """Whether the option is an image, for denoise hooks and postprocessors. The default is "", which means no image.
    The request has the SHA-256 of an input; the function receives a read-only uint8 array `[H, W, 3]`, or `[H, W, 4]`
    with transparency, or None without an image."""
    unset: bool = False
    """For pipelines: pass the option only if a request sets it. The default then only determines its type."""


# --- prompt transforms ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PromptText:
    """The two texts of one image, before anything is parsed. `styles` are names still to be applied."""

    positive: str
    negative: str = ""
    styles: tuple[str, ...] = ()
    first_seed: bool = False
    """Generate the image with the job's first seed instead of its own, so that only the text differs."""


@dataclass(frozen=True)
class PromptContext:
    """What a transform can use besides the text."""

    styles: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name → (prompt, negative prompt), from the user's styles files."""
    wildcards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name → lines, from the text files in `wildcards/` of the data folder: `animals/birds` is `animals/birds.txt`
    there. A file is read on first use."""


@dataclass(frozen=True)
class PromptTransform:
    """Rewrites prompts. `transform(prompt, rng, context, **options)` returns one text, or several to spread over
    images: `prompt` a PromptText, `rng` a random.Random, `context` a PromptContext.

    Transforms are applied by ascending `order`; `rng` is seeded with image seed and transform. Raise `PluginError`
    to refuse a prompt.

    default: whether the transform is applied to every prompt, or only if a request names it. draws_all: whether the
        job grows until each text has an image.
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
    """The result of a denoiser call. `x0`: the guided prediction of the clean latents, with the shape of x.
    `uncond`: the unguided prediction, only for samplers that declare `needs_uncond`."""

    x0: torch.Tensor
    uncond: torch.Tensor | None


class Denoise(Protocol):
    """`denoise(x, sigma)`: x `[B, C, h, w]`, sigma `[B]` on the CPU, all equal. It raises an exception to cancel a job:
    do not catch it."""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> Denoised: ...


class Noise(Protocol):
    """`noise(sigma, sigma_next)`: new unit noise with the shape of x, for each image from its own generator."""

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor: ...


class StepCallback(Protocol):
    """`callback(i, denoised)`: call it once per step, after the first denoiser call of the step. i counts from 0."""

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
    """The last part of a schedule, for a run that starts from an image. `level`: the sigma of the noise that is added
    to the image; `sigmas`: the noise levels to sample, float32 [n+1] on the CPU, as `sample` receives them."""

    level: torch.Tensor
    sigmas: torch.Tensor


@dataclass(frozen=True)
class Sampler:
    """A sampling algorithm.

    sample: `sample(denoise, x, sigmas, *, noise, callback, **options) -> x`, a loop like k-diffusion's, from noisy
        x `[B, C, h, w]` along `sigmas` (float32 [n+1] on the CPU, so that reading one never waits for a GPU) to clean
        latents; see `Denoise`, `Noise` and `StepCallback`. Every declared option is passed by keyword.
    grid: where the noise levels come from. `schedule`: from the chosen scheduler; `own`: from
        `own_sigmas(steps, sampling)`, and the scheduler is ignored.
    own_tail: the noise levels of such a sampler for a run that starts from an image:
        `own_tail(steps, kept, sampling, schedule)` → a `Tail` with the last part of `steps` steps: `kept` levels
        between the noisiest one and the clean end; `schedule` has the scheduler's levels. Unset: the last kept + 1
        steps of the sampler's own levels.
    start: how pure noise is scaled at the start. `sigma`: by the first sigma (k-diffusion); `unit`: not at all (the
        sampler works on variance-preserving latents).
    sampling: returns the noise levels that the sampler works with, made from those of the model. The schedule and the
        timesteps of the network then use them, and `sample` receives them as the keyword `sampling`. If they have a
        `predicts_noise` that is true, the output of a network that predicts velocities is read as noise, as in
        A1111's LCM.
    noise: what `noise` returns. `sequential`: the next numbers of each image; `brownian`: the increment of each image's
        Brownian motion from sigma to sigma_next, for SDE solvers.
    models: the kinds of model that the sampler can integrate. A solver of dx/dsigma = (x - x0) / sigma can do both; one
        that adds noise, or treats signal and noise separately, is right for only one of them.
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
    """Always skip the last sigma but one, whatever the request says."""
    needs_uncond: bool = False
    batch_coupled: bool = False
    """True if an image depends on the others in its batch: images are then generated one at a time."""
    models: tuple[Process, ...] = ("vp",)
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Scheduler:
    """A noise schedule. `sigmas(n, sampling, **options)` → float32 [n+1] on the CPU: n descending sigmas, then 0.

    models: the kinds of model that the schedule supports. A schedule that takes its levels from `sampling` supports
        both.
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
    """The number of the call in its pass, from 0; in `finish` and `overlay`, after the last call, the planned number of
    calls."""
    calls: int
    """How many calls are planned; some samplers make more or fewer."""
    level: float
    """The noise level as A1111 counts it: the sigma, or the timestep for samplers that start from `unit` noise. After
    the last call 0."""
    start: Literal["sigma", "unit"]
    """Whether the sampler's own latents are x, or x / sqrt(1 + sigma^2), as `Sampler.start` says."""
    prompts: tuple[tuple[Conditioning, ...], ...]
    """For each image what guides this call: one `Conditioning` for each part of its prompt (`a AND b` has two)."""
    init: torch.Tensor | None
    """`[B, C, h, w]`: the clean latents that the pass started from; None if it started from noise."""
    mask: torch.Tensor | None
    """`[B, 1, h, w]`: how much of each cell may change, 0 … 1; None without a mask."""
    rng: Callable[[int], torch.Generator]
    """`rng(i)`: a generator for image i of the batch, on the CPU, seeded with image seed, hook and call."""


@dataclass(frozen=True)
class DenoiseHook:
    """Changes calls of the network, in every pass or if a request asks for it. Its functions are pure: the result
    depends only on the arguments.

    denoise: `denoise(network, x, sigma, call, **options)` → a `Denoised`. `network(x, sigma)` is the guided network
        with the hooks of higher `order` around it, x and sigma are as in `Denoise`, `call` is a `NetworkCall`.
    finish: `finish(latents, call, **options)` → latents, after the last step.
    overlay: `overlay(latents, call, **options)` → `[B, h, w]`, 0 … 1: how much of the result shows over the init
        image, instead of the mask.
    needs: `mask`: the hook is used only in passes with a mask.
    group, default: only one hook of a group is used: the one that the request names, otherwise the first one with
        `default`. Hooks without a group and with `default` are always used.
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
        """The content of a PyTorch file, nested as in the file: texts and numbers, and an object of sdterm for each
        tensor. For a diffusers folder the content of `model_index.json`."""
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
        """The separate VAE to use instead of the checkpoint's own, if there is one."""
        ...

    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def read(self, keys: Sequence[str], device: torch.device, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        """Read the tensors of `keys`. dtype: None keeps the type in the file."""
        ...


class CheckpointReader(WeightsReader, Protocol):
    """A checkpoint, and the user's other model files."""

    @property
    def parts(self) -> Mapping[str, tuple[Path, ...]]:
        """For a diffusers folder: component → its weight files, which is empty if they are missing. For a single file
        the mapping is empty."""
        ...

    def others(self, kind: str) -> Sequence[CheckpointReader]:
        """The user's model files of a kind (`checkpoint`, `vae`, `text_encoder`), in order of preference."""
        ...

    def has_read(self, numbers: int) -> None:
        """Report that this many numbers were read in another way than with `read`, for the progress display."""
        ...


@dataclass(frozen=True)
class ModelMatch:
    """A family recognises this checkpoint. A `refusal` is a sentence that says why the family cannot use it; the user
    reads it if no other family can use the checkpoint either."""

    native_size: int = 512
    downscale: int = 8
    """Pixels per latent cell."""
    size_step: int = 8
    """Width and height must be multiples of this, in pixels."""
    process: Process = "vp"
    inpainting: bool = False
    """Whether the network also receives the init image: see `SeesInit`."""
    refusal: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The number of weights of each component, by its name in `Components.modules`; empty if unknown."""
    label: str = ""
    """The name of this type of model. Unset: the label of the family."""
    files: Mapping[str, Path] = field(default_factory=dict, hash=False)
    """Files and folders besides the checkpoint that the model needs: component → path."""


@dataclass(frozen=True)
class SamplingOptions:
    """What a request asks of a model's noise levels. A family ignores what does not apply to it."""

    quantize: bool = False
    """Use only the timesteps that the model was trained on."""
    downcast_alphas: bool = False
    """Round the noise levels to half precision."""
    zero_terminal_snr: bool = False
    """Give the noisiest level no signal at all."""


@dataclass(frozen=True)
class TextOptions:
    """How to encode texts. A family ignores what does not apply to it."""

    width: int
    height: int
    """Of the image, in pixels."""
    negative: bool = False
    """Whether the texts are negative prompts."""
    clip_skip: int = 1
    emphasis: str = "Original"
    """How weights in the prompt work, by A1111's names: Original, No norm, Ignore or None."""
    old_emphasis: bool = False
    """Weigh words as the first A1111 did: by tokens of brackets, in a single chunk."""
    comma_backtrack: int = 20
    """If a chunk is full, move at most this many tokens after its last comma to the next chunk."""
    crop_top: int = 0
    crop_left: int = 0
    """The cropping, in pixels, that models such as SDXL are conditioned on."""
    aesthetic_score: float = 6.0
    negative_aesthetic_score: float = 2.5
    """The aesthetic scores that models such as the SDXL refiner are conditioned on."""
    words: Mapping[str, tuple[torch.Tensor, ...]] = field(default_factory=dict, compare=False)
    """Embeddings: word → its vectors [n, C] for each text encoder."""


@dataclass(frozen=True)
class Conditioning:
    """What guides the network: tensors by name, batch first. Their meaning is up to the family.

    sdterm stores them, selects rows, and joins rows of equal shapes in one call. sequences: the names of the tensors
    `[B, L, …]` whose length L depends on the text. If a request asks for prompt and negative prompt of equal length,
    the shorter one is extended with the conditioning of the empty text, or with its own last position.
    """

    tensors: Mapping[str, torch.Tensor]
    sequences: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]


class Components(Protocol):
    """A loaded model."""

    modules: dict[str, torch.nn.Module]
    """The components by name (`text_encoder`, `unet`, `vae`), for optimizers."""
    device: torch.device
    dtype: torch.dtype
    latent_channels: int
    downscale: int
    latent_rgb: tuple[Sequence[Sequence[float]], Sequence[float]]
    """Factors [C, 3] and bias [3]: latents → RGB in 0..1, for previews."""

    def sampling(self, options: SamplingOptions) -> ModelSampling:
        """Return the noise levels, a new object at each call, since plugins receive it."""
        ...

    def encode(self, texts: Sequence[str], options: TextOptions) -> Conditioning:
        """Encode the texts of one prompt; row i is for text i. Prompt editing makes several texts of a prompt:
        `a [cat:dog:0.5]` has two. Network tags and AND are already removed, weights in brackets are not."""
        ...

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling
    ) -> torch.Tensor:
        """Call the network once: noisy latents `[B, C, h, w]` and their noise level `[B]` on the CPU, all equal → the
        predicted clean latents. sampling: the noise levels of the run."""
        ...

    def encode_image(self, pixels: torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
        """`[B, 3, H, W]`, -1..1 → latents. rng: sample from the encoder's distribution with it; None: use the mean."""
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """`[B, C, h, w]` → `[B, 3, H, W]`, -1..1. If the result is black in half precision, sdterm decodes again from
        float32 latents with the module named `vae` in float32."""
        ...


@runtime_checkable
class SeesLess(Components, Protocol):
    """A loaded model whose conditioning does not depend on all text options."""

    unseen_options: frozenset[str]
    """Fields of `TextOptions` that `encode` ignores: texts that differ only in these are encoded once."""


@runtime_checkable
class SeesInit(Components, Protocol):
    """A loaded model whose network may also receive the init image, such as an inpainting model."""

    def of_init(self, pixels: torch.Tensor, mask: torch.Tensor, weight: float) -> Mapping[str, torch.Tensor]:
        """Return tensors `[1, …]` that replace those of a `Conditioning`; empty for a model that does not use the init
        image. pixels: `[1, 3, H, W]`, -1..1; mask: `[1, 1, H, W]`, 1 where the image may change; weight: how much of
        the masked area is hidden."""
        ...


@dataclass(frozen=True)
class TokenRules:
    """The chunks of a text encoder: token ids, and the tokens per chunk without start and end."""

    start: int
    end: int
    pad: int
    comma: int
    length: int = 75


@dataclass(frozen=True)
class LatentMap:
    """A function between latents and pixels. `load(reader, device)` → this function for float32 tensors, with pixels
    `[B, 3, H, W]` in -1..1; its images may be smaller than the model's.

    files: possible names of its file, without suffix, in the folder of approximate VAEs, the best one first. Empty: it
        needs no file, and `load` receives None. Raise `PluginError` for a file that cannot be used.
    """

    load: Callable[[WeightsReader | None, torch.device], Callable[[torch.Tensor], torch.Tensor]]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approximation:
    """A faster and rougher replacement for the VAE of a family's models.

    label: the name in A1111 and in requests: `Approx NN`, `Approx cheap` or `TAESD`.
    encoder: unset, the model's VAE encodes.
    """

    label: str
    decoder: LatentMap
    encoder: LatentMap | None = None


@dataclass(frozen=True)
class ModelFamily:
    """A model architecture. `detect(reader)` → a match or None, from the header only; `build(reader, device, dtype)`
    → components with their weights.

    tokens, tokenize: for families that read text in chunks, to count tokens without a model and without torch.
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
"""What a pipeline starts from: only a prompt, an image to change, an image and a mask, or images for reference."""


class TokenCount(NamedTuple):
    """How a text encoder of a pipeline reads a prompt."""

    encoder: str
    """The name of the encoder, such as `T5`."""
    tokens: int
    room: int
    """How many tokens it can read; the rest is cut off."""
    cut: int | None = None
    """The position of the first character that is cut off, if known."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline with its own sampling loop, from diffusers or of the same shape: a `components` mapping, a `scheduler`
    with `step`, and a call that takes `prompt`, `generator`, `num_inference_steps`, `height`, `width`, `output_type`.
    sdterm records the calls of its denoiser, so its jobs can be paused, resumed and previewed like all others.

    detect: `detect(reader)` → a match or None, from headers and configurations only, as for a `ModelFamily`; native
        families are tried first.
    load: `load(reader, device, dtype)` → the pipeline, loaded offline, its modules in eval mode. sdterm moves it to the
        device if needed.
    options_of: `options_of(reader)` → the arguments of the call that are not in every request, by their names
        (`max_sequence_length`); requests set them in `pipeline_options`.
    tasks: `tasks(reader)` → what the pipeline can start from. Unset: only a prompt.
    takes: `takes(reader)` → the request fields that the call supports (`negative_prompt`, `cfg_scale`, `clip_skip` …),
        each with the default of the pipeline, or None; requests with other fields are refused. Unset:
        `negative_prompt`, `steps`, `width` and `height`.
    count: `count(reader, text)` → the number of tokens of a prompt for each text encoder, the one with the most room
        first; it runs in a process without torch. Unset: unknown.
    samplers: `samplers(reader)` → its samplers, the default first, each with its schedule types: names of schedulers in
        diffusers, without the word Scheduler. Unset: only the pipeline's own, which has no name.
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
"""What a pass starts from: noise, an init image, the previous pass; `given`: its image exists, and it is skipped."""


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model that is about to be loaded, for memory optimizers."""

    family: str
    """The id of its family: `sd1`, `sd2`, `sdxl` …"""
    dtype: torch.dtype
    """Of its weights."""
    parts: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Bytes of the weights of each component, by its name in `Components.modules`; empty if unknown."""


@dataclass(frozen=True)
class MemoryOptimizer:
    """A way to run a model in less memory or time.

    group: only one optimizer of a group is on at a time (`attention`): the one that the request names, otherwise the
        first supported one with `default`. `effect`: `exact` (latents within 1e-4), `close` (pixels within 2/255),
        `visible`. `undo` restores the model quickly; without it the model is built again. `apply` receives every
        declared option by keyword; to change options, the optimizer is undone and applied again.
    offloads: the optimizer keeps weights in RAM and moves them to the device when they are used. The model is then
        loaded into RAM: `apply` finds all weights on the CPU, and `undo` keeps them there. It is applied after the
        other optimizers.
    in_pass: `in_pass(options, start)` → the options for a pass that starts from `noise`, an `image`, or the previous
        `pass`. Unset: all passes have the same options. It requires an `undo`.
    before_call: `before_call(components, call)` runs before each call of a pass; calls count from 0. For optimizers
        that keep state between calls.
    span: `span(options)` → how many calls belong together. The state then comes only from the calls since the last
        multiple of it, and a pass that continues from a tape starts at such a multiple.
    """

    id: str
    label: str
    group: str
    supports: Callable[[torch.device, ModelFacts], tuple[bool, str]]
    """`supports(device, model)` → (whether it can be used, the reason if not). An empty reason: the optimizer is not
    meant for such models, and no warning is shown."""
    apply: Callable[..., None]
    """`apply(components, **options)`."""
    undo: Callable[[Components], None] | None = None
    effect: Literal["exact", "close", "visible"] = "exact"
    is_settled: Callable[[Components], bool] | None = None
    """Whether its work in the background is finished; `sdterm tune` waits for that before it measures."""
    default: bool = False
    decodes_only: bool = False
    """Whether it changes only the decoding: a stopped job then keeps its samples when the optimizer is turned on."""
    rung: Rung | None = None
    """The step of the ladder at which a job that runs out of memory turns this optimizer on."""
    offloads: bool = False
    in_pass: Callable[[Mapping[str, OptionValue], Start], Mapping[str, OptionValue]] | None = None
    before_call: Callable[[Components, int], None] | None = None
    span: Callable[[Mapping[str, OptionValue]], int] | None = None
    options: tuple[Option, ...] = ()


# --- networks ---------------------------------------------------------------------------------------------------------


class Origin(NamedTuple):
    """Where a tensor of a loaded model comes from: a key of the checkpoint, and how that tensor is transformed."""

    key: str
    shaped: Callable[[torch.Tensor], torch.Tensor] | None = None
    """Unset: the tensor is used unchanged."""


@dataclass(frozen=True)
class Layer:
    """A layer of a loaded model that networks can change. `origins`: those of its `weight` and, if it has one, its
    `bias`, which are read again when a network is removed."""

    module: torch.nn.Module
    part: Literal["text", "unet"]
    origins: Mapping[str, Origin]
    original: str = ""
    """Its name in the checkpoint: `model.diffusion_model.middle_block.1.proj_in`."""


@runtime_checkable
class Adaptable(Components, Protocol):
    """A loaded model that networks can change. For models without these attributes, network tags are ignored."""

    layers: Mapping[str, Layer]
    """By their names in `modules`: `unet.mid_block.attentions.0.proj_in`."""
    text_widths: tuple[int, ...]
    """The width of a token in each text encoder. An embedding of other widths is made for another model."""


@dataclass(frozen=True)
class Strength:
    """How strongly a network acts, from its prompt tag."""

    text: float = 1.0
    """On text encoders."""
    unet: float = 1.0
    rank: int | None = None
    """`dyn`: how many of the first ranks of a low-rank network are used."""

    def on(self, layer: Layer) -> float:
        return self.text if layer.part == "text" else self.unet


class Delta(Protocol):
    """What a network adds to a layer: `delta(weight, multiplier, rank)` → the change of the weight, and that of the
    bias or None. Raise RuntimeError if the shapes do not fit: the layer is then not changed."""

    def __call__(
        self, weight: torch.Tensor, multiplier: float, rank: int | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]: ...


@dataclass(frozen=True)
class LoadedNetwork:
    """What a network file does to a model.

    deltas: layer → what is added to it. inputs: layer → `change(x, multiplier)`, which returns the input to use instead
    of x. Layers have their names in `Adaptable.layers`. words: a word of the prompt → its vectors [n, C] for each text
    encoder, in order. unused: how many layers of the file the model does not have.
    """

    deltas: Mapping[str, Delta] = field(default_factory=dict)
    inputs: Mapping[str, Callable[[torch.Tensor, float], torch.Tensor]] = field(default_factory=dict)
    words: Mapping[str, tuple[torch.Tensor, ...]] = field(default_factory=dict)
    unused: int = 0


@dataclass(frozen=True)
class NetworkFormat:
    """A file format of networks that change a loaded model: LoRA and similar, hypernetworks, embeddings.

    role: which files the format reads: those of `<lora:NAME:1>`, those of `<hypernet:NAME:1>`, or embeddings, which
        prompts use by their bare names.
    matches: `matches(reader)`, from the header only. The first format of the role that returns True reads the file.
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

    scale: the factor for each side. apply: `apply(pixels)`: `[1, 3, h, w]`, RGB from 0 to 1 →
    `[1, 3, h * scale, w * scale]`. It is called for each tile of an image.
    """

    scale: int
    apply: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Upscaler:
    """Upscales images, either by itself or with the network in a model file. It has either `resize`, or both `matches`
    and `build`.

    resize: `resize(image, scale)`: uint8 [H, W, 3] → uint8 [H', W', 3], each side about `scale` times as long. Requests
        name the upscaler by its id or label.
    matches: `matches(reader)`: whether it can read this file, from the header only. Requests name the file; the first
        upscaler that returns True reads it.
    build: `build(reader, device, dtype)` → a LoadedUpscaler, which sdterm keeps while it is in use. Raise `PluginError`
        for a file that cannot be used.
    """

    id: str
    label: str
    resize: Callable[[NDArray[Any], float], NDArray[Any]] | None = None
    matches: Callable[[WeightsReader], bool] | None = None
    build: Callable[[WeightsReader, torch.device, torch.dtype], LoadedUpscaler] | None = None


# --- interrogators ----------------------------------------------------------------------------------------------------


Gives = Literal["caption", "tags"]


@dataclass(frozen=True)
class Interrogator:
    """Describes images.

    gives: a `caption`, as a sentence, or `tags`, separated by commas.
    matches: `matches(folder)`: whether it can use the model in this folder, from its small files only. Unset: it needs
        no model.
    describe: `describe(image, folder, device, **options)`: uint8 [H, W, 3] → text. folder: the model's, or None. It may
        keep what it loads for the next image. Raise `PluginError` for a model that cannot be used.
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
    """Changes finished images if a request names it. `apply(image, rng, **options)`: uint8 [H, W, 3] → uint8
    [H', W', 3]; `rng` is seeded with image seed and postprocessor. Postprocessors run by ascending `order`."""

    id: str
    label: str
    apply: Callable[..., NDArray[Any]]
    order: int = 100
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class OutputSaver:
    """A file format. `encode(image, infotext, **options)`: uint8 [H, W, 3] → bytes, with the infotext where A1111
    stores it in this format.

    frames: whether `encode` also receives `frames=`, uint8 [T, h, w, 3]: the predicted image of each network call, by
        the model's map from latents to colors, one pixel per latent cell. T is 0 for a grid.
    alpha: whether `encode` accepts uint8 [H, W, 4]; other savers receive the image without transparency.
    texts: whether `encode` also receives `texts=`: more texts for the file by their PNG keywords. For other savers they
        are part of the infotext.
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
    """The number of the image in the job, from 0."""
    images: int
    """The number of images in the job."""
    seed: int
    prompt: str
    """The final prompt, with styles."""
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
    """The number of the image in the job, from 0; unset for a grid."""
    seed: int | None = None
    """Unset for a grid."""
    prompt: str = ""


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended in this process.

    state: `stopped` means cancelled, paused, or that images could not be saved; the job may continue later.
    """

    state: Literal["done", "failed", "stopped"]
    images: int
    """How many images were finished since the job last started."""
    saved: tuple[Path, ...]
    """The files of the images and the grid."""
    seconds: float
    prompt: str
    """As in the request."""
    message: str = ""
    """Why the job failed."""


@dataclass(frozen=True)
class Observer:
    """Reacts to saved images and finished jobs, and can add keys to infotexts. All functions are optional.

    They run in the worker process between two images: a slow function delays the next image. An exception becomes a
    warning and does not affect the job.

    on_image_saved: `on_image_saved(image)` receives a SavedImage after its file was written.
    on_job_finished: `on_job_finished(outcome)` receives a JobOutcome just before the last event of the job.
    infotext: `infotext(image)` receives an ImageFacts and returns keys and values for its infotext. Keys of sdterm, of
        A1111 or of an option are refused.
    """

    id: str
    label: str
    on_image_saved: Callable[[SavedImage], None] | None = None
    on_job_finished: Callable[[JobOutcome], None] | None = None
    infotext: Callable[[ImageFacts], Mapping[str, str]] | None = None


# --- the workstation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalePack:
    """A translation of sdterm's texts.

    language: the name of the language, such as `de_DE`, for the setting `language`. Packs of one language are joined.
    messages: English text → translation; keep `{name}` unchanged. Missing texts stay English. Front ends receive the
        messages as data and run no code of the plugin.
    """

    id: str
    label: str
    language: str
    messages: Mapping[str, str]


# --- the hooks --------------------------------------------------------------------------------------------------------


@hookspec
def sdterm_prompt_transforms() -> list[PromptTransform]:  # type: ignore[empty-body]
    """Rewrite prompts: comments, styles, wildcards. They are applied by `order` before a prompt is parsed."""


@hookspec
def sdterm_samplers() -> list[Sampler]:  # type: ignore[empty-body]
    """Sampling algorithms: `sample(denoise, x, sigmas, *, noise, callback, **options)` → latents."""


@hookspec
def sdterm_schedulers() -> list[Scheduler]:  # type: ignore[empty-body]
    """Noise schedules: `sigmas(n, sampling, **options)` → float32 [n+1], descending to 0."""


@hookspec
def sdterm_denoise_hooks() -> list[DenoiseHook]:  # type: ignore[empty-body]
    """Change calls of the network: masks, regions, other kinds of guidance."""


@hookspec
def sdterm_model_families() -> list[ModelFamily]:  # type: ignore[empty-body]
    """Model architectures: recognise a checkpoint from its header, build its modules."""


@hookspec
def sdterm_pipelines() -> list[Pipeline]:  # type: ignore[empty-body]
    """Pipelines with their own sampling loop, such as those of diffusers: recognise a checkpoint, load the pipeline."""


@hookspec
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:  # type: ignore[empty-body]
    """Attention backends, tiling, offload: run the same model in less memory or time."""


@hookspec
def sdterm_networks() -> list[NetworkFormat]:  # type: ignore[empty-body]
    """Formats of LoRAs, hypernetworks, embeddings: what a file adds to a loaded model."""


@hookspec
def sdterm_upscalers() -> list[Upscaler]:  # type: ignore[empty-body]
    """Upscalers: algorithms, or the networks in a kind of model files."""


@hookspec
def sdterm_interrogators() -> list[Interrogator]:  # type: ignore[empty-body]
    """Describe images: captions, tags."""


@hookspec
def sdterm_postprocessors() -> list[Postprocessor]:  # type: ignore[empty-body]
    """Change finished images if a request names them: sharpening, grain."""


@hookspec
def sdterm_output_savers() -> list[OutputSaver]:  # type: ignore[empty-body]
    """File formats: pixels and infotext → bytes. sdterm names and writes the file."""


@hookspec
def sdterm_locale_packs() -> list[LocalePack]:  # type: ignore[empty-body]
    """Translations of sdterm's texts: English text → translation."""


@hookspec
def sdterm_observers() -> list[Observer]:  # type: ignore[empty-body]
    """React to saved images and finished jobs, and add keys to infotexts."""
