"""Sampling a batch: noise, prompts and network handed to the sampler, its calls recorded."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.brownian import brownian_noise
from sdterm.engine.conditioning import reading
from sdterm.engine.denoiser import guided_denoiser
from sdterm.engine.isolation import no_random_numbers
from sdterm.engine.loading import Model
from sdterm.engine.noise import batch_noise
from sdterm.engine.preview import preview
from sdterm.engine.recorder import MisuseError, NonFiniteError, TapeRecorder, kind_of
from sdterm.engine.run import Run
from sdterm.engine.schedule import pass_sigmas
from sdterm.engine.tape import DENOISER
from sdterm.events import Preview, Resumed, Step, Warning
from sdterm.hooks import Denoised, MemoryOptimizer, ModelFamily, ModelSampling, Noise, Sampler, SamplingOptions
from sdterm.request import GenerationRequest

PREVIEW_INTERVAL = 0.5  # seconds between two previews
_MOST_CALLS = 100  # times those planned: past this a sampler that looks for its own steps has lost its way


def noise_levels(request: GenerationRequest, sampler: Sampler, plugins: PluginSet, model: Model) -> ModelSampling:
    """The noise levels that a run is on: the model's, or what the sampler makes of them. Made anew each time, since
    plugins are given them."""
    options = SamplingOptions(
        quantize=request.quantize,
        downcast_alphas=request.downcast_alphas,
        zero_terminal_snr=request.noise_schedule == "Zero Terminal SNR",
    )
    with plugins.guard(model.family):
        sampling = model.components.sampling(options)
        if not isinstance(getattr(sampling, "sigmas", None), torch.Tensor):
            raise ContractError("it gave no noise levels")
    if not sampler.sampling:
        return sampling
    with plugins.guard(sampler):
        return sampler.sampling(sampling)


@dataclass(frozen=True)
class Batch:
    """Images that are drawn together."""

    images: Sequence[int]
    number: int
    """Which batch of the job it is, from 0."""
    count: int
    """How many there are."""


def sample_pass(run: Run, model: Model, batch: Batch, pass_no: int) -> torch.Tensor:
    """The latents [B, C, h, w] to which a pass brings a batch. Raises what the recorder raises; PluginError if the
    sampler fails or gives something else."""
    planned, found = run.plan.passes[pass_no], run.choices.passes[pass_no]
    images: list[ImagePlan] = [run.plan.images[index] for index in batch.images]
    texts = [run.plan.text_of(index, pass_no) for index in batch.images]
    sampler, components, request = found.sampler, model.components, run.request
    levels = noise_levels(request, sampler, run.plugins, model)
    sigmas = pass_sigmas(found, request, planned, run.plugins, levels)
    shape = (
        components.latent_channels,
        planned.height // components.downscale,
        planned.width // components.downscale,
    )
    start, noise = batch_noise(images, request, shape, components.downscale, components.device)
    if sampler.noise == "brownian":
        seeds = [image.seed for image in images]
        with run.plugins.guard(sampler):  # it may have given sigmas that span nothing
            noise = brownian_noise(seeds, request.noise_source, shape, components.device, sigmas)
    for index, latents in zip(batch.images, start, strict=True):
        run.tape.start(index, pass_no, latents)
    calls = planned.steps * sampler.calls_per_step  # what A1111 plans a prompt's schedule by, whatever really comes
    how = reading(request, *planned.told_size, calls, model.applied)
    with run.plugins.guard(model.family):
        prompts = [model.condition.prompt(text.text, how) for text in texts]
        negatives = [model.condition.negative(text.negative_prompt, how) for text in texts]
    network = guided_denoiser(
        components,
        levels,
        model.condition,
        how,
        prompts,
        negatives,
        request,
        needs_uncond=sampler.needs_uncond,
        counts_timesteps=sampler.start == "unit",
    )

    suspect = in_the_network(run, model)

    def guarded(x: torch.Tensor, sigma: torch.Tensor, call: int) -> Denoised:
        with run.plugins.guard(suspect), no_random_numbers(components.device):
            return network(x, sigma, call)

    progress = Progress(run, batch, pass_no, len(sigmas) - 1)
    recorder = TapeRecorder(
        guarded,
        run.tape,
        pass_no,
        batch.images,
        start,
        run.cancel,
        lambda step, x0: progress.on_step(step, x0, model),
        progress.on_replayed,
        run.pulse.count,
        run.pause_at.step if run.pause_at and run.pause_at.pass_no == pass_no else None,
        _MOST_CALLS * (calls + 10),
    )
    try:
        begun = _begun(sampler, request, start, sigmas, levels)
        latents = _sampled(run, pass_no, recorder, begun, sigmas, noise, levels)
    except MisuseError as error:
        raise run.plugins.failure(sampler, error) from error
    except NonFiniteError as error:
        if error.was_given and run.plugins.is_foreign(sampler):  # ours only pass on what the model drives them to
            odd = ContractError(f"its latents are not numbers at network call {error.call + 1}")
            raise run.plugins.failure(sampler, odd) from error
        raise
    if not recorder.steps:
        what = "never called back: its steps cannot be shown, and it cannot be paused"
        said = f"The sampler {sampler.label} of {run.plugins.owner(sampler)} {what}."
        run.warn(Warning(code="no_steps", message=said, source=run.plugins.owner(sampler)))
    return latents


def _sampled(
    run: Run,
    pass_no: int,
    recorder: TapeRecorder,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: Noise,
    levels: ModelSampling,
) -> torch.Tensor:
    """What the sampler makes of x [B, C, h, w]. Raises what the recorder raises, or that the sampler failed."""
    sampler, kind = run.choices.passes[pass_no].sampler, (x.shape, x.dtype, x.device)
    try:
        with run.plugins.guard(sampler):
            latents = sampler.sample(
                recorder.denoise,
                x,
                sigmas.clone(),
                noise=noise,
                callback=recorder.callback,
                **({"sampling": levels} if sampler.sampling else {}),
                **run.plan.passes[pass_no].sampler_options,
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


def in_the_network(run: Run, model: Model) -> ModelFamily | MemoryOptimizer:
    """Whose an error in the network is, as long as its own line does not say it: the family's, unless somebody else's
    optimizer changed that."""
    foreign = (each.of for each in reversed(model.optimizers) if run.plugins.is_foreign(each.of))
    return next(foreign, model.family)


def paused_previews(run: Run, model: Model, batch: Batch, pass_no: int, step: int) -> Iterator[Preview]:
    """What each image of a batch looks like where it stands: who paused it may want to choose."""
    for index in batch.images:
        if row := run.tape.row(index, pass_no, DENOISER, run.tape.recorded(index, pass_no, DENOISER) - 1):
            yield Preview(
                index=index,
                step=step,
                pass_no=pass_no,
                data=preview(run, model.components, row.result.x0),
            )


def _begun(
    sampler: Sampler, request: GenerationRequest, noise: torch.Tensor, sigmas: torch.Tensor, levels: ModelSampling
) -> torch.Tensor:
    """What a pass that begins with pure noise hands the sampler."""
    if sampler.start == "unit":
        return noise * 1.0
    if request.sgm_noise_multiplier:
        return noise * torch.sqrt(1.0 + sigmas[0] ** 2.0)
    return levels.noise_scaling(sigmas[0], noise, torch.zeros_like(noise))


class Progress:
    """Reports where a batch is in a pass: each step, a preview now and then, and what came from the tape."""

    def __init__(self, run: Run, batch: Batch, pass_no: int, steps: int) -> None:
        self._run, self._images, self._pass = run, batch.images, pass_no
        self._at = {
            "batch": batch.number,
            "batches": batch.count,
            "steps": steps,
            "pass_no": pass_no,
            "passes": len(run.plan.passes),
        }
        self._shown = time.perf_counter()

    def on_step(self, step: int, x0: torch.Tensor, model: Model) -> None:
        """x0: of the batch's first image [C, h, w], on the CPU."""
        self._run.emit(Step(step=step, **self._at))
        if self._run.previews and time.perf_counter() - self._shown >= PREVIEW_INTERVAL:
            data = preview(self._run, model.components, x0)
            self._run.emit(Preview(index=self._images[0], step=step, pass_no=self._pass, data=data))
            self._shown = time.perf_counter()

    def on_replayed(self, calls: int, step: int) -> None:
        """The tape had so many network calls, and with them this step."""
        self._run.emit(Resumed(first=self._images[0], images=len(self._images), calls=calls, step=step, **self._at))
