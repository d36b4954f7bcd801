"""What authors test with: it passes what keeps the rules, and says which rule is broken."""

from collections.abc import Callable
from io import BytesIO
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdterm import load_plugins
from sdterm.hooks import (
    Denoised,
    DenoiseHook,
    OutputSaver,
    Postprocessor,
    PromptText,
    PromptTransform,
    Sampler,
    Scheduler,
    Upscaler,
)
from sdterm.testing import (
    MEAN,
    SPREAD,
    TinyModel,
    assert_denoise_hook_conforms,
    assert_no_global_rng,
    assert_postprocessor_conforms,
    assert_sampler_conforms,
    assert_saver_round_trip,
    assert_scheduler_conforms,
    assert_transform_conforms,
    assert_upscaler_conforms,
    load_extension,
)

COUNTED = count()
PLUGINS = load_plugins()


@pytest.mark.parametrize("name", ["Euler", "Euler a", "DPM++ 2M", "Heun", "DDIM", "DPM++ SDE", "LMS", "UniPC"])
def test_samplers_that_keep_the_rules_pass(name: str) -> None:
    assert_sampler_conforms(PLUGINS.sampler(name))


@pytest.mark.parametrize("name", ["Karras", "Exponential", "Polyexponential", "SGM Uniform"])
def test_schedules_that_keep_the_rules_pass(name: str) -> None:
    assert_scheduler_conforms(PLUGINS.scheduler(name))


@pytest.mark.parametrize("name", ["Masked", "Soft inpainting"])
def test_denoise_hooks_that_keep_the_rules_pass(name: str) -> None:
    assert_denoise_hook_conforms(PLUGINS.denoise_hook(name))


@pytest.mark.parametrize(
    ("denoise", "said"),
    [
        (lambda network, x, sigma, call: network(x, sigma).x0, "must return a Denoised"),
        (lambda network, x, sigma, call: Denoised(x[:, :1], None), "its input's shape"),
        (lambda network, x, sigma, call: Denoised(x / 0, None), "no numbers"),
        (lambda network, x, sigma, call: Denoised(x + x.mean(), None), "touch each other"),
        (lambda network, x, sigma, call: Denoised(x + next(COUNTED), None), "the same call"),
    ],
)
def test_denoise_hooks_that_break_a_rule_are_told_which(denoise: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_denoise_hook_conforms(DenoiseHook("bad", "Bad", denoise))


@pytest.mark.parametrize("name", ["Lanczos", "Nearest", "None"])
def test_upscalers_that_keep_the_rules_pass(name: str) -> None:
    assert_upscaler_conforms(PLUGINS.upscaler(name))


@pytest.mark.parametrize(
    ("resize", "said"),
    [
        (lambda image, scale: image.astype(float), "must return a uint8 array"),
        (lambda image, scale: image[:1], "made"),
        (None, "has no `resize`"),
    ],
)
def test_upscalers_that_break_a_rule_are_told_which(resize: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_upscaler_conforms(Upscaler("bad", "Bad", resize=resize))


def test_the_tiny_model_is_exact() -> None:
    """Euler's method with a thousand steps comes to where the formula says."""
    sigmas = torch.cat([torch.logspace(1, -2, 1000), torch.zeros(1)])
    x = torch.full((1, 4, 8, 8), 3.0)
    wanted = MEAN + (3.0 - MEAN) * SPREAD / (SPREAD**2 + 100.0) ** 0.5
    noise = torch.zeros_like(x)
    out = PLUGINS.sampler("Euler").sample(
        TinyModel(), x, sigmas, noise=lambda *_: noise, callback=lambda *_: None, s_churn=0.0, s_tmin=0.0, s_tmax=0.0,
        s_noise=1.0,
    )  # fmt: skip
    assert float((out - wanted).abs().max()) < 1e-3


Harm = Callable[[Any, torch.Tensor, torch.Tensor, Any, Any], torch.Tensor]


def loop(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, callback: Any, draw: Any = None) -> torch.Tensor:
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, x0)
        x = x + (x - x0) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
        if draw is not None:
            x = x + 0.01 * draw(x)
    return x


def deaf(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, callback: Any) -> torch.Tensor:
    def hears_nothing(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        try:
            denoised: Denoised = denoise(x, sigma)
            return denoised
        except Exception:
            return Denoised(x, None)

    return loop(hears_nothing, x, sigmas, callback)


def wasteful(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, callback: Any) -> torch.Tensor:
    for _ in range(5):
        loop(denoise, x, sigmas, lambda *_: None)
    return loop(denoise, x, sigmas, callback)


def private() -> Callable[[torch.Tensor], torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    return lambda x: torch.randn(x.shape, generator=source)


KEPT = private()
BAD: dict[str, Harm] = {
    "never called `callback`": lambda d, x, s, n, c: loop(d, x, s, lambda *_: None),
    "i rises by one from 0": lambda d, x, s, n, c: loop(d, x, s, lambda i, x0: c(i + 1, x0)),
    "latents stay float32": lambda d, x, s, n, c: loop(d, x, s, c).double(),
    "the shape": lambda d, x, s, n, c: loop(d, x, s, c)[:, :2],
    "not finite": lambda d, x, s, n, c: loop(d, x, s, c) * float("nan"),
    "must return latents": lambda d, x, s, n, c: None,  # type: ignore[dict-item,return-value]
    "changes the sigmas": lambda d, x, s, n, c: loop(d, x, s, c) + 0 * s.mul_(0.5)[0],
    "does not get rid of the noise": lambda d, x, s, n, c: loop(d, x, s, c) + 9,
    "random numbers of torch": lambda d, x, s, n, c: loop(d, x, s, c, torch.randn_like),
    "something else the second time": lambda d, x, s, n, c: loop(d, x, s, c, KEPT),
    "is not the single image": lambda d, x, s, n, c: loop(d, x, s, c) + 0.1 * (len(x) - 1),
    "swallows what `denoise` raises": lambda d, x, s, n, c: deaf(d, x, s, c),
    "but declares 1 calls a step": lambda d, x, s, n, c: wasteful(d, x, s, c),
    "failed: ZeroDivisionError": lambda d, x, s, n, c: x / (1 // 0),
}


@pytest.mark.parametrize("said", BAD)
def test_a_sampler_that_breaks_a_rule_is_told_which(said: str) -> None:
    def sample(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, *, noise: Any, callback: Any) -> torch.Tensor:
        return BAD[said](denoise, x, sigmas, noise, callback)

    with pytest.raises(AssertionError, match=said):
        assert_sampler_conforms(Sampler("bad", "Bad", sample))


@pytest.mark.parametrize(
    ("sigmas", "said"),
    [
        (lambda n, sampling: torch.linspace(10, 0, n + 1).double(), "sigmas are float32"),
        (lambda n, sampling: torch.linspace(10, 0, n), "sigmas for 1 steps"),
        (lambda n, sampling: torch.linspace(0, 10, n + 1), "does not fall"),
        (lambda n, sampling: torch.linspace(99, 0, n + 1), "above the model's noisiest level"),
        (lambda n, sampling: torch.full((n + 1,), float("nan")), "not finite"),
        (lambda n, sampling: [1.0, 0.0], "must return a tensor"),
    ],
)
def test_a_schedule_that_breaks_a_rule_is_told_which(sigmas: Callable[..., torch.Tensor], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_scheduler_conforms(Scheduler("bad", "Bad", sigmas))


def decode(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def test_formats_keep_the_picture() -> None:
    assert_saver_round_trip(PLUGINS.saver("png"), decode)
    assert_saver_round_trip(PLUGINS.saver("jpg"), decode, lossless=False)
    with pytest.raises(AssertionError, match="does not keep the picture"):
        assert_saver_round_trip(PLUGINS.saver("jpg"), decode)
    with pytest.raises(AssertionError, match="must return the file's bytes"):
        assert_saver_round_trip(OutputSaver("bad", "Bad", ".x", lambda image, infotext: b""), decode)


def test_transforms_and_postprocessors_use_the_given_numbers() -> None:
    assert_transform_conforms(PromptTransform("good", "Good", lambda p, rng, c: (PromptText(f"{rng.random()}"),)))
    with pytest.raises(AssertionError, match="something else for the same seed"):
        source = Random(3)
        assert_transform_conforms(PromptTransform("bad", "Bad", lambda p, r, c: (PromptText(f"{source.random()}"),)))
    assert_postprocessor_conforms(Postprocessor("good", "Good", lambda image, rng: 255 - image))
    with pytest.raises(AssertionError, match="changes the image it is given"):
        assert_postprocessor_conforms(Postprocessor("bad", "Bad", lambda image, rng: np.add(image, 1, out=image)))
    with pytest.raises(AssertionError, match="random numbers of numpy"), assert_no_global_rng():
        np.random.rand()


def test_an_extension_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nowhere")
    with pytest.raises(AssertionError, match=r"mine\.py cannot be loaded: .*nowhere"):
        load_extension(tmp_path / "mine.py")
