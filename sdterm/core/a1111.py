"""The names of what plugins offer that core knows: those that A1111 and its kin wrote into pictures and settings.

Core looks everything else up among what plugins offer; these stand for rules that are older than those names.
"""

from collections.abc import Mapping

UNIFORM = "Uniform"
"""The schedule that "Automatic" is where a sampler has none of its own."""

ON_THE_MODELS_LEVELS = frozenset({"Uniform", "SGM Uniform", "Simple", "Normal", "DDIM", "Beta"})
"""Schedules of which its API says that they need the model."""

DEFAULT_RHO: Mapping[str, float] = {"Karras": 7.0, "Polyexponential": 1.0}
"""The rho that a schedule has where none is given; others have none."""

SOLVED_BY_HEUN = frozenset({"DPM++ 2M SDE Heun"})
"""Samplers of which its API says so."""

ALWAYS_KARRAS = frozenset({"Restart"})
"""Samplers whose default schedule is older than A1111 1.9, the first that wrote schedules down."""

PADDED_BEFORE_1_6 = frozenset({"DDIM", "PLMS"})
"""Samplers for which A1111 before 1.6 made prompt and negative prompt equally long."""

FORMER_KEYS: Mapping[str, str] = {"Eta DDIM": "Eta"}
"""An option's key in an infotext → what it was called before 1.6, when every sampler's eta was one."""

NEVER_WRITTEN = frozenset({"UniPC variant", "UniPC skip type", "UniPC order", "UniPC lower order final"})
"""Keys that A1111 reads, but writes into no infotext."""

NOVELAI_SAMPLERS: Mapping[str, str] = {
    "k_euler": "Euler",
    "k_euler_ancestral": "Euler a",
    "k_lms": "LMS",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_fast": "DPM fast",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpm_adaptive": "DPM adaptive",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "plms": "PLMS",
}
"""NovelAI's names of samplers."""

LATENT_UPSCALERS: Mapping[str, tuple[str, bool]] = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
"""What makes latents larger without a picture in between: the name → (torch's name of it, whether it smooths)."""

_ATTENTION: Mapping[str, str] = {
    "xformers": "xformers",
    "Doggettx": "sliced",
    "sdp-no-mem": "sdpa-no-mem",
    "sdp": "sdpa",
    "sub-quadratic": "sub-quadratic",
    "V1": "sliced-v1",
    "InvokeAI": "sliced",
    "None": "sdpa",
}
"""Values of cross_attention_optimization, as far as their first word goes → the memory optimizer."""


OPTIMIZERS: Mapping[str, str] = {
    "fp8_storage": "fp8.storage",
    "token_merging_ratio": "token_merging.ratio",
    "token_merging_ratio_hr": "token_merging.ratio_hr",
}
"""A1111's setting → the memory optimizer that it asks for, and its option of the same values."""

STANDS_BEFORE: Mapping[str, str] = {
    "FP8 weight": "vae",
    "Token merging ratio": "init_image_hash",
    "Token merging ratio hr": "init_image_hash",
}
"""A key of an infotext that says an option of an optimizer → the request's field whose keys A1111 writes next."""


def attention(value: str) -> tuple[str, ...]:
    """The memory optimizers that a value of cross_attention_optimization stands for; a name of ours is itself."""
    name = value.partition(" - ")[0]
    return () if name == "Automatic" else (_ATTENTION.get(name, value),)


def lower_name(label: str) -> str:
    """Its other name of a schedule: `sgm_uniform`."""
    return label.lower().replace(" ", "_")
