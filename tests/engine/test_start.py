"""Where passes start that begin with latents: the steps A1111 makes, and what it hands its samplers."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from sdterm import Engine, GenerationRequest, PluginSet
from sdterm.core.planning.choices import choose
from sdterm.engine.schedule import pass_tail
from sdterm.engine.start import Cut, begun, cut
from sdterm.hooks import PluginError, Tail
from sdterm.modelling.sampling import FlowSampling
from tests.engine.golden import as_plan
from tests.plugins.test_schedulers import PLUGINS, SD1
from tests.tiny_checkpoint import GOLDEN

RUNS = json.loads((GOLDEN / "starts.json").read_text())


def left(engine: Engine, plugins: PluginSet, cut: Cut, **fields: object) -> Tail:
    request = GenerationRequest.model_validate({"prompt": "", **fields})
    parts = choose(request, plugins, engine.library).first
    levels = parts.sampler.sampling(SD1) if parts.sampler.sampling else SD1
    return pass_tail(parts, request, as_plan(request, engine, plugins).passes[0], plugins, levels, cut)


def timesteps(sigmas: torch.Tensor) -> np.ndarray:
    """With log(alpha) interpolated, as UniPC's authors do."""
    log_alphas, own = (-0.5 * (1 + s.double() ** 2).log() for s in (SD1.sigmas, sigmas))
    found: np.ndarray = np.interp(own.neg().numpy(), log_alphas.neg().numpy(), np.arange(len(log_alphas)))
    return found


def name_of(run: dict[str, Any]) -> str:
    return "|".join(str(run[name]) for name in ("sampler", "scheduler", "steps", "strength", "exactly"))


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_the_tail_of_a_schedule_is_a1111s(run: dict[str, Any], tiny_engine: Engine, plugins: PluginSet) -> None:
    what = cut(run["steps"], run["strength"], exactly=run["exactly"])
    asked = {name: run[name] for name in ("sampler", "scheduler", "steps")}
    level, sigmas = left(tiny_engine, plugins, what, **asked)
    calls, name = [*dict.fromkeys(run["sigmas"])], run["sampler"]  # PLMS and second-order samplers call twice
    if name in ("DDIM", "PLMS", "UniPC"):
        made = timesteps(sigmas)[: len(calls)]
        assert np.allclose(made, calls, rtol=1e-4)
        above = calls[0] + 1000 // what.steps if calls else 1  # the strength 0: the lowest there is
        assert timesteps(level[None])[0] == pytest.approx(above, abs=0.01)
    elif name == "DPM fast":  # with steps of its own between its ends
        assert level == pytest.approx(run["sigmas"][0], rel=1e-5) and len(sigmas) == len(run["sigmas"]) + 1
        assert sigmas[[0, -1]].tolist() == pytest.approx([run["sigmas"][0], 0.02916754], rel=1e-5)
    else:
        assert level == sigmas[0] and sigmas[-1] == 0
        assert all(np.isclose(calls, sigma, rtol=1e-5).any() for sigma in sigmas[:-1].tolist())
        assert np.isclose(calls[0], level, rtol=1e-5)
        assert len(calls) >= len(sigmas) - 1


def test_no_strength_leaves_one_step_or_exactly_none() -> None:
    assert cut(12, 0.0) == (12, 0) and cut(12, 1.0) == (12, 11) and cut(12, 7.0) == (12, 11)
    assert cut(12, 0.3, exactly=True) == (40, 11)
    assert cut(12, 0.0, exactly=True) == (0, 11)


def test_a_pass_of_no_steps_leaves_the_latents_alone(tiny_engine: Engine, plugins: PluginSet) -> None:
    latents, noise = torch.randn(2, 1, 4, 8, 8).unbind()
    for name in ("Euler", "DDIM"):
        level, sigmas = left(tiny_engine, plugins, cut(12, 0.0, exactly=True), sampler=name)
        assert sigmas.tolist() == [0]
        assert torch.equal(begun(latents, noise, level, PLUGINS.sampler(name), SD1), latents)


def test_unipc_says_what_it_lacks(tiny_engine: Engine, plugins: PluginSet) -> None:
    with pytest.raises(PluginError, match="at least 3 steps, but the denoising strength leaves 2 of 12"):
        left(tiny_engine, plugins, cut(12, 0.2), sampler="UniPC", steps=12)


def test_noise_is_mixed_in_as_the_samplers_latents_want_it() -> None:
    latents, noise, level = torch.full((1, 4, 1, 1), 2.0), torch.ones(1, 4, 1, 1), torch.tensor(3.0)
    euler, ddim = PLUGINS.sampler("Euler"), PLUGINS.sampler("DDIM")
    root = 10**0.5  # of 1 + 3^2

    def x(sampler: Any, sampling: Any, level: torch.Tensor, extra: float = 0.0) -> float:
        return begun(latents, noise, level, sampler, sampling, extra_noise=extra).mean().item()

    assert x(euler, SD1, level) == 5 and x(euler, SD1, level, 0.5) == 5.5
    assert x(ddim, SD1, level) == pytest.approx((2 + 3) / root)
    assert x(ddim, SD1, level, 0.5) == pytest.approx((2 + 3 + 0.5) / root)
    assert x(euler, FlowSampling(), torch.tensor(0.25)) == pytest.approx(0.75 * 2 + 0.25)
