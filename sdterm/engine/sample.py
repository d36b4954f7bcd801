"""Sampling a batch: noise, prompts and network handed to the sampler, its calls recorded."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.library.checkpoints import ModelFileError
from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.brownian import brownian_noise
from sdterm.engine.conditioning import parts_differ, reading
from sdterm.engine.cut import Stopping
from sdterm.engine.denoise_hooks import Hooks, told
from sdterm.engine.denoiser import Network, guided_denoiser
from sdterm.engine.isolation import no_random_numbers, random_numbers_kept
from sdterm.engine.loading import Model
from sdterm.engine.noise import batch_noise
from sdterm.engine.preview import preview
from sdterm.engine.recorder import CancelledError, MisuseError, NonFiniteError, TapeRecorder, kind_of
from sdterm.engine.refiner import Handover
from sdterm.engine.run import Run
from sdterm.engine.schedule import Way, pass_way
from sdterm.engine.sources import Init
from sdterm.engine.start import begun
from sdterm.engine.tape import DENOISER
from sdterm.events import Preview, Resumed, Step, Warning
from sdterm.hooks import (
    Components,
    Denoised,
    MemoryOptimizer,
    ModelFamily,
    ModelSampling,
    Noise,
    Pipeline,
    Sampler,
    SamplingOptions,
)
from sdterm.messages import message
from sdterm.request import GenerationRequest

PREVIEW_INTERVAL = 0.5  # seconds between two previews
_MOST_CALLS = 100  # times those planned: past this a sampler that looks for its own steps has lost its way


def noise_levels(
    request: GenerationRequest, sampler: Sampler, plugins: PluginSet, model: Model, *, from_image: bool = False
) -> ModelSampling:
    """The noise levels that a pass is on: the model's, or what the sampler makes of them. Made anew each time, since
    plugins are given them. from_image: whether it begins with an init image. k-diffusion's samplers then walk the
    model's own levels whatever the request says, as in A1111, which reads them before it changes them."""
    changed = not (from_image and sampler.start == "sigma")
    options = SamplingOptions(
        quantize=request.quantize,
        downcast_alphas=changed and request.downcast_alphas,
        zero_terminal_snr=changed and request.noise_schedule == "Zero Terminal SNR",
    )
    with plugins.guard(model.family):
        sampling = model.components.sampling(options)
        if not isinstance(getattr(sampling, "sigmas", None), torch.Tensor):
            raise ContractError(message("it returned no noise levels"))
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


@dataclass(frozen=True)
class Models:
    """How the models of a pass are loaded: its own, with the networks of its prompts, and its refiner, without them."""

    own: Callable[[], Model]
    refiner: Callable[[], Model]


@dataclass(frozen=True)
class Drawn:
    """An image after a pass."""

    latents: torch.Tensor
    """[C, h, w]"""
    overlay: torch.Tensor | None = None
    """[h, w]: how much of it shows over its init image, where not the mask says so."""
    refined: bool = False
    """Whether the refiner drew any of it."""
    padded: bool = False
    """Whether prompt and negative prompt of its last call were made equally long."""
    picture: NDArray[Any] | None = None
    """uint8 [H, W, 3], of a pipeline that decodes itself; its latents are nobody's."""


def sample_pass(run: Run, models: Models, batch: Batch, pass_no: int, init: Init | None = None) -> list[Drawn]:
    """What a pass makes of a batch. init: what it begins with, where that is not pure noise. Raises what the recorder
    raises; PluginError if the sampler fails or gives something else."""
    planned, found = run.plan.passes[pass_no], run.choices.passes[pass_no]
    images: list[ImagePlan] = [run.plan.images[index] for index in batch.images]
    sampler, request = found.sampler, run.request
    network = PassNetwork(run, models, batch, pass_no, init)
    levels, device = network.levels, network.device
    way = pass_way(found, request, planned, run.plugins, levels)
    shape = network.shape
    first, noise = batch_noise(images, request, shape, planned.height // shape[1], device)
    if sampler.noise == "brownian":
        seeds = [image.seed for image in images]
        with run.plugins.guard(sampler):  # it may have given sigmas that span nothing
            noise = brownian_noise(seeds, request.noise_source, shape, device, way.whole)
    begun = _begun(sampler, request, first, init, way, levels)
    for index, latents in zip(batch.images, first if init is None else begun, strict=True):
        run.tape.start(index, pass_no, latents)
        if over := run.tape.recorded(index, pass_no, DENOISER) % _span(run):
            run.tape.cut(index, pass_no, DENOISER, run.tape.recorded(index, pass_no, DENOISER) - over)
    progress = Progress(run, batch, pass_no, len(way.sigmas) - 1)
    recorder = TapeRecorder(
        network,
        run.tape,
        pass_no,
        batch.images,
        first,
        Stopping(run.cancel, run.cut, lambda: run.tape.recorded(batch.images[0], pass_no, DENOISER) > 0),
        lambda step, x0: progress.on_step(step, x0, network.components),
        progress.on_replayed,
        run.pulse.count,
        run.pause_at.step if run.pause_at and run.pause_at.pass_no == pass_no else None,
        _MOST_CALLS * (network.calls + 10),
    )
    try:
        latents = _sampled(run, pass_no, recorder, begun, way, noise, levels)
    except CancelledError:
        if run.cancel.is_set():
            raise
        latents = as_they_stand(run, batch, pass_no).to(device)
    except MisuseError as error:
        raise run.plugins.failure(sampler, error) from error
    except NonFiniteError as error:
        if error.was_given and run.plugins.is_foreign(sampler):  # ours only pass on what the model drives them to
            odd = ContractError(message("its latents contain NaN values at network call {call}", call=error.call + 1))
            raise run.plugins.failure(sampler, odd) from error
        raise
    if not recorder.steps and len(way.sigmas) > 1:
        said = message(
            "The sampler {sampler} of {slug} never reports its steps, so they cannot be shown, and it cannot be "
            "paused.",
            sampler=sampler.label,
            slug=run.plugins.owner(sampler),
        )
        run.warn(Warning(code="no_steps", message=said, source=run.plugins.owner(sampler)))
    network.finish()
    latents = network.hooks.finished(latents)
    overlay = network.hooks.overlay(latents)
    shown = [None] * len(latents) if overlay is None else [*overlay]
    return [Drawn(*each, network.refined, network.padded) for each in zip(latents, shown, strict=True)]


def _span(run: Run) -> int:
    """How many calls belong together: a pass goes on at a multiple of it, where no optimizer needs what was before."""
    spans = [1]
    for each in run.optimizers:
        if each.of.span:
            with run.plugins.guard(each.of):
                spans.append(max(1, each.of.span(each.options)))
    return math.lcm(*spans)


class PassNetwork:
    """The guided network of a pass: that of its own model, and from some call on that of its refiner. It holds one
    model at a time, since two may not fit."""

    def __init__(self, run: Run, models: Models, batch: Batch, pass_no: int, init: Init | None) -> None:
        self._run, self._models, self._batch, self._pass, self._init = run, models, batch, pass_no, init
        self._sampler = run.choices.passes[pass_no].sampler
        planned = run.plan.passes[pass_no]
        self.calls = self._calls(pass_no)
        """That a prompt's schedule is planned by, as in A1111, whatever really comes."""
        self._model: Model | None = models.own()
        self.levels = self._levels(self._model)
        """Of the pass's own model, on which it walks."""
        components = self._model.components
        self.shape = (
            components.latent_channels,
            planned.height // components.downscale,
            planned.width // components.downscale,
        )
        self.device = components.device
        self._handover: Handover | None = None
        if planned.refiner:
            counted = self._sampler.start == "unit"
            self._handover = Handover(planned.refiner, self._levels(self._model), self.calls, counted)
        self._looked_at = 0  # calls
        self.refined = self.padded = False
        """Whether the refiner has taken over; whether the last call's prompts were made equally long."""
        self._network: Network | None = self._guided()

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, call: int) -> Denoised:
        if self._handover and self._is_due(call, sigma[0].item()):
            self._hand_over()
        assert self._model
        for optimizer in self._model.optimizers:
            if optimizer.of.before_call:
                with self._run.plugins.guard(optimizer.of):
                    optimizer.of.before_call(self._model.components, call)
        return self.hooks.around(self._plain)(x, sigma, call)

    def _plain(self, x: torch.Tensor, sigma: torch.Tensor, call: int) -> Denoised:
        """Without the denoise hooks."""
        assert self._model and self._network  # at any time but while the refiner is loaded
        suspect = in_the_network(self._run, self._model)
        with self._run.plugins.guard(suspect), no_random_numbers(self._model.components.device):
            return self._network(x, sigma, call)

    @property
    def components(self) -> Components | None:
        """Of the model in use; none while the refiner is loaded."""
        model = self._model
        return model.components if model else None

    def finish(self) -> None:
        """Leave that model loaded with which the pass ends, if the tape had all its calls, too."""
        recorded = self._run.tape.recorded(self._batch.images[0], self._pass, DENOISER)
        if self._handover and self._is_due(recorded, None):
            self._hand_over()
        wanted = self._run.request.pad_conds != "off"
        self.padded = wanted and any(parts_differ(*each, recorded - 1) for each in self._texts)

    def _is_due(self, call: int, sigma: float | None) -> bool:
        """Whether the refiner takes over by this call: it may have done so at one that the tape answered."""
        assert self._handover
        for number in range(self._looked_at, call):
            row = self._run.tape.row(self._batch.images[0], self._pass, DENOISER, number)
            if row and self._handover.is_due(number, row.sigma):
                return True
        self._looked_at = max(self._looked_at, call)
        return sigma is not None and self._handover.is_due(call, sigma)

    def _hand_over(self) -> None:
        self._handover = self._model = self._network = None  # its memory is needed for the next one
        self.refined = True
        self._model = self._models.refiner()
        components = self._model.components
        if (components.latent_channels, self._run.plan.passes[self._pass].height // components.downscale) != (
            self.shape[:2]
        ):
            wanted = self._run.refiner_of(self._pass)
            name = wanted.plan.model if wanted else ""
            raise ModelFileError(
                message(
                    "The refiner {name} cannot be used here: its latents are those of another kind of model.", name=name
                )
            )
        with random_numbers_kept(self._run.device):  # those of the sampler, which this happens inside of
            self._network = self._guided()

    def _guided(self) -> Network:
        model, run, sampler = self._model, self._run, self._sampler
        assert model
        planned = run.plan.passes[self._pass]
        before = self._calls(self._pass - 1) if planned.start == "pass" else None
        how = reading(run.request, *planned.told_size, self.calls, model.applied, before)
        texts = [run.plan.text_of(index, self._pass) for index in self._batch.images]
        with run.plugins.guard(model.family):
            prompts = [model.condition.prompt(text.text, how) for text in texts]
            negatives = [model.condition.negative(text.negative_prompt, how) for text in texts]
        if self._init and self._init.told and not self.refined:
            known = self._init.told
            prompts = [tuple(told(part, of) for part in parts) for parts, of in zip(prompts, known, strict=True)]
            negatives = [told(part, of) for part, of in zip(negatives, known, strict=True)]
        self._texts = [*zip(prompts, negatives, strict=True)]
        levels = self._levels(model)
        images = [run.plan.images[index] for index in self._batch.images]
        self.hooks = Hooks(run, sampler, images, prompts, self._init, levels, self.calls)
        return guided_denoiser(
            model.components,
            levels,
            model.condition,
            how,
            prompts,
            negatives,
            run.request,
            cfg_scale=run.request.cfg_scale if planned.cfg_scale is None else planned.cfg_scale,
            needs_uncond=sampler.needs_uncond,
            counts_timesteps=sampler.start == "unit",
        )

    def _calls(self, pass_no: int) -> int:
        return self._run.plan.passes[pass_no].steps * self._run.choices.passes[pass_no].sampler.calls_per_step

    def _levels(self, model: Model) -> ModelSampling:
        run, start = self._run, self._run.plan.passes[self._pass].start
        return noise_levels(run.request, self._sampler, run.plugins, model, from_image=start == "image")


def _sampled(
    run: Run,
    pass_no: int,
    recorder: TapeRecorder,
    x: torch.Tensor,
    way: Way,
    noise: Noise,
    levels: ModelSampling,
) -> torch.Tensor:
    """What the sampler makes of x [B, C, h, w]. Raises what the recorder raises, or that the sampler failed."""
    sampler, kind = run.choices.passes[pass_no].sampler, (x.shape, x.dtype, x.device)
    if len(way.sigmas) < 2:  # at this strength nothing is left to do
        recorder.close()
        return x
    try:
        with run.plugins.guard(sampler):
            latents = sampler.sample(
                recorder.denoise,
                x,
                way.sigmas.clone(),
                noise=noise,
                callback=recorder.callback,
                **({"sampling": levels} if sampler.sampling else {}),
                **run.plan.passes[pass_no].sampler_options,
            )
            if not isinstance(latents, torch.Tensor) or latents.shape != kind[0] or not torch.isfinite(latents).all():
                raise ContractError(message("it did not return finite latents of the same shape as its input"))
            if (latents.shape, latents.dtype, latents.device) != kind:
                raise ContractError(
                    message(
                        "it returned latents in {found}, not {wanted}",
                        found=kind_of(latents.dtype, latents.device),
                        wanted=kind_of(*kind[1:]),
                    )
                )
    finally:
        recorder.close()  # what ended the run, if it was not the sampler, is raised here in place of its error
    return latents


def in_the_network(run: Run, model: Model) -> ModelFamily | Pipeline | MemoryOptimizer:
    """Whose an error in the network is, as long as its own line does not say it: the family's, unless somebody else's
    optimizer changed that."""
    foreign = (each.of for each in reversed(model.optimizers) if run.plugins.is_foreign(each.of))
    return next(foreign, model.family)


def as_they_stand(run: Run, batch: Batch, pass_no: int) -> torch.Tensor:
    """What the last call of each image made of it, as A1111 shows what it interrupts."""
    rows = (run.tape.row(k, pass_no, DENOISER, run.tape.recorded(k, pass_no, DENOISER) - 1) for k in batch.images)
    return torch.stack([row.result.x0 for row in rows if row])


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
    sampler: Sampler,
    request: GenerationRequest,
    noise: torch.Tensor,
    init: Init | None,
    way: Way,
    levels: ModelSampling,
) -> torch.Tensor:
    """What a pass hands the sampler."""
    if init:
        if init.from_image and request.noise_multiplier != 1:
            noise = noise * request.noise_multiplier
        return begun(init.latents, noise, way.level, sampler, levels, extra_noise=request.extra_noise)
    if sampler.start == "unit":
        return noise * 1.0
    if request.sgm_noise_multiplier:
        return noise * torch.sqrt(1.0 + way.level**2.0)
    return levels.noise_scaling(way.level, noise, torch.zeros_like(noise))


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

    def on_step(self, step: int, x0: torch.Tensor, components: Components | None) -> None:
        """x0: of the batch's first image [C, h, w], on the CPU."""
        self._run.emit(Step(step=step, **self._at))
        if components and self._run.previews and time.perf_counter() - self._shown >= PREVIEW_INTERVAL:
            data = preview(self._run, components, x0)
            self._run.emit(Preview(index=self._images[0], step=step, pass_no=self._pass, data=data))
            self._shown = time.perf_counter()

    def on_replayed(self, calls: int, step: int) -> None:
        """The tape had so many network calls, and with them this step."""
        self._run.emit(Resumed(first=self._images[0], images=len(self._images), calls=calls, step=step, **self._at))
