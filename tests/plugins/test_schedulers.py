"""The noise schedules against the numbers of A1111's own functions, and what they promise."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdterm import load_plugins
from sdterm.core.extensions.registry import check_options
from sdterm.hooks import Scheduler
from sdterm.modelling.sampling import DiscreteSampling
from tests.tiny_checkpoint import GOLDEN

GOLDEN_SIGMAS = np.load(GOLDEN / "schedules.npz")
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
SD1 = DiscreteSampling(torch.from_numpy(np.cumprod(1 - BETAS).astype(np.float32)))
PLUGINS = load_plugins()


def sigmas(scheduler: Scheduler, n: int, **options: float) -> np.ndarray:
    made: torch.Tensor = scheduler.sigmas(n, SD1, **check_options(scheduler.label, scheduler.options, options))
    assert made.dtype == torch.float32 and made.device.type == "cpu"
    return made.numpy()


@pytest.mark.parametrize("case", [case for case in GOLDEN_SIGMAS if "sdxl" not in case])
def test_sigmas_are_those_of_a1111_1_10(case: str) -> None:
    label, n = case.split("/")
    assert np.allclose(sigmas(PLUGINS.scheduler(label), int(n)), GOLDEN_SIGMAS[case], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scheduler", PLUGINS.all(Scheduler), ids=lambda scheduler: scheduler.id)
@given(n=st.integers(2, 200))
def test_sigmas_fall_from_the_models_largest(scheduler: Scheduler, n: int) -> None:
    made = sigmas(scheduler, n)
    assert np.isfinite(made).all() and (np.diff(made) <= 0).all()
    assert made[0] <= SD1.sigma_max * 1.001 and made[-2] > 0
    assert made[-1] == 0 or scheduler.id == "kl_optimal"


def test_the_range_and_rho_can_be_chosen() -> None:
    karras = sigmas(PLUGINS.scheduler("Karras"), 10, sigma_min=0.1, sigma_max=10, rho=3)
    expected = np.append((10 ** (1 / 3) + np.linspace(0, 1, 10) * (0.1 ** (1 / 3) - 10 ** (1 / 3))) ** 3, 0)
    assert np.allclose(karras, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "label"),
    [("sgm_uniform", "SGM Uniform"), ("SGMUniform", "SGM Uniform"), ("align_your_steps", "Align Your Steps")],
)
def test_schedules_answer_to_a1111s_names(name: str, label: str) -> None:
    assert PLUGINS.scheduler(name).label == label
