"""For the tests of an extension: a tiny model whose exact answers are known, and assertions of what the contract asks.

No GPU, no model file, milliseconds. Each assertion raises AssertionError with a sentence that says what is wrong and
which rule that breaks. `docs/plugins/testing.md` shows how they are used.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import torch

from sdterm.core.extensions.discovery import built_ins
from sdterm.core.extensions.registry import PluginSet, plugin_set
from sdterm.core.extensions.source import Source, digest
from sdterm.engine.brownian import brownian_noise
from sdterm.hooks import (
    Components,
    Conditioning,
    Denoised,
    DenoiseHook,
    ModelSampling,
    NetworkCall,
    Noise,
    Option,
    OutputSaver,
    Postprocessor,
    Process,
    PromptContext,
    PromptText,
    PromptTransform,
    Sampler,
    SamplingOptions,
    Scheduler,
    TextOptions,
    Upscaler,
)
from sdterm.modelling.sampling import DiscreteSampling, FlowSampling

SHAPE = (4, 8, 8)
"""Of the tiny model's latents: [C, h, w]."""
MEAN, SPREAD = 0.5, 0.2
"""Its data: every number of a latent is normally distributed around MEAN, with the deviation SPREAD."""
_CPU = torch.device("cpu")


class Stopped(Exception):
    """What the tiny model raises when a test stops it, as sdterm does when its user cancels."""


@dataclass
class TinyModel:
    """A denoiser for normally distributed data, exact in closed form: what a perfect network would say.

    A sampler without noise of its own takes x at sigma to MEAN + (x - MEAN) * SPREAD / sqrt(SPREAD² + sigma²).
    stop_at: the call in which it raises Stopped. process: how it mixes data and noise.
    """

    stop_at: int | None = None
    process: Process = "vp"
    calls: list[float] = field(default_factory=list)
    """The sigma of each call."""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        assert x.dtype == torch.float32, f"denoise was asked about {x.dtype}: latents stay float32."
        assert sigma.shape == (len(x),), f"sigma must be one number an image, [{len(x)}], and is {[*sigma.shape]}."
        if self.stop_at is not None and len(self.calls) >= self.stop_at:
            raise Stopped
        self.calls.append(float(sigma[0]))
        s = sigma[:, None, None, None]
        signal = 1 - s if self.process == "flow" else torch.ones_like(s)
        x0 = (signal * SPREAD**2 * x + s**2 * MEAN) / (signal**2 * SPREAD**2 + s**2)
        return Denoised(x0, x0.clone())


def model_sampling() -> ModelSampling:
    """The noise levels of Stable Diffusion 1: betas from 0.00085 to 0.012, linear in their roots, 1000 timesteps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return DiscreteSampling((1 - betas).cumprod(0).float())


def flow_sampling() -> ModelSampling:
    """The noise levels of a rectified-flow model."""
    return FlowSampling(shift=3.0)


def load_extension(path: Path | str) -> PluginSet:
    """sdterm's own plugins and this extension (a folder or a file); an AssertionError says why it cannot be loaded."""
    path = Path(path).resolve()
    loaded = plugin_set([*built_ins(), Source(path.stem, "extension", str(path), digest(path))])
    assert not loaded.problems, f"{path.name} cannot be loaded: {loaded.problems[0].error}."
    return loaded


@contextmanager
def assert_no_global_rng() -> Iterator[None]:
    """Around code that must not draw from the generators of torch, numpy or random that everybody shares."""
    drawn: dict[str, Callable[[], object]] = {
        "torch": lambda: torch.get_rng_state().numpy().tobytes(),
        "numpy": lambda: repr(np.random.get_state(legacy=True)),
        "random": lambda: repr(random.getstate()),
    }
    before = {name: state() for name, state in drawn.items()}
    yield
    for name, state in drawn.items():
        assert state() == before[name], (
            f"It draws from the random numbers of {name} that everybody shares, so its pictures could not be made "
            "again: use the `noise` or `rng` it is given."
        )


# --- samplers and schedulers ------------------------------------------------------------------------------------------


def assert_sampler_conforms(sampler: Sampler, *, steps: int = 8) -> None:
    """A sampler keeps every rule of docs/plugins/sdterm_samplers.md."""
    for process in sampler.models:
        _assert_sampler_conforms(sampler, steps, process)


def _assert_sampler_conforms(sampler: Sampler, steps: int, process: Process) -> None:
    model_levels = flow_sampling() if process == "flow" else model_sampling()
    levels = sampler.sampling(model_levels) if sampler.sampling else model_levels
    sigmas = _sigmas(sampler, levels, steps)
    options = {option.name: option.default for option in sampler.options}

    def run(seeds: Sequence[int], model: TinyModel) -> tuple[torch.Tensor, list[int]]:
        given, told = sigmas.clone(), list[int]()
        x = torch.stack([_noise(seed).to(torch.float32) for seed in seeds])
        x = x * (1.0 if sampler.start == "unit" else given[0])
        more = {"sampling": levels} if sampler.sampling else {}
        out = sampler.sample(
            model,
            x,
            given,
            noise=_noises(sampler, seeds, sigmas),
            callback=lambda i, _: told.append(i),
            **more,
            **options,
        )
        assert torch.equal(given, sigmas), f"{sampler.label} changes the sigmas it is given: work on a copy."
        return out, told

    model = TinyModel(process=process)
    try:
        with assert_no_global_rng():
            out, told = run([1], model)
    except (AssertionError, Stopped):
        raise
    except Exception as error:
        raise AssertionError(f"{sampler.label} failed: {type(error).__name__}: {error}") from error
    assert isinstance(out, torch.Tensor), f"{sampler.label} must return latents, and returned {type(out).__name__}."
    assert out.shape == (1, *SHAPE), f"{sampler.label} returned the shape {[*out.shape]} for {[1, *SHAPE]}."
    assert out.dtype == torch.float32, f"{sampler.label} returned {out.dtype}: latents stay float32."
    assert torch.isfinite(out).all(), f"{sampler.label} returned numbers that are not finite."
    assert told, f"{sampler.label} never called `callback`: call it once a step, so that progress can be shown."
    assert told == list(range(len(told))), f"{sampler.label} called `callback` with {told}: i rises by one from 0."
    planned = steps * sampler.calls_per_step
    assert len(model.calls) <= 2 * planned + 10, (
        f"{sampler.label} asked the model {len(model.calls)} times for {steps} steps, but declares "
        f"{sampler.calls_per_step} calls a step."
    )
    far = float((out - MEAN).abs().mean())
    assert far < 5 * SPREAD, (
        f"{sampler.label} does not get rid of the noise: its result is {far:.2f} away from the data, which is "
        f"{SPREAD} wide."
    )
    assert torch.equal(out, run([1], TinyModel(process=process))[0]), (
        f"{sampler.label} gives something else the second time."
    )
    if not sampler.batch_coupled:
        batch = run([1, 2], TinyModel(process=process))[0]
        alone = torch.cat([run([seed], TinyModel(process=process))[0] for seed in (1, 2)])
        assert torch.allclose(batch, alone, atol=1e-5), (
            f"{sampler.label}: an image of a batch is not the single image with its seed. Draw from `noise` alone, and "
            "keep images apart; if they must depend on each other, declare batch_coupled."
        )
    try:
        run([1], TinyModel(min(2, len(model.calls) - 1), process))
    except Stopped:
        return
    raise AssertionError(f"{sampler.label} swallows what `denoise` raises: it could not be cancelled.")


def assert_scheduler_conforms(scheduler: Scheduler) -> None:
    """A schedule is float32 [n+1], on the CPU, finite, and falls."""
    options = {option.name: option.default for option in scheduler.options}
    levels = model_sampling()
    for n in (1, 2, 10, 30):
        with assert_no_global_rng():
            sigmas = scheduler.sigmas(n, levels, **options)
        assert isinstance(sigmas, torch.Tensor), f"{scheduler.label} must return a tensor, not {type(sigmas).__name__}."
        assert sigmas.dtype == torch.float32, f"{scheduler.label} returned {sigmas.dtype}: sigmas are float32."
        assert n + 1 <= len(sigmas) <= 2 * n + 1, f"{scheduler.label} returned {len(sigmas)} sigmas for {n} steps: n+1."
        assert torch.isfinite(sigmas).all(), f"{scheduler.label} returned numbers that are not finite."
        assert (sigmas[:-1] > sigmas[1:]).all(), f"{scheduler.label} does not fall: {sigmas.tolist()}."
        assert float(sigmas[0]) <= levels.sigma_max * 1.01, (
            f"{scheduler.label} begins at {float(sigmas[0]):.2f}, above the model's noisiest level "
            f"{levels.sigma_max:.2f}."
        )
        again = scheduler.sigmas(n, levels, **options)
        assert torch.equal(sigmas, again), f"{scheduler.label} gives something else the second time."


def _sigmas(sampler: Sampler, levels: ModelSampling, steps: int) -> torch.Tensor:
    if sampler.grid == "own" and sampler.own_sigmas:
        return sampler.own_sigmas(steps, levels)
    ramp = torch.linspace(0, 1, steps)  # Karras et al. 2022, equation 5
    low, high = levels.sigma_min ** (1 / 7), levels.sigma_max ** (1 / 7)
    return torch.cat([(high + ramp * (low - high)) ** 7, torch.zeros(1)])


def _noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def _noises(sampler: Sampler, seeds: Sequence[int], sigmas: torch.Tensor) -> Noise:
    if sampler.noise == "brownian":
        return brownian_noise(seeds, "CPU", SHAPE, _CPU, sigmas)
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
    return lambda sigma, sigma_next: torch.stack([torch.randn(SHAPE, generator=g) for g in generators])


# --- model families ---------------------------------------------------------------------------------------------------


def assert_components_conform(components: Components, texts: Sequence[str] = ("a lake, red house", "")) -> None:
    """What a family built keeps the rules of docs/plugins/sdterm_model_families.md."""
    with torch.inference_mode(), assert_no_global_rng():
        levels = components.sampling(SamplingOptions())
        sigmas = levels.sigmas
        assert sigmas.dtype == torch.float32 and sigmas.device == _CPU, "its sigmas must be float32 on the CPU."
        assert (sigmas[1:] > sigmas[:-1]).all(), "its sigmas must rise."
        back = levels.t_to_sigma(levels.sigma_to_t(sigmas[10:11]))
        assert torch.allclose(back, sigmas[10:11], rtol=1e-3), "t_to_sigma must undo sigma_to_t."
        cells, f = 16, components.downscale
        options = TextOptions(width=cells * f, height=cells * f)
        conds = [components.encode([text], options) for text in texts]
        for cond in [components.encode(texts, options), components.encode(texts, replace(options, negative=True))]:
            assert isinstance(cond, Conditioning), f"encode must return a Conditioning, not {type(cond).__name__}."
            for name, tensor in cond.tensors.items():
                assert len(tensor) == len(texts), f"{name} of {len(texts)} texts has {len(tensor)} rows."
        sigma = sigmas[len(sigmas) // 2]
        x = torch.randn(
            len(texts), components.latent_channels, cells, cells, generator=torch.Generator().manual_seed(1)
        )
        x = (x * sigma).to(components.device)
        alone = [components.denoise(x[i : i + 1], sigma[None], cond, levels) for i, cond in enumerate(conds)]
        assert alone[0].shape == x[:1].shape, f"denoise made {[*alone[0].shape]} of latents {[*x[:1].shape]}."
        assert alone[0].dtype == torch.float32, f"denoise returned {alone[0].dtype}: latents stay float32."
        together = components.denoise(x, sigma.expand(len(x)), components.encode(texts, options), levels)
        assert torch.allclose(together, torch.cat(alone), atol=1e-3 * float(together.abs().max())), (
            "an image of a batch is not what it is alone."
        )
        pixels = components.decode(x[:1].to(components.dtype) / (1 + float(sigma)))
        assert pixels.shape == (1, 3, cells * f, cells * f), f"decode made {[*pixels.shape]} of {cells}x{cells} cells."
        latents = components.encode_image(pixels.float().clamp(-1, 1), None)
        assert latents.shape == x[:1].shape, f"encode_image made {[*latents.shape]} of {cells * f}x{cells * f} pixels."


# --- texts, pictures, files -------------------------------------------------------------------------------------------


def assert_transform_conforms(
    transform: PromptTransform,
    prompts: Sequence[str] = ("", "red house, lake", "((a)), [b:c:0.5] AND d | {e|f}"),
    **options: bool | int | float | str,
) -> None:
    """A transform gives texts, the same ones for the same seed, from the given `rng` alone."""
    given = _options(transform.options, options)
    for prompt in prompts:

        def run(prompt: str = prompt) -> tuple[PromptText, ...]:
            return tuple(transform.transform(PromptText(prompt), Random(7), PromptContext(), **given))

        with assert_no_global_rng():
            texts = run()
        assert texts, f"{transform.label} returned no text for {prompt!r}."
        for text in texts:
            assert isinstance(text, PromptText), f"{transform.label} returned {type(text).__name__}, not PromptText."
        assert texts == run(), f"{transform.label} gives something else for the same seed: use `rng` alone."


def assert_saver_round_trip(saver: OutputSaver, decode: Callable[[bytes], Any], *, lossless: bool = True) -> None:
    """A format's file holds the picture. `decode` reads one to uint8 [H, W, 3]; lossless: bit for bit, else closely."""
    pixels = np.random.default_rng(7).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    pixels = np.kron(pixels, np.ones((8, 8, 1), dtype=np.uint8))
    before = pixels.copy()
    options = {option.name: option.default for option in saver.options}
    frames = {"frames": np.zeros((3, 8, 8, 3), dtype=np.uint8)} if saver.frames else {}
    with assert_no_global_rng():
        data = saver.encode(pixels, "a lake\nSteps: 20", **frames, **options)
    assert isinstance(data, bytes) and data, f"{saver.label} must return the file's bytes."
    assert np.array_equal(pixels, before), f"{saver.label} changes the picture it is given: work on a copy."
    found = np.asarray(decode(data))
    assert found.shape == pixels.shape, f"{saver.label} made {found.shape} of {pixels.shape}."
    off = np.abs(found.astype(int) - pixels.astype(int))
    assert off.max() == 0 if lossless else off.mean() < 16, f"{saver.label} does not keep the picture."


def assert_postprocessor_conforms(postprocessor: Postprocessor, **options: bool | int | float | str) -> None:
    """A postprocessor makes an image of an image, the same for the same seed, and leaves the given one alone."""
    pixels = np.random.default_rng(7).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    given = _options(postprocessor.options, options)

    def run() -> Any:
        copy = pixels.copy()
        out = postprocessor.apply(copy, Random(7), **given)
        assert np.array_equal(copy, pixels), f"{postprocessor.label} changes the image it is given: work on a copy."
        return out

    with assert_no_global_rng():
        out = run()
    assert isinstance(out, np.ndarray) and out.dtype == np.uint8, f"{postprocessor.label} must return a uint8 array."
    assert out.ndim == 3 and out.shape[2] == 3, f"{postprocessor.label} must return [H, W, 3], not {[*out.shape]}."
    assert np.array_equal(out, run()), f"{postprocessor.label} gives something else for the same seed: use `rng` alone."


def assert_denoise_hook_conforms(hook: DenoiseHook, **options: bool | int | float | str) -> None:
    """A denoise hook gives latents of its input's kind, finite, the same each time and for each image of a batch alone,
    and leaves what it is given alone."""
    given, numbers = _options(hook.options, options), torch.Generator().manual_seed(7)
    x, init = (torch.randn(2, 4, 8, 8, generator=numbers) for _ in range(2))
    mask = torch.rand(2, 1, 8, 8, generator=numbers)

    def network(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        return Denoised(x / (1 + sigma[0] ** 2), None)

    def run(images: slice, start: Literal["sigma", "unit"]) -> list[torch.Tensor]:
        mine, first = x[images].clone(), images.start
        call = NetworkCall(
            call=3,
            calls=10,
            level=2.0,
            start=start,
            prompts=tuple((Conditioning({"context": torch.zeros(1, 77, 8)}, ("context",)),) for _ in mine),
            init=init[images].clone(),
            mask=mask[images].clone(),
            rng=lambda index: torch.Generator().manual_seed(first + index),
        )
        answer = hook.denoise(network, mine, torch.full((len(mine),), 2.0), call, **given)
        assert isinstance(answer, Denoised), f"{hook.label} must return a Denoised."
        made = [answer.x0] + ([hook.finish(mine, call, **given)] if hook.finish else [])
        for each in made:
            assert isinstance(each, torch.Tensor) and each.shape == mine.shape and each.dtype == mine.dtype, (
                f"{hook.label} must return latents of its input's shape."
            )
            assert torch.isfinite(each).all(), f"{hook.label} gives what are no numbers."
        if hook.overlay:
            shown = hook.overlay(mine, call, **given)
            assert shown.shape == (len(mine), 8, 8), f"{hook.label}'s overlay must be [B, h, w]."
            made.append(shown)
        return made

    starts: tuple[Literal["sigma", "unit"], ...] = ("sigma", "unit")
    for start in starts:
        with assert_no_global_rng():
            both = run(slice(0, 2), start)
        again = f"{hook.label} gives something else for the same call: use `call.rng` alone, and keep nothing."
        assert all(torch.equal(one, other) for one, other in zip(both, run(slice(0, 2), start), strict=True)), again
        for one, other in zip(both, run(slice(1, 2), start), strict=True):
            assert torch.allclose(one[1:], other, atol=1e-5), (
                f"{hook.label} lets the images of a batch touch each other."
            )


def assert_upscaler_conforms(upscaler: Upscaler) -> None:
    """An upscaler without weights makes a larger image, the same each time, and leaves the given one alone."""
    assert upscaler.resize, f"{upscaler.label} has no `resize`: those with weights are tested with a file of theirs."
    pixels = np.random.default_rng(7).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    for scale in (2.0, 1.5, 4.0):
        copy = pixels.copy()
        with assert_no_global_rng():
            out = upscaler.resize(copy, scale)
        assert np.array_equal(copy, pixels), f"{upscaler.label} changes the image it is given: work on a copy."
        assert isinstance(out, np.ndarray) and out.dtype == np.uint8, f"{upscaler.label} must return a uint8 array."
        assert out.ndim == 3 and out.shape[2] == 3, f"{upscaler.label} must return [H, W, 3], not {[*out.shape]}."
        assert min(out.shape[:2]) >= 32, f"{upscaler.label} made {[*out.shape]} of {[*pixels.shape]} at {scale}."
        assert np.array_equal(out, upscaler.resize(copy, scale)), f"{upscaler.label} gives something else again."


def _options(declared: Sequence[Option], given: dict[str, Any]) -> dict[str, Any]:
    unknown = given.keys() - {option.name for option in declared}
    assert not unknown, f"there is no option {', '.join(sorted(unknown))}."
    return {option.name: given.get(option.name, option.default) for option in declared}
