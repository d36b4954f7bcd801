"""Noise is A1111's: first draws, variations, resizing, Brownian motion; and each image has its own."""

import json
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchsde
from numpy.typing import NDArray
from torchsde._brownian import brownian_interval

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.plan import ImagePlan, choose, prepare
from sdterm.engine.brownian import BrownianNoise
from sdterm.engine.noise import BatchNoise, Generator, pasted, slerp
from sdterm.events import Image, Started, Step
from sdterm.request import GenerationRequest
from tests.engine.conftest import images, request
from tests.engine.test_golden import SAMPLER_ARRAYS, SAMPLER_RUNS, as_request, pixels, psnr
from tests.tiny_checkpoint import GOLDEN

CPU = torch.device("cpu")
SIGMA = torch.ones(())
PATHS = json.loads((GOLDEN / "brownian.json").read_text())
PATH_ARRAYS = np.load(GOLDEN / "brownian.npz")
NOISE_ARRAYS = np.load(GOLDEN / "noise.npz")
PICTURES: dict[str, dict[str, object]] = {
    "variations": {
        "sampler": "DPM++ 2M SDE",
        "noise_source": "CPU",
        "variation_seed": 99,
        "variation_strength": 0.25,
        "batch_size": 2,
        "batch_count": 2,
    },
    "nv ensd": {"sampler": "Euler a", "clip_skip": 2, "ensd": 31337},
    "seed resize 128->64": {
        "sampler": "DDIM",
        "noise_source": "CPU",
        "seed_resize_width": 128,
        "seed_resize_height": 128,
        "sampler_options": {"eta": 0.3},
    },
}


@pytest.mark.parametrize("run", [run for run in SAMPLER_RUNS if f"{run}/init_noise" in SAMPLER_ARRAYS])
def test_the_first_noise_is_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet) -> None:
    asked = as_request(SAMPLER_RUNS[run])
    plan = prepare(asked, choose(asked, plugins, tiny_engine.library), plugins, tiny_engine.library, {})
    golden = SAMPLER_ARRAYS[f"{run}/init_noise"]
    shape = (4, plan.height // 8, plan.width // 8)
    noise = BatchNoise(plan.images[: len(golden)], asked, shape, 8, CPU).first
    assert np.allclose(noise.numpy(), golden, atol=2e-6)


@pytest.mark.parametrize("run", ["seed/huge", "subseed/0.3-batch3", "seedresize/64->128"])
def test_later_noise_is_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet) -> None:
    asked = as_request(SAMPLER_RUNS[f"extras/{run}"])
    plan = prepare(asked, choose(asked, plugins, tiny_engine.library), plugins, tiny_engine.library, {})
    golden = NOISE_ARRAYS[f"{run}/step_noise"]
    noise = BatchNoise(plan.images, asked, golden.shape[2:], 8, CPU)
    drawn = [noise(SIGMA, SIGMA).numpy() for _ in golden]
    assert np.allclose(drawn, golden, atol=2e-6)


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_from_varied_moved_and_resized_noise_are_a1111s(
    picture: str, tiny_engine: Engine, plugins: PluginSet
) -> None:
    asked = GenerationRequest.model_validate(
        {"prompt": "fox", "seed": 1234567, "steps": 10, "width": 64, "height": 64} | PICTURES[picture]
    )
    drawn = images(list(tiny_engine.run(asked, plugins)))
    assert all(
        psnr(pixels(image.data), golden) >= 45 for image, golden in zip(drawn, NOISE_ARRAYS[picture], strict=True)
    )


@pytest.mark.parametrize("source", ["NV", "CPU", "GPU"])
@pytest.mark.parametrize("ensd", [-(2**63), -1, 2**63 - 1])
def test_a_seed_of_any_size_draws(source: str, ensd: int) -> None:
    noise = _noise([0, 2**63 + 1000], noise_source=source, ensd=ensd)
    assert torch.isfinite(noise.first).all() and torch.isfinite(noise(SIGMA, SIGMA)).all()


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


def test_torchsde_stays_as_it_is_for_everybody_else() -> None:
    def theirs() -> torch.Tensor:
        return torchsde.BrownianTree(0.0, torch.zeros(4, 8, 8), 1.0, entropy=5)(0.25, 0.5)

    before = theirs()
    motion = BrownianNoise([5], "NV", (4, 8, 8), torch.tensor([1.0, 0.1, 0.0]), CPU)
    motion(torch.tensor(0.9), torch.tensor(0.4))
    assert torch.equal(theirs(), before)
    assert brownian_interval._randn.__module__ == brownian_interval.__name__


def test_asking_a_motion_for_its_very_ends_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    path = PATHS["DPM++ SDE|Karras"]
    ends = torch.tensor([path["sigma_max"], path["sigma_min"]])
    assert torch.isfinite(BrownianNoise([5], "CPU", (4, 8, 8), ends, CPU)(*ends)).all()
    assert not [str(each.message) for each in recwarn if "torchsde" in each.filename]


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


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    """The built-ins, and samplers that leave the first latents as they are."""
    folder = tmp_path_factory.mktemp("extensions")
    (folder / "still.py").write_text(STILL)
    return load_plugins(folder)


STILL = """
from sdterm.hooks import Sampler, hookimpl


@hookimpl
def sdterm_samplers():
    def still(denoise, x, sigmas, *, noise, callback):
        callback(0, denoise(x, sigmas[0].expand(len(x))).x0)
        return x

    return [Sampler("still", "Still", still), Sampler("unit", "Unit", still, start="unit")]
"""


def _start(
    engine: Engine, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch, **changes: object
) -> tuple[NDArray[Any], NDArray[Any]]:
    """What sampling starts from, and the noise in it as A1111 draws it."""
    finished: list[torch.Tensor] = []
    decode = engine._decode

    def seen(job: Any, latents: torch.Tensor, emit: Any) -> Any:
        finished.append(latents)
        return decode(job, latents, emit)

    monkeypatch.setattr(engine, "_decode", seen)
    asked = as_request(SAMPLER_RUNS["Euler|Uniform"]).model_copy(update=changes)
    list(engine.run(asked, plugins))
    return finished[0].numpy(), SAMPLER_ARRAYS["Euler|Uniform/init_noise"][0]


@pytest.mark.parametrize(
    ("sampler", "multiplier", "scale"),
    [
        ("still", False, lambda sigma: sigma),
        ("still", True, lambda sigma: (1 + sigma**2) ** 0.5),
        ("unit", False, lambda sigma: 1.0),
        ("unit", True, lambda sigma: 1.0),
    ],
)
def test_the_first_noise_is_scaled_to_the_first_sigma_or_as_stability_does(
    sampler: str,
    multiplier: bool,
    scale: Callable[[float], float],
    tiny_engine: Engine,
    still: PluginSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, noise = _start(tiny_engine, still, monkeypatch, sampler=sampler, sgm_noise_multiplier=multiplier)
    assert np.allclose(start, noise * scale(SAMPLER_ARRAYS["Euler|Uniform/sigmas"][0]), rtol=1e-6)


def test_downcast_alphas_start_from_the_sigma_of_half_precision(
    tiny_engine: Engine, still: PluginSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, noise = _start(tiny_engine, still, monkeypatch, sampler="still", downcast_alphas=True)
    last = np.float16(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[-1])  # SD 1's levels
    halved = float(np.sqrt((np.float16(1) - last) / last))
    assert np.allclose(start, noise * halved, rtol=1e-4)
    assert abs(halved - 14.6146) > 1e-3, "else this would not tell the two apart"
