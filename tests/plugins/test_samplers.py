"""Each sampler against k-diffusion's own module, or against the paths that A1111 itself took."""

import importlib.util
import sys
from collections.abc import Callable
from inspect import signature
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sdterm import load_plugins
from sdterm.core.extensions.registry import check_options
from sdterm.hooks import Denoised, PluginError, Sampler
from tests.plugins.test_schedulers import SD1
from tests.tiny_checkpoint import GOLDEN

PLUGINS = load_plugins()
SHAPE = (2, 4, 8, 8)
TRACES = np.load(GOLDEN / "traces.npz")


@pytest.fixture(scope="module")
def kdiffusion() -> ModuleType:
    """k_diffusion.sampling alone: the package's front door imports a training framework."""
    package = importlib.util.find_spec("k_diffusion")
    assert package and package.submodule_search_locations
    door, utils, odes = (ModuleType(name) for name in ("k_diffusion", "k_diffusion.utils", "torchdiffeq"))
    door.__path__ = [*package.submodule_search_locations]
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]  # type: ignore[attr-defined]
    door.utils = utils  # type: ignore[attr-defined]
    odes.odeint = None  # type: ignore[attr-defined]  # for likelihoods, which no sampler asks for
    with pytest.MonkeyPatch.context() as patched:
        for module in (door, utils, odes):
            patched.setitem(sys.modules, module.__name__, module)
        return importlib.import_module("k_diffusion.sampling")


def predicted(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """A denoiser with a curved path: the exact one for data of variance 0.25 around a pattern, and a bend."""
    s = sigma.view(-1, 1, 1, 1)
    pattern = torch.linspace(-1, 1, 64).view(8, 8)
    return (0.25 * x + s**2 * pattern) / (0.25 + s**2) + 0.1 * torch.sin(3 * x / (1 + s))


class Draws:
    """The same noise for both: the k-th draw, whatever it is for."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def __call__(self, *_: Any, **__: Any) -> torch.Tensor:
        return torch.randn(SHAPE, generator=self.generator)


def ours(name: str, sigmas: torch.Tensor, x: torch.Tensor, noise: Callable[..., torch.Tensor], **options: Any) -> Any:
    sampler = PLUGINS.sampler(name)
    steps: list[int] = []
    result = sampler.sample(
        lambda x, sigma: Denoised(predicted(x, sigma), None),
        x,
        sigmas,
        noise=noise,
        callback=lambda i, denoised: steps.append(i),
        **check_options(name, sampler.options, options),
    )
    return result, steps


# name → (k-diffusion's function, its arguments, ours)
PEERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Euler": ("sample_euler", {}, {}),
    "Euler a": ("sample_euler_ancestral", {}, {}),
    "Euler a, eta 0.5": ("sample_euler_ancestral", {"eta": 0.5, "s_noise": 1.01}, {"eta": 0.5, "s_noise": 1.01}),
    "Heun": ("sample_heun", {}, {}),
    "DPM2": ("sample_dpm_2", {}, {}),
    "DPM2 a": ("sample_dpm_2_ancestral", {}, {}),
    "LMS": ("sample_lms", {}, {}),
    "DPM++ 2S a": ("sample_dpmpp_2s_ancestral", {}, {}),
    "DPM++ 2S a, eta 0": ("sample_dpmpp_2s_ancestral", {"eta": 0}, {"eta": 0}),
    "DPM++ SDE": ("sample_dpmpp_sde", {}, {}),
    "DPM++ SDE, eta 0.4": ("sample_dpmpp_sde", {"eta": 0.4}, {"eta": 0.4}),
    "DPM++ 2M": ("sample_dpmpp_2m", {}, {}),
    "DPM++ 2M SDE": ("sample_dpmpp_2m_sde", {}, {}),
    "DPM++ 2M SDE Heun": ("sample_dpmpp_2m_sde", {"solver_type": "heun"}, {}),
    "DPM++ 3M SDE": ("sample_dpmpp_3m_sde", {}, {}),
    "DPM++ 3M SDE, eta 0": ("sample_dpmpp_3m_sde", {"eta": 0}, {"eta": 0}),
}


@pytest.mark.parametrize("case", PEERS)
def test_a_sampler_computes_what_k_diffusions_does(case: str, kdiffusion: ModuleType) -> None:
    function, arguments, options = PEERS[case]
    name = case.split(",")[0]
    sigmas = kdiffusion.get_sigmas_karras(12, SD1.sigma_min, SD1.sigma_max)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) * sigmas[0]
    if "noise_sampler" in signature(getattr(kdiffusion, function)).parameters:
        arguments = arguments | {"noise_sampler": Draws()}
    theirs = getattr(kdiffusion, function)(_model(), x.clone(), sigmas, disable=True, **arguments)
    result, steps = ours(name, sigmas, x, Draws(), **options)
    assert torch.allclose(result, theirs, rtol=1e-4, atol=1e-5)
    assert steps == list(range(12))


@pytest.mark.parametrize(("name", "function"), [("Euler", "euler"), ("Heun", "heun"), ("DPM2", "dpm_2")])
def test_churn_is_k_diffusions(
    name: str, function: str, kdiffusion: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    sigmas = kdiffusion.get_sigmas_karras(12, SD1.sigma_min, SD1.sigma_max)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) * sigmas[0]
    options = {"s_churn": 4.0, "s_tmin": 0.1, "s_tmax": 5.0, "s_noise": 1.003}
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn_like", Draws())
        theirs = getattr(kdiffusion, f"sample_{function}")(_model(), x.clone(), sigmas, disable=True, **options)
    result, _ = ours(name, sigmas, x, Draws(), **options)
    assert torch.allclose(result, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("n", [3, 4, 5, 10, 12])
def test_dpm_fast_is_k_diffusions(n: int, eta: float, kdiffusion: ModuleType) -> None:
    sampler = PLUGINS.sampler("DPM fast")
    assert sampler.own_sigmas
    sigmas = sampler.own_sigmas(n, SD1)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) * sigmas[0]
    theirs = kdiffusion.sample_dpm_fast(
        _model(), x.clone(), SD1.sigma_min, SD1.sigma_max, n, eta=eta, noise_sampler=Draws(), disable=True
    )
    result, steps = ours("DPM fast", sigmas, x, Draws(), eta=eta)
    assert torch.allclose(result, theirs, rtol=1e-3, atol=1e-4)
    assert steps == list(range(n))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpm_adaptive_is_k_diffusions(eta: float, kdiffusion: ModuleType) -> None:
    sampler = PLUGINS.sampler("DPM adaptive")
    assert sampler.own_sigmas
    sigmas = sampler.own_sigmas(20, SD1)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) * sigmas[0]
    theirs = kdiffusion.sample_dpm_adaptive(
        _model(), x.clone(), SD1.sigma_min, SD1.sigma_max, eta=eta, noise_sampler=Draws(), disable=True
    )
    result, steps = ours("DPM adaptive", sigmas, x, Draws(), eta=eta)
    assert torch.allclose(result, theirs, rtol=1e-3, atol=1e-4)
    assert steps == list(range(20))


def test_dpm_adaptive_takes_a1111s_path_call_by_call() -> None:
    """Its step control flips on the last bit of a network, so the network's answers are A1111's own, recorded."""
    run = "DPM adaptive|Automatic"
    xs, outs, levels = (torch.from_numpy(TRACES[f"{run}/trace_{name}"]) for name in ("x", "out", "sigma"))
    draws = iter(torch.from_numpy(TRACES[f"{run}/step_noise"]))
    calls = iter(range(len(xs)))

    def recorded(x: torch.Tensor, sigma: torch.Tensor) -> Denoised:
        call = next(calls)
        assert torch.allclose(sigma, levels[call], rtol=1e-4), f"call {call}"
        assert (x - xs[call]).abs().max() <= 1e-3 * xs[call].abs().max(), f"call {call}"
        return Denoised(outs[call], None)

    sampler = PLUGINS.sampler("DPM adaptive")
    assert sampler.own_sigmas
    sampler.sample(
        recorded,
        xs[0],
        sampler.own_sigmas(10, SD1),
        noise=lambda sigma, sigma_next: next(draws),
        callback=lambda i, denoised: None,
        **check_options("", sampler.options, {}),
    )
    assert next(calls, None) is None, "as many calls as A1111"


def test_ddim_cfgpp_takes_the_guided_prediction_and_the_unguided_noise() -> None:
    """On an analytic denoiser: guided and unguided predictions are two constants g and u, so by the paper's update
    x' = sqrt(a') x0 + sqrt(1 - a') (x - sqrt(a) u) / sqrt(1 - a) with x0 = u + (g - u) / 12.5, the scale that A1111
    1.10 divides by."""
    sampler = PLUGINS.sampler("DDIM CFG++")
    assert sampler.needs_uncond and sampler.own_sigmas
    sigmas = sampler.own_sigmas(10, SD1).double()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    g, u = torch.full_like(x, 0.7), torch.full_like(x, -0.2)
    result = sampler.sample(
        lambda x, sigma: Denoised(g, u), x, sigmas, noise=Draws(), callback=lambda i, denoised: None, eta=0.0
    )
    a = 1 / (1 + sigmas**2)
    for now, later in pairwise(a):
        e_u = (x - now.sqrt() * u) / (1 - now).sqrt()
        x = later.sqrt() * (u + (g - u) / 12.5) + (1 - later).sqrt() * e_u
    assert torch.allclose(result, x)


def test_restart_goes_back_up_once_from_20_steps_and_twice_from_36() -> None:
    from sdterm.plugins.samplers.restart import restart_steps

    def times_up(n: int) -> int:
        steps = restart_steps(PLUGINS.scheduler("Karras").sigmas(n, SD1))
        assert len(steps) == n
        return sum(bool(later[0] > earlier[1]) for earlier, later in pairwise(steps))

    assert [times_up(n) for n in (19, 20, 35, 36)] == [0, 1, 1, 2]


@pytest.mark.parametrize("steps", [1, 2])
def test_unipc_says_that_it_needs_three_steps(steps: int) -> None:
    sampler = PLUGINS.sampler("UniPC")
    assert sampler.own_sigmas
    with pytest.raises(PluginError, match="at least 3 steps"):
        sampler.own_sigmas(steps, SD1)


A1111_NAMES = {
    "DPM++ 2M": ["k_dpmpp_2m"],
    "DPM++ SDE": ["k_dpmpp_sde"],
    "DPM++ 2M SDE": ["k_dpmpp_2m_sde"],
    "DPM++ 2M SDE Heun": ["k_dpmpp_2m_sde_heun"],
    "DPM++ 2S a": ["k_dpmpp_2s_a"],
    "DPM++ 3M SDE": ["k_dpmpp_3m_sde"],
    "Euler a": ["k_euler_a", "k_euler_ancestral"],
    "Euler": ["k_euler"],
    "LMS": ["k_lms"],
    "Heun": ["k_heun"],
    "DPM2": ["k_dpm_2"],
    "DPM2 a": ["k_dpm_2_a"],
    "DPM fast": ["k_dpm_fast"],
    "DPM adaptive": ["k_dpm_ad"],
    "Restart": ["restart"],
    "DDIM": ["ddim"],
    "DDIM CFG++": ["ddim_cfgpp"],
    "PLMS": ["plms"],
    "UniPC": ["unipc"],
    "LCM": ["k_lcm"],
}


def test_every_sampler_of_a1111_is_here_under_its_names() -> None:
    assert {sampler.label for sampler in PLUGINS.all(Sampler)} == set(A1111_NAMES)
    for label, aliases in A1111_NAMES.items():
        assert {PLUGINS.sampler(name).label for name in [label, *aliases]} == {label}


def _model() -> Any:
    """k-diffusion's calling convention."""
    return lambda x, sigma, **_: predicted(x, sigma)
