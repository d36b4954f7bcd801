"""Noise is A1111's: first draws, variations, resizing, Brownian motion; and each image has its own."""

import json
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from sdterm import Engine, PluginSet
from sdterm.core.plan import ImagePlan, choose, prepare
from sdterm.engine.brownian import BrownianNoise
from sdterm.engine.noise import BatchNoise, Generator, pasted, slerp
from sdterm.events import Image, Started, Step
from sdterm.request import GenerationRequest
from tests.engine.conftest import images, request
from tests.engine.test_golden import SAMPLER_ARRAYS, SAMPLER_RUNS, as_request
from tests.tiny_checkpoint import GOLDEN

CPU = torch.device("cpu")
PATHS = json.loads((GOLDEN / "brownian.json").read_text())
PATH_ARRAYS = np.load(GOLDEN / "brownian.npz")


@pytest.mark.parametrize("run", [run for run in SAMPLER_RUNS if f"{run}/init_noise" in SAMPLER_ARRAYS])
def test_the_first_noise_is_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet) -> None:
    asked = as_request(SAMPLER_RUNS[run])
    plan = prepare(asked, choose(asked, plugins, tiny_engine.library), plugins, tiny_engine.library, {})
    golden = SAMPLER_ARRAYS[f"{run}/init_noise"]
    shape = (4, plan.height // 8, plan.width // 8)
    noise = BatchNoise(plan.images[: len(golden)], asked, shape, 8, CPU).first
    assert np.allclose(noise.numpy(), golden, atol=2e-6)


def _noise(seeds: list[int], **fields: object) -> BatchNoise:
    plans = [ImagePlan(seed=seed, variation_seed=9, prompt="", negative_prompt="") for seed in seeds]
    return BatchNoise(plans, request(**fields), (4, 8, 8), 8, CPU)


@pytest.mark.parametrize("source", ["NV", "CPU", "GPU"])
def test_every_draw_of_an_image_is_the_same_alone_and_in_a_batch(source: str) -> None:
    together, alone = _noise([3, 4, 5], noise_source=source), _noise([4], noise_source=source)
    assert torch.equal(together.first[1], alone.first[0])
    sigma = torch.ones(())
    for _ in range(3):
        assert torch.equal(together(sigma, sigma)[1], alone(sigma, sigma)[0])


def test_ensd_leaves_the_first_noise_and_moves_the_seed_of_all_later() -> None:
    moved, plain, other = _noise([3], ensd=31337), _noise([3]), _noise([3 + 31337])
    sigma = torch.ones(())
    assert torch.equal(moved.first, plain.first)
    assert torch.equal(moved(sigma, sigma), other.first), "the generator starts again at seed + ENSD"


def test_noises_that_are_nearly_one_are_mixed_straight_and_the_other_way_round() -> None:
    low = Generator(1, "CPU", CPU).draw((4, 8, 8))
    high = low + 1e-4
    assert torch.allclose(slerp(0.25, low, high), low * 0.25 + high * 0.75)


def test_smaller_noise_lies_in_the_middle_and_larger_is_cut() -> None:
    onto = torch.zeros(4, 8, 8)
    small = pasted(torch.ones(4, 4, 6), onto)
    assert small.sum() == 4 * 4 * 6 and small[0, 2:6, 1:7].all()
    large = pasted(torch.arange(100.0).view(1, 10, 10).expand(4, 10, 10), onto)
    assert torch.equal(large[0], torch.arange(100.0).view(10, 10)[1:9, 1:9])


@pytest.mark.parametrize("case", PATHS)
def test_brownian_motion_is_a1111s(case: str) -> None:
    path = PATHS[case]
    sigmas = torch.tensor([path["sigma_max"], path["sigma_min"], 0.0])
    noise = BrownianNoise(path["seed"], "NV" if case.endswith("NV") else "CPU", (4, 8, 8), sigmas, CPU)
    pairs, golden = PATH_ARRAYS[f"{case}/sigma_pairs"], PATH_ARRAYS[f"{case}/noise"]
    for (sigma, sigma_next), increment in zip(pairs, golden, strict=True):
        assert np.allclose(noise(torch.tensor(sigma), torch.tensor(sigma_next)).numpy(), increment, atol=2e-6)


def test_brownian_motion_is_the_same_from_several_threads_with_several_sources() -> None:
    sigmas = torch.tensor([14.6, 0.03, 0.0])

    def walk(source: str) -> list[torch.Tensor]:
        noise = BrownianNoise([5], source, (4, 8, 8), sigmas, CPU)  # type: ignore[arg-type]
        levels = torch.linspace(14.6, 0.03, 12)
        return [noise(a, b) for a, b in pairwise(levels)]

    alone = {source: walk(source) for source in ("NV", "CPU")}
    together: dict[str, list[torch.Tensor]] = {}
    threads = [
        threading.Thread(target=lambda source=source: together.update({source: walk(source)})) for source in alone
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for source, path in alone.items():
        assert all(torch.equal(a, b) for a, b in zip(path, together[source], strict=True))


def test_variations_share_a_seed_and_count_their_own(engine: Engine, plugins: PluginSet) -> None:
    asked = request(batch_size=2, variation_strength=0.5, variation_seed=40)
    plan = prepare(asked, choose(asked, plugins, engine.library), plugins, engine.library, {})
    assert [(image.seed, image.variation_seed) for image in plan.images] == [(7, 40), (7, 41)]


def test_a_drawn_variation_seed_survives_a_stop(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    tape = tmp_path / "run.tape"
    asked: GenerationRequest = request(seed=-1, variation_strength=0.5, steps=3)
    run = engine.run(asked, plugins, tape=tape)
    began = next(event for event in run if isinstance(event, Step))
    run.close()
    assert began.step == 1
    resumed = list(engine.run(asked, plugins, tape=tape))
    (image,) = images(resumed)
    variation = _recorded(image)
    started = next(event for event in resumed if isinstance(event, Started))
    again = request(seed=started.seed, variation_strength=0.5, variation_seed=variation, steps=3)
    (same,) = images(list(engine.run(again, plugins)))
    assert same.data == image.data


def _recorded(image: Image) -> int:
    from sdterm.core import infotext

    return int(infotext.parse(image.infotext).parameters["Variation seed"])
