"""The same numbers as A1111: tokens, conditionings, noise, schedules, latents, pictures."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdterm import Engine, GenerationRequest, PluginSet
from sdterm.core.plan import Choices, choose, prepare
from sdterm.engine import philox
from sdterm.engine.model_sampling import DiscreteSampling
from sdterm.engine.schedule import run_sigmas
from sdterm.plugins.sd1.components import tokenize
from tests.engine.conftest import images
from tests.tiny_checkpoint import GOLDEN

SAMPLER_RUNS = json.loads((GOLDEN / "samplers.json").read_text())
SAMPLER_ARRAYS = np.load(GOLDEN / "samplers.npz")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


SAME_NAMES = "prompt negative_prompt scheduler seed steps cfg_scale width height batch_size".split()  # noqa: SIM905


def as_request(golden: dict) -> GenerationRequest:
    """A golden run's A1111 request and settings, in our words."""
    asked, options = golden["request"], golden.get("opts", {})
    eta = asked.get("eta", options.get("eta_ancestral"))
    return GenerationRequest(
        sampler=asked["sampler_name"],
        noise_source="CPU",
        batch_count=asked["n_iter"],
        variation_seed=asked["subseed"],
        variation_strength=asked.get("subseed_strength", 0),
        seed_resize_width=asked.get("seed_resize_from_w", 0),
        seed_resize_height=asked.get("seed_resize_from_h", 0),
        sampler_options={} if eta is None else {"eta": eta},
        clip_skip=options.get("CLIP_stop_at_last_layers", 1),
        emphasis=options.get("emphasis", "Original"),
        pad_conds="v0" if options.get("pad_cond_uncond_v0") else "off",
        quantize=options.get("enable_quantization", False),
        **{
            key: asked[key]
            for key in [
                "prompt",
                "negative_prompt",
                "scheduler",
                "seed",
                "steps",
                "cfg_scale",
                "width",
                "height",
                "batch_size",
            ]
        },
    )


@pytest.mark.parametrize("case", json.loads((GOLDEN / "tokens.json").read_text()), ids=lambda case: repr(case["text"]))
def test_text_becomes_the_tokens_a1111_makes(case: dict) -> None:
    assert tokenize(case["text"]) == case["ids"]


def test_philox_draws_what_a_cuda_card_draws() -> None:
    first = philox.normal(0, 0, (3, 4)).flatten()[:4]
    assert first.tolist() == pytest.approx([-0.92466259, -0.42534415, -2.6438457, 0.14518388], abs=1e-6)


@pytest.fixture(scope="module")
def sampling(tiny_engine: Engine, plugins: PluginSet) -> DiscreteSampling:
    """The tiny checkpoint's noise levels."""
    choices = choose(GenerationRequest(prompt="a"), plugins, tiny_engine.library)
    components = choices.family.build(choices.checkpoint, torch.device("cpu"), torch.float32)
    return DiscreteSampling(components.alphas_cumprod)


@pytest.mark.parametrize("run", [run for run in SAMPLER_RUNS if f"{run}/sigmas" in SAMPLER_ARRAYS])
def test_schedules_are_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet, sampling: DiscreteSampling) -> None:
    request = as_request(SAMPLER_RUNS[run])
    choices: Choices = choose(request, plugins, tiny_engine.library)
    plan = prepare(request, choices, plugins, tiny_engine.library, {})
    levels = choices.sampler.sampling(sampling) if choices.sampler.sampling else sampling
    sigmas = run_sigmas(choices, plan, plugins, levels)
    golden = SAMPLER_ARRAYS[f"{run}/sigmas"]
    if choices.sampler.id in ("dpm_fast", "dpm_adaptive"):  # theirs is a schedule that these two do not look at
        golden, sigmas = golden[[0, -2]], sigmas[[0, -1]]
    elif choices.sampler.id == "unipc":  # nor does this one
        golden, sigmas = np.array([sampling.sigma_max, sampling.sigma_min]), sigmas[[0, -1]]
    elif golden.dtype == np.int64:  # timesteps, ascending
        golden = sampling.sigmas.numpy()[golden][::-1]
    assert np.allclose(sigmas.numpy(), golden, rtol=1e-5, atol=0)


def _weight(run: str) -> tuple[pytest.MarkDecorator, ...]:
    """Large pictures and long runs are heavy, and so is a sampler's every schedule: the sigmas are compared anyway."""
    asked = SAMPLER_RUNS[run]["request"]
    light = asked["width"] * asked["height"] * asked["steps"] <= 128 * 128 * 10
    common = asked["scheduler"] in ("Automatic", "Karras") or run.startswith(("DPM++ 2M|", "LCM|"))
    return () if light and common else (pytest.mark.heavy,)


# DPM adaptive's step control flips on the last bit: tests/plugins/test_samplers.py follows A1111's path call by call.
PICTURES = [pytest.param(run, marks=_weight(run)) for run in SAMPLER_RUNS if not run.startswith("DPM adaptive")]


@pytest.mark.parametrize("run", PICTURES)
def test_latents_and_pictures_are_a1111s(
    run: str,
    tiny_engine: Engine,
    plugins: PluginSet,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    finished: list[torch.Tensor] = []
    decode = tiny_engine._decode

    def seen(job: Any, latents: torch.Tensor, emit: Any) -> Any:
        finished.append(latents)
        return decode(job, latents, emit)

    monkeypatch.setattr(tiny_engine, "_decode", seen)
    events = list(tiny_engine.run(as_request(SAMPLER_RUNS[run]), plugins))
    golden_latents, golden_pictures = (SAMPLER_ARRAYS[f"{run}/{name}"] for name in ("latent", "image"))
    errors = [
        float(np.abs(latents.numpy() - golden).max() / np.abs(golden).max())
        for latents, golden in zip(finished, golden_latents, strict=True)
    ]
    likeness = [psnr(pixels(image.data), golden) for image, golden in zip(images(events), golden_pictures, strict=True)]
    record_property("run", run)
    record_property("latent_error", max(errors))
    record_property("psnr", min(likeness))
    assert max(errors) <= 1e-3
    assert min(likeness) >= 45
    assert events[-1].event == "done"
