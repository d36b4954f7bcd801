"""ER-SDE: its order without noise, its distribution with it, and pictures."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.events import Failed, Image
from sdterm.hooks import Denoised


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    shutil.copytree(Path(__file__).parents[1], folder / "er_sde")
    loaded = load_plugins(folder)
    assert not loaded.problems
    return loaded


def ideal(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
    """The best prediction for data of unit variance."""
    return Denoised(x / (1 + sigma[:, None, None, None] ** 2), None)


def none(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
    raise AssertionError("the ODE draws nothing")


def test_without_noise_the_error_falls_with_the_order(plugins: PluginSet) -> None:
    """From sigma 1000 to 0.1, where the ODE's solution is known: x / sqrt(1 + sigma^2) stays what it is. The third
    stage as published takes its first derivative from one side, so that it falls like the second, from lower down."""
    sample = plugins.sampler("ER SDE").sample
    start = torch.full((1, 4, 1, 1), 1000.0, dtype=torch.float64)

    def error(order: int, steps: int) -> float:
        sigmas = 10 ** torch.linspace(3, -1, steps + 1, dtype=torch.float64)
        called: list[int] = []
        end = sample(ideal, start, sigmas, noise=none, callback=lambda i, x0: called.append(i), ode=True, order=order)
        assert called == list(range(steps))
        true = start * ((1 + 0.1**2) / (1 + 1000.0**2)) ** 0.5
        return float((end - true).abs().max())

    for order, least in ((1, 1.9), (2, 3.6), (3, 3.6)):
        assert least < error(order, 80) / error(order, 160) < least * 1.35
    assert error(3, 80) < error(2, 80) * 0.75 and error(2, 80) < error(1, 80) / 4


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_noise_that_it_adds_leaves_the_right_spread(order: int, plugins: PluginSet) -> None:
    """Started from the distribution at sigma 10, data of unit variance must come out with unit variance."""
    source = torch.Generator().manual_seed(1)
    draws: list[float] = []

    def noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        assert sigma > sigma_next
        draws.append(float(sigma))
        return torch.randn(1, 4, 100, 100, generator=source)

    start = torch.randn(1, 4, 100, 100, generator=source) * (1 + 10.0**2) ** 0.5
    sigmas = torch.cat([10 ** torch.linspace(1, -1.5, 80), torch.zeros(1)])
    sample = plugins.sampler("ER SDE").sample
    end = sample(ideal, start, sigmas, noise=noise, callback=lambda i, x0: None, order=order)
    assert end.dtype == torch.float32 and len(draws) == 79
    assert abs(float(end.std()) - 1) < 0.03 and abs(float(end.mean())) < 0.03


def test_pictures_are_drawn_each_by_itself(plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")

    def draw(**fields: object) -> list[np.ndarray]:
        small = {"prompt": "red circle", "seed": 7, "steps": 4, "width": 64, "height": 64, "sampler": "er sde"}
        events = [*engine.run(GenerationRequest.model_validate(small | fields), plugins)]
        assert not isinstance(events[-1], Failed), events[-1]
        images = [event for event in events if isinstance(event, Image)]
        return [np.asarray(Picture.open(BytesIO(image.data))).astype(int) for image in images]

    (alone,) = draw()
    assert np.abs(draw(seed=6, batch_size=2)[1] - alone).max() <= 1
    assert not np.array_equal(draw(sampler_options={"ode": True})[0], alone)
    assert np.array_equal(
        draw(sampler_options={"s_noise": 0, "order": 2})[0], draw(sampler_options={"order": 2, "s_noise": 0})[0]
    )
