"""What lies in a pipeline's latents while it steps."""

from typing import Any

import pytest
import torch

from sdterm.modelling.pipelines.colours import fitted, least_squares
from sdterm.modelling.pipelines.latents import cleaned, own_prediction
from tests.later import Later

diffusers: Any = Later("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, in diffusers
LEVELS = torch.Generator().manual_seed(0)
CLEAN, NOISE = (torch.randn(1, 4, 6, 8, generator=LEVELS) for _ in range(2))
EPS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
        ("DPMSolverMultistepScheduler", EPS),
        ("DPMSolverMultistepScheduler", EPS | {"prediction_type": "v_prediction"}),
        ("EulerDiscreteScheduler", EPS),
        ("EulerDiscreteScheduler", EPS | {"prediction_type": "v_prediction"}),
        ("DDIMScheduler", EPS | {"clip_sample": False}),
        ("DDIMScheduler", EPS | {"clip_sample": False, "prediction_type": "v_prediction"}),
        ("PNDMScheduler", EPS),
        ("HeunDiscreteScheduler", EPS),
    ],
)
def test_a_perfect_prediction_gives_the_clean_latents(kind: str, config: dict[str, Any]) -> None:
    scheduler = getattr(diffusers, kind)(**config)
    scheduler.set_timesteps(8)
    t = scheduler.timesteps[3]
    flow = config.get("prediction_type") == "flow_prediction" or "FlowMatch" in kind
    if flow:
        sigma = scheduler.sigmas[3]
        sample, output = (1 - sigma) * CLEAN + sigma * NOISE, NOISE - CLEAN
    else:
        sample, output = scheduler.add_noise(CLEAN, NOISE, t[None]), NOISE
        if config.get("prediction_type") == "v_prediction":
            share = scheduler.alphas_cumprod[int(t)]
            output = share.sqrt() * NOISE - (1 - share).sqrt() * CLEAN
    index = 3 if hasattr(scheduler, "sigmas") else None
    found = cleaned(scheduler, output, t, sample, index)
    assert found is not None and torch.allclose(found, CLEAN, atol=5e-3)
    variances = torch.cat([output, output], dim=1)
    again = cleaned(scheduler, variances, t, sample, index)
    assert again is not None and torch.equal(again, found)


def test_what_a_scheduler_says_itself_is_taken() -> None:
    scheduler: Any = diffusers.EulerDiscreteScheduler(**EPS)
    scheduler.set_timesteps(4)
    gave = scheduler.step(NOISE, scheduler.timesteps[0], CLEAN, return_dict=False)
    own = own_prediction(gave)
    assert own is None or own.shape == CLEAN.shape
    assert own_prediction((CLEAN,)) is None


def test_a_linear_map_is_found() -> None:
    factors, bias = torch.randn(4, 3, generator=LEVELS), torch.tensor([0.1, 0.5, 0.9])
    pictures = torch.einsum("bchw,cr->brhw", CLEAN, factors) + bias[:, None, None]
    found, shift = least_squares(CLEAN, pictures)
    assert torch.allclose(torch.tensor(found), factors, atol=1e-3)
    assert torch.allclose(torch.tensor(shift), bias, atol=1e-3)


def test_the_map_of_a_vae_tells_bright_from_dark() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind: Any = diffusers.AutoencoderKL
        vae = kind(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            latent_channels=16,
            scaling_factor=0.4,
            shift_factor=0.1,
        ).eval()
    factors, bias = fitted(vae)
    assert len(factors) == 16 and all(len(row) == 3 for row in (*factors, bias))
    shades = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 3, 16, 16).contiguous()
    with torch.inference_mode():
        latents = (vae.encode(shades).latent_dist.mode() - 0.1) * 0.4
    grey = (torch.einsum("bchw,cr->brhw", latents, torch.tensor(factors)) + torch.tensor(bias)[:, None, None]).mean(
        (1, 2, 3)
    )
    assert grey[-1] > grey[0]
