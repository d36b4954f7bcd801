"""The noise that A1111 draws: its generators, variations, resized seeds, later draws, Brownian motions."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
import torchsde

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.planning.plan import ImagePlan
from sdterm.engine import philox
from sdterm.engine.brownian import brownian_noise
from sdterm.engine.noise import Source, batch_noise, generator, pasted, slerp
from sdterm.engine.tape import read_header
from sdterm.events import Image
from sdterm.hooks import Noise
from sdterm.modelling.sampling import DiscreteSampling
from tests.engine.conftest import images
from tests.engine.conftest import request as small
from tests.engine.golden import RUNS, array, as_plan, as_request, distance, final_latents, has, pixels
from tests.tiny_checkpoint import GOLDEN

BROWNIAN = json.loads((GOLDEN / "brownian.json").read_text())
BROWNIAN_ARRAYS = np.load(GOLDEN / "brownian.npz")
LATER_NOISE = np.load(GOLDEN / "noise.npz")  # the three draws after the first, by run
CPU = torch.device("cpu")
SHAPE = (4, 8, 8)
SIGMA = torch.tensor(1.0)


def noise_of(request: GenerationRequest, *seeds: tuple[int, int]) -> tuple[torch.Tensor, Noise]:
    plans = [ImagePlan(seed=seed, variation_seed=other, prompt="", negative_prompt="") for seed, other in seeds]
    return batch_noise(plans, request, SHAPE, 8, CPU)


def motion(case: str, seeds: list[int] | None = None, source: Source | None = None) -> Noise:
    known = BROWNIAN[case]
    sigmas = torch.tensor([known["sigma_max"], known["sigma_min"], 0.0])
    return brownian_noise(seeds or known["seed"], source or ("NV" if "NV" in case else "CPU"), SHAPE, CPU, sigmas)


def steps(case: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(a, b) for a, b in torch.from_numpy(BROWNIAN_ARRAYS[f"{case}/sigma_pairs"]).float()]


def test_philox_draws_what_a_cuda_card_draws() -> None:
    first = philox.normal(0, 0, (3, 4)).flatten()[:4]
    assert first.tolist() == pytest.approx([-0.92466259, -0.42534415, -2.6438457, 0.14518388], abs=1e-6)


@pytest.mark.parametrize(
    "run", ["Euler|Karras", *(run for run in RUNS if has(run, "init_noise") and run.startswith("extras/"))]
)
def test_the_first_noise_is_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet) -> None:
    golden = array(run, "init_noise")
    request = as_request(run, sampler="Euler", scheduler="Automatic", sampler_options={})
    plan = as_plan(request, tiny_engine, plugins)
    start, _ = batch_noise(plan.images[: len(golden)], request, golden.shape[1:], 8, CPU)
    if request.variation_strength:
        assert distance(start.numpy(), golden) < 1e-6
    else:
        assert np.array_equal(start.numpy(), golden)


@pytest.mark.parametrize("run", LATER_NOISE)
def test_the_noise_after_the_first_is_a1111s(run: str, tiny_engine: Engine, plugins: PluginSet) -> None:
    golden = LATER_NOISE[run]
    request = as_request(f"extras/{run}")
    _, later = batch_noise(as_plan(request, tiny_engine, plugins).images, request, golden.shape[2:], 8, CPU)
    assert all(np.array_equal(later(SIGMA, SIGMA).numpy(), each) for each in golden)


def test_without_a_gpu_its_generator_is_the_cpus() -> None:
    golden = array("Euler|Karras", "init_noise")[0]
    assert np.array_equal(generator(1234567, "GPU", CPU)(golden.shape).numpy(), golden)
    assert np.array_equal(generator(1234567, "GPU", torch.device("mps"))(golden.shape).numpy(), golden)


def test_ensd_changes_all_noise_but_the_first() -> None:
    plain, moved = as_request("Euler|Karras"), as_request("Euler|Karras", ensd=2)
    (start, later), (same, other) = (noise_of(request, (1234567, 0)) for request in (plain, moved))
    assert torch.equal(start, same)
    golden = array("extras/single/+2", "init_noise")  # the first numbers of the seed plus two
    assert np.array_equal(other(SIGMA, SIGMA).numpy(), golden)
    assert not np.array_equal(later(SIGMA, SIGMA).numpy(), golden)


@pytest.mark.parametrize("source", ["NV", "CPU", "GPU"])
@pytest.mark.parametrize("ensd", [-(2**63), -1, 2**63 - 1])
def test_seeds_of_every_size_draw(source: Source, ensd: int) -> None:
    request = as_request("Euler|Karras", noise_source=source, ensd=ensd)
    for seed in (0, 2**63 + 1000):
        start, later = noise_of(request, (seed, 0))
        assert torch.isfinite(start).all() and torch.isfinite(later(SIGMA, SIGMA)).all()


def test_a_seed_below_0_is_one_of_64_bits() -> None:
    on_cpu = generator(-2, "CPU", CPU)(SHAPE)
    assert torch.equal(on_cpu, torch.randn(SHAPE, generator=torch.Generator().manual_seed(-2)))
    assert torch.equal(on_cpu, generator(2**64 - 2, "CPU", CPU)(SHAPE))
    assert torch.equal(generator(-2, "NV", CPU)(SHAPE), generator(2**64 - 2, "NV", CPU)(SHAPE))


def test_noises_that_point_the_same_way_are_mixed_with_the_weights_exchanged() -> None:
    low = generator(1, "CPU", CPU)(SHAPE)
    high = low * 2
    assert torch.equal(slerp(0.25, low, high), low * 0.25 + high * 0.75)


def test_a_variation_of_full_strength_is_the_other_noise() -> None:
    low, high = generator(1, "CPU", CPU)(SHAPE), generator(2, "CPU", CPU)(SHAPE)
    assert torch.allclose(slerp(1.0, low, high), high, atol=1e-5) and torch.equal(slerp(0.0, low, high), low)


@pytest.mark.parametrize(
    ("size", "covered"),
    [(0, []), (1, [3]), (2, [3, 4]), (5, [1, 2, 3, 4, 5]), (9, range(7)), (11, range(7)), (12, range(8))],
)
def test_noise_of_another_size_lies_in_the_middle_and_an_odd_surplus_leaves_a_border(
    size: int, covered: list[int]
) -> None:
    high = pasted(torch.ones(4, size, 8), canvas := torch.zeros(SHAPE))
    wide = pasted(torch.ones(4, 8, size), canvas)
    assert high[0].all(1).nonzero().flatten().tolist() == list(covered)
    assert torch.equal(wide, high.transpose(1, 2)) and not canvas.any()


@pytest.mark.parametrize("case", BROWNIAN)
def test_brownian_noise_is_a1111s(case: str) -> None:
    noise = motion(case)
    for (sigma, sigma_next), golden in zip(steps(case), BROWNIAN_ARRAYS[f"{case}/noise"], strict=True):
        assert np.array_equal(noise(sigma, sigma_next).numpy(), golden)


@pytest.mark.parametrize("source", ["NV", "CPU"])
def test_an_images_brownian_motion_is_its_own_whatever_is_drawn_beside_or_before_it(source: Source) -> None:
    pairs = steps("DPM++ 2M SDE|Karras")
    batch = motion("DPM++ 2M SDE|Karras", [5, 6, 7], source)
    together = [batch(*pair) for pair in pairs]
    alone = motion("DPM++ 2M SDE|Karras", [6], source)
    backwards = [alone(*pair) for pair in reversed(pairs)][::-1]
    assert all(torch.equal(all_[1], one[0]) for all_, one in zip(together, backwards, strict=True))


def test_torchsde_stays_as_it_is_for_everybody_else() -> None:
    def their_own() -> torch.Tensor:
        drawn: torch.Tensor = torchsde.BrownianTree(0.0, torch.zeros(SHAPE), 1.0, entropy=3)(0.25, 0.5)
        return drawn

    before = their_own()
    with ThreadPoolExecutor(3) as pool:
        drawn = [
            pool.submit(lambda s: motion("DPM++ SDE|NV", [1], s)(*steps("DPM++ SDE|NV")[0]), s) for s in ("NV", "CPU")
        ]
        assert torch.equal(pool.submit(their_own).result(), before)
    nv, cpu = (each.result() for each in drawn)
    assert not torch.equal(nv, cpu) and torch.equal(their_own(), before)


def test_beyond_the_schedule_brownian_noise_is_the_schedules() -> None:
    noise = motion("DPM++ SDE|Karras")
    low, middle = torch.tensor(0.0), torch.tensor(1.0)
    assert torch.isfinite(noise(middle, low)).all()


def test_half_precision_rounds_every_step_to_a_sigma() -> None:
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).astype(np.float16)  # SD 1's
    one = np.float16(1)
    sampling = DiscreteSampling(torch.from_numpy(alphas))
    assert np.array_equal(sampling.sigmas.numpy(), np.sqrt((one - alphas) / alphas).astype(np.float32))
    assert sampling.sigmas.dtype == sampling.log_sigmas.dtype == torch.float32


# --- in the engine ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_still(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    """The built-ins, samplers that leave the first latents as they are, and one that gives its last noise."""
    folder = tmp_path_factory.mktemp("extensions")
    code = """
        from sdterm.hooks import Sampler, hookimpl

        @hookimpl
        def sdterm_samplers():
            def still(denoise, x, sigmas, *, noise, callback):
                callback(0, denoise(x, sigmas[0].expand(len(x))).x0)
                return x

            def motion(denoise, x, sigmas, *, noise, callback):
                for i in range(len(sigmas) - 2):
                    x = noise(sigmas[i], sigmas[i + 1])
                return x

            return [
                Sampler("still", "Still", still),
                Sampler("unit", "Still unit", still, start="unit"),
                Sampler("motion", "Motion", motion, noise="brownian"),
            ]
    """
    (folder / "still.py").write_text(dedent(code))
    return load_plugins(folder)


def final(engine: Engine, plugins: PluginSet, **changes: object) -> np.ndarray:
    """What the sampler made of the golden run's request with changes."""
    with final_latents(engine) as kept:
        list(engine.run(as_request("Euler|Karras", **changes), plugins))
    return np.stack(kept)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"sampler": "still"}, lambda sigma: sigma),
        ({"sampler": "still", "sgm_noise_multiplier": True}, lambda sigma: (1 + sigma**2) ** 0.5),
        ({"sampler": "unit"}, lambda sigma: 1.0),
        ({"sampler": "unit", "sgm_noise_multiplier": True}, lambda sigma: 1.0),
    ],
    ids=["sigma", "sigma, SGM", "unit", "unit, SGM"],
)
def test_sampling_starts_from_noise_of_the_first_sigma(
    changes: dict[str, Any], scale: Callable[[float], float], tiny_engine: Engine, with_still: PluginSet
) -> None:
    golden = array("Euler|Karras", "init_noise") * scale(array("Euler|Karras", "sigmas")[0])
    start = final(tiny_engine, with_still, **changes)
    assert np.allclose(start, golden, rtol=1e-6, atol=0)


def test_a_brownian_sampler_walks_its_whole_schedule(tiny_engine: Engine, with_still: PluginSet) -> None:
    (latents,) = final(tiny_engine, with_still, sampler="motion")
    assert distance(latents, BROWNIAN_ARRAYS["DPM++ 2M SDE|Karras/noise"][-1, 0]) < 1e-4
    last = final(tiny_engine, with_still, sampler="motion", steps=1)
    assert np.isfinite(last).all(), "a walk of no length is never asked for"
    both = final(tiny_engine, with_still, sampler="motion", batch_size=2)
    assert distance(both, BROWNIAN_ARRAYS["DPM++ 2M SDE|batch2/noise"][-1]) < 1e-4


def test_downcast_alphas_moves_the_schedule(tiny_engine: Engine, with_still: PluginSet) -> None:
    start = final(tiny_engine, with_still, sampler="still", downcast_alphas=True)
    sigma = start / array("Euler|Karras", "init_noise")
    last = np.float16(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[-1])
    halved = np.sqrt((np.float16(1) - last) / last)
    assert np.allclose(sigma, float(halved), rtol=1e-5) and not np.isclose(float(halved), 14.6146, rtol=1e-4)


def test_a_random_variation_is_drawn_once_however_often_a_run_is_resumed(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    tape = tmp_path / "tape"
    asked = small(seed=-1, variation_strength=0.5, batch_count=2)
    started = engine.run(asked, plugins, tape=tape)
    first = next(event for event in started if isinstance(event, Image))
    next(started)  # the image is taken
    started.close()
    (second,) = images(list(engine.run(asked, plugins, tape=tape)))
    planned = (read_header(tape) or {})["prompt or seed"]
    assert [planned[0]["seed"]] * 2 == [first.seed, second.seed] and planned[1]["variation_seed"] != 0
    told = asked.model_copy(update={"seed": first.seed, "variation_seed": planned[0]["variation_seed"]})
    assert [image.data for image in images(list(engine.run(told, plugins)))] == [first.data, second.data]
    assert first.data != second.data


def test_a_batch_with_variations_is_its_single_images(engine: Engine, plugins: PluginSet) -> None:
    fields = {"variation_strength": 0.4, "seed_resize_width": 128, "seed_resize_height": 96, "ensd": 31337}
    batch = images(list(engine.run(small(sampler="Euler a", variation_seed=90, batch_size=2, **fields), plugins)))
    (second,) = images(list(engine.run(small(sampler="Euler a", variation_seed=91, **fields), plugins)))
    assert batch[1].seed == second.seed == batch[0].seed
    assert np.abs(pixels(batch[1].data).astype(int) - pixels(second.data)).max() <= 1
