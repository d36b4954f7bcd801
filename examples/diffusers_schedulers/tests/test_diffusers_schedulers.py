"""Every scheduler of diffusers is offered or left out for a reason; each that is offered draws."""

import shutil
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.events import Failed, Image
from sdterm.hooks import Denoised, Sampler

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' own use of numpy

HERE = Path(__file__).parents[1]
NAMES = [
    line.split('"')[1]
    for line in (HERE / "offered.py").read_text().splitlines()
    if line.startswith('    "') and "Off" in line
]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    shutil.copytree(HERE, folder / "diffusers_schedulers")
    loaded = load_plugins(folder)
    assert not loaded.problems
    return loaded


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(library=Library(tmp_path_factory.mktemp("data")), device="cpu")


def tables(plugins: PluginSet) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    (mine,) = (plugin for plugin in plugins.plugins if plugin.source.slug == "diffusers_schedulers")
    module = next(m for name, m in sys.modules.items() if mine.source.digest in name and name.endswith(".offered"))
    return module.OFFERED, module.LEFT_OUT


def test_every_scheduler_of_diffusers_is_offered_or_left_out_for_a_reason(plugins: PluginSet) -> None:
    from diffusers import schedulers

    offered, left_out = tables(plugins)
    known = {each.scheduler for each in offered.values()}
    there = {name for name in dir(schedulers) if name.endswith("Scheduler") and not name.startswith("Flax")}
    there -= {"KarrasDiffusionScheduler", "SchedulerMixin"}
    assert not known & {*left_out} and there == known | {*left_out}
    assert sorted(NAMES) == sorted(offered)


def draw(engine: Engine, plugins: PluginSet, name: str, **fields: object) -> list[np.ndarray]:
    small = {"prompt": "red circle, blue background", "seed": 7, "steps": 6, "width": 64, "height": 64}
    request = GenerationRequest.model_validate({**small, "sampler": f"diffusers {name}", **fields})
    events = [*engine.run(request, plugins)]
    assert not isinstance(events[-1], Failed), events[-1]
    images = [event for event in events if isinstance(event, Image)]
    return [np.asarray(Picture.open(BytesIO(image.data))).astype(int) for image in images]


@pytest.mark.parametrize("name", [*NAMES[:4], *(pytest.param(name, marks=pytest.mark.heavy) for name in NAMES[4:])])
def test_each_draws_what_the_prompt_says_and_each_image_by_itself(
    name: str, engine: Engine, plugins: PluginSet
) -> None:
    first, second = draw(engine, plugins, name, batch_size=2, seed=9)
    (alone,) = draw(engine, plugins, name, seed=10)
    assert np.abs(second - alone).max() <= 2, "image 2 of a batch is the single image with its seed"
    assert not np.array_equal(first, second)
    corners = np.concatenate([alone[:6, :6], alone[-6:, -6:]]).reshape(-1, 3).mean(axis=0)
    assert corners[2] > corners[0] and corners[2] > corners[1], "the background is blue"


class Levels:
    """The noise levels of Stable Diffusion 1.x."""

    def __init__(self) -> None:
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = (1 - betas).cumprod(0)
        self.sigmas = ((1 - kept) / kept).sqrt().float()
        self.sigma_min, self.sigma_max = float(self.sigmas[0]), float(self.sigmas[-1])

    def t_to_sigma(self, t: torch.Tensor) -> torch.Tensor:
        low = t.floor().long().clamp(max=999)
        high = (low + 1).clamp(max=999)
        logs = self.sigmas.log()
        return (logs[low] + (logs[high] - logs[low]) * (t - low)).exp()

    def noise_scaling(self, sigma: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def sigma_to_t(self, sigma: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("name", NAMES)
def test_each_leads_data_of_a_known_distribution_to_it(name: str, plugins: PluginSet) -> None:
    """Data spread normally around 1 with a deviation of 0.5, for which the ideal network is known: whatever the
    scheduler, what comes out must be spread so. In 60 steps; a wrong noise level or scale anywhere shows at once."""
    mean, deviation, levels = 1.0, 0.5, Levels()
    sampler: Sampler = plugins.sampler(f"diffusers_{name}")
    assert sampler.own_sigmas
    sigmas = sampler.own_sigmas(60, levels)
    assert sigmas.dtype == torch.float32 and sigmas[-1] == 0 and not (sigmas[1:] > sigmas[:-1]).any()
    source = torch.Generator().manual_seed(0)

    def ideal(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        share = deviation**2 / (deviation**2 + sigma[:, None, None, None] ** 2)
        return Denoised(mean + share * (x - mean), None)

    def noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        return torch.randn(1, 4, 24, 24, generator=source)

    steps: list[int] = []
    start = noise(sigmas[0], sigmas[1])
    end = sampler.sample(ideal, start, sigmas, noise=noise, callback=lambda i, x0: steps.append(i), sampling=levels)
    assert steps == list(range(len(sigmas) - 1))
    assert abs(end.mean() - mean) < 0.1
    if name not in ("lcm", "tcd"):  # they jump to the end and back, as a distilled network can
        assert abs(end.std() - deviation) < 0.1, float(end.std())
