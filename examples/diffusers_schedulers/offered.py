"""Which schedulers are offered, and why the others are not. A test holds both against what diffusers has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Offered:
    """A scheduler with a configuration."""

    label: str
    scheduler: str
    config: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 1
    """Of the network, in a step."""
    extra_steps: int = 0
    """That it makes beyond those asked for."""
    draws: Literal["", "generator", "seed"] = ""
    """How it comes by noise: it is handed generators, one for each image, or has one for all from a seed."""
    distilled: bool = False
    """Its grid is picked out of that of a distillation."""


OFFERED: Mapping[str, Offered] = {
    "ddim": Offered("DDIM", "DDIMScheduler", {"set_alpha_to_one": False}),
    "ddim_parallel": Offered("DDIM Parallel", "DDIMParallelScheduler", {"set_alpha_to_one": False}),
    "ddim_cogvideox": Offered(
        "DDIM CogVideoX", "CogVideoXDDIMScheduler", {"snr_shift_scale": 1.0, "rescale_betas_zero_snr": False}
    ),
    "ddpm": Offered("DDPM", "DDPMScheduler", draws="generator"),
    "ddpm_parallel": Offered("DDPM Parallel", "DDPMParallelScheduler", draws="generator"),
    "pndm": Offered("PNDM", "PNDMScheduler", extra_steps=1),
    "deis": Offered("DEIS", "DEISMultistepScheduler"),
    "dpm_multistep": Offered("DPM++ 2M", "DPMSolverMultistepScheduler"),
    "dpm_multistep_sde": Offered(
        "DPM++ 2M SDE", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, draws="generator"
    ),
    "dpm_singlestep": Offered("DPM++ 2S", "DPMSolverSinglestepScheduler"),
    "dpm_sde": Offered("DPM++ SDE", "DPMSolverSDEScheduler", calls=2, draws="seed"),
    "unipc": Offered("UniPC", "UniPCMultistepScheduler"),
    "sa_solver": Offered("SA-Solver", "SASolverScheduler", draws="generator"),
    "euler": Offered("Euler", "EulerDiscreteScheduler"),
    "euler_ancestral": Offered("Euler a", "EulerAncestralDiscreteScheduler", draws="generator"),
    "heun": Offered("Heun", "HeunDiscreteScheduler", calls=2),
    "lms": Offered("LMS", "LMSDiscreteScheduler"),
    "kdpm2": Offered("KDPM2", "KDPM2DiscreteScheduler", calls=2),
    "kdpm2_ancestral": Offered("KDPM2 a", "KDPM2AncestralDiscreteScheduler", calls=2, draws="generator"),
    "lcm": Offered("LCM", "LCMScheduler", draws="generator", distilled=True),
    "tcd": Offered("TCD", "TCDScheduler", draws="generator", distilled=True),
}

_TOKENS = "denoises discrete tokens, not latents"
_FLOW = "integrates the velocity of a flow-matching model"
_EDM = "wants a network preconditioned as Karras et al. 2022 do"
_INVERSE = "runs from an image to its noise"

LEFT_OUT: Mapping[str, str] = {
    "AmusedScheduler": _TOKENS,
    "BlockRefinementScheduler": _TOKENS,
    "DiscreteDDIMScheduler": _TOKENS,
    "EntropyBoundScheduler": _TOKENS,
    "VQDiffusionScheduler": _TOKENS,
    "FlowMapEulerDiscreteScheduler": _FLOW,
    "FlowMatchEulerDiscreteScheduler": _FLOW,
    "FlowMatchHeunDiscreteScheduler": _FLOW,
    "FlowMatchLCMScheduler": _FLOW,
    "HeliosDMDScheduler": _FLOW,
    "HeliosScheduler": _FLOW,
    "LTXEulerAncestralRFScheduler": _FLOW,
    "MiniMaxH3Scheduler": _FLOW,
    "PiflowScheduler": _FLOW,
    "RFD4ProteinaScheduler": _FLOW,
    "SCMScheduler": "wants a consistency model in TrigFlow's parametrization",
    "CMStochasticIterativeScheduler": "wants a consistency model",
    "ConsistencyDecoderScheduler": "decodes latents with a consistency model",
    "CosineDPMSolverMultistepScheduler": _EDM,
    "EDMDPMSolverMultistepScheduler": _EDM,
    "EDMEulerScheduler": _EDM,
    "DDIMInverseScheduler": _INVERSE,
    "DPMSolverMultistepInverseScheduler": _INVERSE,
    "CogVideoXDPMScheduler": "its step wants the prediction before, and is CogVideoX's pipeline's alone",
    "DDPMWuerstchenScheduler": "has a continuous schedule of its own, which no Stable Diffusion model was trained on",
    "IPNDMScheduler": "wants velocities (v-diffusion)",
    "KarrasVeScheduler": "its step wants two samples, and is its own pipeline's alone",
    "RePaintScheduler": "fills a hole in a given image",
    "ScoreSdeVeScheduler": "wants a score network of a variance-exploding SDE",
    "ScoreSdeVpScheduler": "wants a score network of a variance-preserving SDE",
    "UnCLIPScheduler": "has a schedule of its own, unCLIP's",
}
