"""Sampling a batch: noise, prompts and network handed to the sampler, its calls recorded."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.planning.plan import ImagePlan
from sdterm.core.prompt.networks import extract
from sdterm.engine.brownian import brownian_noise
from sdterm.engine.denoiser import guided_denoiser
from sdterm.engine.isolation import no_random_numbers
from sdterm.engine.loading import Model
from sdterm.engine.model_sampling import DiscreteSampling
from sdterm.engine.noise import batch_noise
from sdterm.engine.preview import preview_jpeg
from sdterm.engine.recorder import MisuseError, NonFiniteError, TapeRecorder, kind_of
from sdterm.engine.run import Run
from sdterm.events import Event, Preview, Resumed, Step, Warning
from sdterm.hooks import Denoised, MemoryOptimizer, ModelFamily, ModelSampling, Noise, Sampler
from sdterm.request import GenerationRequest

PREVIEW_INTERVAL = 0.5  # seconds between two previews
_MOST_CALLS = 100  # times those planned: past this a sampler that looks for its own steps has lost its way


def noise_levels(request: GenerationRequest, sampler: Sampler, plugins: PluginSet, model: Model) -> ModelSampling:
    """The noise levels that a run is on: the model's, or what the sampler makes of them. Made anew each time, since
    plugins are given them."""
    alphas = model.components.alphas_cumprod
    sampling = DiscreteSampling(alphas.half() if request.downcast_alphas else alphas, request.quantize)
    if not sampler.sampling:
        return sampling
    with plugins.guard(sampler):
        return sampler.sampling(sampling)


def sample_batch(
    job: Run,
    model: Model,
    batch: Sequence[int],
    cancel: threading.Event,
    pause_at: int | None,
    progress: "Progress",
    emit: Callable[[Event], None],
) -> torch.Tensor:
    """The latents [B, C, h, w] of the images `batch`. Raises what the recorder raises; PluginError if the sampler
    fails or gives something else."""
    images: list[ImagePlan] = [job.plan.images[index] for index in batch]
    sampler, components, request = job.choices.sampler, model.components, job.request
    shape = (
        components.latent_channels,
        job.plan.height // components.downscale,
        job.plan.width // components.downscale,
    )
    start, noise = batch_noise(images, request, shape, components.downscale, components.device)
    if sampler.noise == "brownian":
        seeds = [image.seed for image in images]
        with job.plugins.guard(sampler):  # it may have given sigmas that span nothing
            noise = brownian_noise(seeds, request.noise_source, shape, components.device, job.sigmas)
    for index, latents in zip(batch, start, strict=True):
        job.tape.start(index, latents)
    levels = noise_levels(request, sampler, job.plugins, model)
    family = job.choices.family
    calls = request.steps * sampler.calls_per_step  # what A1111 plans a prompt's schedule by, whatever really comes
    with job.plugins.guard(family):
        prompts = [model.condition.prompt(extract(image.prompt)[0], request, calls) for image in images]
        negatives = [model.condition.negative(image.negative_prompt, request, calls) for image in images]
    network = guided_denoiser(
        components,
        levels,
        model.condition,
        prompts,
        negatives,
        request,
        needs_uncond=sampler.needs_uncond,
        counts_timesteps=sampler.start == "unit",
    )

    suspect = in_the_network(job, model)

    def guarded(x: torch.Tensor, sigma: torch.Tensor, call: int) -> Denoised:
        with job.plugins.guard(suspect), no_random_numbers(components.device):
            return network(x, sigma, call)

    recorder = TapeRecorder(
        guarded,
        job.tape,
        batch,
        start,
        cancel,
        lambda step, x0: progress.on_step(step, x0, model),
        progress.on_replayed,
        job.on_call,
        pause_at,
        _MOST_CALLS * (calls + 10),
    )
    try:
        latents = _sampled(job, recorder, start * _start_scale(job), noise, levels)
    except MisuseError as error:
        raise job.plugins.failure(sampler, error) from error
    except NonFiniteError as error:
        if error.was_given and job.plugins.is_foreign(sampler):  # ours only pass on what the model drives them to
            odd = ContractError(f"its latents are not numbers at network call {error.call + 1}")
            raise job.plugins.failure(sampler, odd) from error
        raise
    if not recorder.steps:
        what = "never called back: its steps cannot be shown, and it cannot be paused"
        said = f"The sampler {sampler.label} of {job.plugins.owner(sampler)} {what}."
        job.faults.tell(Warning(code="no_steps", message=said, source=job.plugins.owner(sampler)), emit)
    return latents


def _sampled(job: Run, recorder: TapeRecorder, x: torch.Tensor, noise: Noise, levels: ModelSampling) -> torch.Tensor:
    """What the sampler makes of x [B, C, h, w]. Raises what the recorder raises, or that the sampler failed."""
    sampler, kind = job.choices.sampler, (x.shape, x.dtype, x.device)
    try:
        with job.plugins.guard(sampler):
            latents = sampler.sample(
                recorder.denoise,
                x,
                job.sigmas.clone(),
                noise=noise,
                callback=recorder.callback,
                **({"sampling": levels} if sampler.sampling else {}),
                **job.plan.sampler_options,
            )
            if not isinstance(latents, torch.Tensor) or latents.shape != kind[0] or not torch.isfinite(latents).all():
                raise ContractError("it gave no finite latents of its input's shape")
            if (latents.shape, latents.dtype, latents.device) != kind:
                raise ContractError(
                    f"it gave latents in {kind_of(latents.dtype, latents.device)}, not {kind_of(*kind[1:])}"
                )
    finally:
        recorder.close()  # what ended the run, if it was not the sampler, is raised here in place of its error
    return latents


def in_the_network(job: Run, model: Model) -> ModelFamily | MemoryOptimizer:
    """Whose an error in the network is, as long as its own line does not say it: the family's, unless somebody else's
    optimizer changed that."""
    foreign = (each.of for each in reversed(model.optimizers) if job.plugins.is_foreign(each.of))
    return next(foreign, job.choices.family)


def paused_previews(job: Run, model: Model, batch: Sequence[int], step: int) -> Iterator[Preview]:
    """What each image of a batch looks like where it stands: who paused it may want to choose."""
    for index in batch:
        if row := job.tape.row(index, job.tape.recorded(index) - 1):
            yield Preview(index=index, step=step, data=preview_jpeg(row.result.x0, model.components.latent_rgb))


def _start_scale(job: Run) -> torch.Tensor | float:
    """What pure noise is multiplied by."""
    if job.choices.sampler.start == "unit":
        return 1.0
    if job.request.sgm_noise_multiplier:
        return torch.sqrt(1.0 + job.sigmas[0] ** 2.0)
    return job.sigmas[0]


class Progress:
    """Reports where a batch is: a step event each time, a preview now and then, and what came from the tape."""

    def __init__(
        self, job: Run, images: Sequence[int], batch: int, batches: int, previews: bool, emit: Callable[[Event], None]
    ) -> None:
        self._images, self._previews, self._emit = images, previews, emit
        self._place = {"batch": batch, "batches": batches, "steps": len(job.sigmas) - 1}
        self._shown = time.perf_counter()

    def on_step(self, step: int, x0: torch.Tensor, model: Model) -> None:
        """x0: of the batch's first image [C, h, w], on the CPU."""
        self._emit(Step(step=step, **self._place))
        if self._previews and time.perf_counter() - self._shown >= PREVIEW_INTERVAL:
            data = preview_jpeg(x0, model.components.latent_rgb)
            self._emit(Preview(index=self._images[0], step=step, data=data))
            self._shown = time.perf_counter()

    def on_replayed(self, calls: int, step: int) -> None:
        """The tape had so many network calls, and with them this step."""
        self._emit(Resumed(first=self._images[0], images=len(self._images), calls=calls, step=step, **self._place))
