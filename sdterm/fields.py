"""The fields of a request, a row each: all that anybody has to know about one.

`request.py` checks values by these rows; settings, command line, form, infotexts, file names and A1111's names are
read from them. Plain data: it loads in no time, for the first look at the form and for `--help`.

The rows stand in the order of A1111's infotexts (processing.create_infotext); those that they do not have follow.
Fields with the same option, infotext key or form id are shown as one: `512x768`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Decides = Literal["what", "prompt", "finish", "how"]
"""what: the samples, and so a tape's rows. prompt: what the prompts come to, nothing else. finish: the pixels, once the
samples are there. how: only how the same image is computed and kept."""

Emphasis = Literal["Original", "No norm", "Ignore", "None"]
NoiseSchedule = Literal["Default", "Zero Terminal SNR"]
NoiseSource = Literal["NV", "CPU", "GPU"]
PadConds = Literal["off", "on", "v0"]
Precision = Literal["auto", "full", "half"]
Part = Literal["", "Init image", "Mask", "Hires", "Refiner", "Upscale"]
"""A part of the form that is folded away until it is used."""
VaeMethod = Literal["Full", "Approx NN", "Approx cheap", "TAESD"]

MAX_PROMPT = 65_536  # characters; A1111 has no limit, but past this a prompt is an accident
SIZE_STEP = 8  # pixels per latent cell in every model family so far
_SEEDS = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class RequestField:
    """One field. Its type stands in `GenerationRequest`."""

    name: str
    default: Any
    label: str
    """On screen: A1111's, shortened where a line of 80 cells asks for it."""
    sentence: str
    """For help, settings and reference."""
    decides: Decides = "what"
    least: float | None = None
    most: float | None = None
    multiple: int | None = None
    choices: tuple[str, ...] = ()
    section: str = ""
    """Of the settings, in A1111's words. A field without one is no setting."""
    a1111: str = ""
    """A1111's setting of the same meaning."""
    api: str = ""
    """A1111's name in `/sdapi/v1`."""
    infotext: tuple[str, ...] = ()
    """A1111's keys in an infotext."""
    always: bool = False
    """Whether every infotext says it; others say what is not A1111's default."""
    option: str = ""
    """Of `sdterm generate`. A field without one has `--set`."""
    metavar: str = ""
    token: str = ""
    """`[token]` in the pattern of a file name, where it stands for the field as it is."""
    form: str = ""
    """Its widget in the form, which may show two fields."""
    part: Part = ""
    """The part of the form that shows it."""
    cells: int = 12
    """For its value in the form."""
    step: float = 0
    """What one key press adds; 0 for a field that has no steps."""
    offers: str = ""
    """What its list has: `sampler`, `model` …"""
    is_input: bool = False
    """Whether it names pictures, by digest (`core/inputs.py`)."""


_SAMPLING, _MODEL, _SPEED = "Sampler parameters", "Stable Diffusion", "Optimizations"
_COMPATIBILITY, _XL = "Compatibility", "Stable Diffusion XL"
_NETWORKS = "Extra Networks"
_UPSCALING = "Upscaling"
_UPSCALE: Part = "Upscale"
NO_UPSCALER = "None"
SAVING = "Saving images/grids"

ROWS: tuple[RequestField, ...] = (
    RequestField(
        name="prompt",
        default=...,
        label="Prompt",
        sentence="What to draw.",
        api="prompt",
        always=True,
    ),
    RequestField(
        name="negative_prompt",
        default="",
        label="Negative prompt",
        sentence="What not to draw.",
        api="negative_prompt",
        always=True,
        option="--negative",
        metavar="TEXT",
    ),
    RequestField(
        name="steps",
        default=20,
        least=1,
        most=1000,
        label="Steps",
        sentence="Sampling steps.",
        section=_SAMPLING,
        api="steps",
        infotext=("Steps",),
        always=True,
        option="--steps",
        metavar="N",
        token="steps",
        form="steps",
        cells=4,
        step=1,
    ),
    RequestField(
        name="sampler",
        default="DPM++ 2M",
        label="Sampler",
        sentence="The sampler to draw with; see `sdterm samplers`.",
        section=_SAMPLING,
        api="sampler_name",
        infotext=("Sampler",),
        always=True,
        option="--sampler",
        metavar="NAME",
        form="sampler",
        cells=16,
        offers="sampler",
    ),
    RequestField(
        name="scheduler",
        default="Automatic",
        label="Schedule",
        sentence="The noise schedule; Automatic is the sampler's own.",
        section=_SAMPLING,
        api="scheduler",
        infotext=("Schedule type",),
        always=True,
        option="--scheduler",
        metavar="NAME",
        form="scheduler",
        cells=11,
        offers="scheduler",
    ),
    RequestField(
        name="cfg_scale",
        default=7.0,
        least=0,
        most=100,
        label="CFG",
        sentence="How strictly to follow the prompt.",
        section=_SAMPLING,
        api="cfg_scale",
        infotext=("CFG scale",),
        always=True,
        option="--cfg",
        metavar="SCALE",
        token="cfg",
        form="cfg_scale",
        cells=5,
        step=0.5,
    ),
    RequestField(
        name="seed",
        default=-1,
        least=-1,
        most=_SEEDS,
        label="Seed",
        sentence="-1 draws a seed; image k of the job uses seed + k.",
        api="seed",
        infotext=("Seed",),
        always=True,
        option="--seed",
        metavar="N",
        form="seed",
        cells=20,
        step=1,
    ),
    RequestField(
        name="width",
        default=None,
        least=64,
        most=4096,
        multiple=SIZE_STEP,
        label="Size",
        sentence="In pixels; unset is the model's native size.",
        api="width",
        infotext=("Size",),
        always=True,
        option="--size",
        metavar="WxH",
        form="size",
        cells=10,
        step=64,
        offers="size",
    ),
    RequestField(
        name="height",
        default=None,
        least=64,
        most=4096,
        multiple=SIZE_STEP,
        label="Size",
        sentence="In pixels; unset is the model's native size.",
        api="height",
        infotext=("Size",),
        always=True,
        option="--size",
        metavar="WxH",
        form="size",
        cells=10,
        step=64,
        offers="size",
    ),
    RequestField(
        name="model",
        default=None,
        label="Model",
        sentence="The checkpoint to draw with, by name, file name or hash; unset is the first one found.",
        section=_MODEL,
        a1111="sd_model_checkpoint",
        infotext=("Model hash", "Model"),
        always=True,
        option="--model",
        metavar="NAME",
        form="model",
        cells=24,
        offers="model",
    ),
    RequestField(
        name="vae",
        default="Automatic",
        label="VAE",
        sentence=(
            "A file of models/VAE to decode with, by name. Automatic: one whose name begins with the checkpoint's, "
            "else the checkpoint's own; None: its own."
        ),
        decides="finish",
        section="VAE",
        a1111="sd_vae",
        cells=14,
        offers="vae",
        infotext=("VAE hash", "VAE"),
    ),
    RequestField(
        name="variation_seed",
        default=-1,
        least=-1,
        most=_SEEDS,
        label="by seed",
        sentence="The seed of the noise mixed in; -1 draws one. Image k of the job uses variation_seed + k.",
        api="subseed",
        infotext=("Variation seed",),
        option="--variation-seed",
        metavar="N",
        form="variation_seed",
        cells=11,
        step=1,
    ),
    RequestField(
        name="variation_strength",
        default=0.0,
        least=0,
        most=1,
        label="Vary",
        sentence="How much of that noise; above 0 every image of the job has the same seed, and its own variation.",
        api="subseed_strength",
        infotext=("Variation seed strength",),
        option="--variation-strength",
        metavar="X",
        form="variation_strength",
        cells=5,
        step=0.05,
    ),
    RequestField(
        name="seed_resize_width",
        default=0,
        least=0,
        most=4096,
        label="Resize seed from",
        sentence="Lay out the picture as the seed does at that size, in pixels; 0 does not.",
        api="seed_resize_from_w",
        infotext=("Seed resize from",),
        option="--seed-resize-from",
        metavar="WxH",
        form="seed_resize",
        step=64,
    ),
    RequestField(
        name="seed_resize_height",
        default=0,
        least=0,
        most=4096,
        label="Resize seed from",
        sentence="Lay out the picture as the seed does at that size, in pixels; 0 does not.",
        api="seed_resize_from_h",
        infotext=("Seed resize from",),
        option="--seed-resize-from",
        metavar="WxH",
        form="seed_resize",
        step=64,
    ),
    RequestField(
        name="clip_skip",
        default=1,
        least=1,
        most=12,
        label="Clip skip",
        sentence="Which of the text encoder's last layers to use, counted from the end.",
        section=_MODEL,
        a1111="CLIP_stop_at_last_layers",
        infotext=("Clip skip",),
        option="--clip-skip",
        metavar="N",
        token="clip_skip",
        form="clip_skip",
        cells=3,
        step=1,
    ),
    RequestField(
        name="ensd",
        default=0,
        least=-(2**63),
        most=_SEEDS,
        label="ENSD",
        sentence="Eta noise seed delta: added to the seed for all noise after the first.",
        section=_SAMPLING,
        a1111="eta_noise_seed_delta",
        infotext=("ENSD",),
        option="--ensd",
        metavar="N",
    ),
    RequestField(
        name="noise_source",
        default="NV",
        choices=get_args(NoiseSource),
        label="RNG",
        sentence="NV draws what a CUDA card draws, on any device; CPU and GPU are torch's generator there.",
        section=_MODEL,
        a1111="randn_source",
        infotext=("RNG",),
        option="--noise",
        metavar="SOURCE",
    ),
    RequestField(
        name="ngms",
        default=0.0,
        least=0,
        most=15,
        label="NGMS",
        sentence="Negative guidance minimum sigma: below it every other call leaves the negative prompt out.",
        section=_SPEED,
        a1111="s_min_uncond",
        api="s_min_uncond",
        infotext=("NGMS",),
    ),
    RequestField(
        name="tiling",
        default=False,
        label="Tiling",
        sentence="Let the picture's opposite edges meet, so that it can be repeated like a tile.",
        section=_MODEL,
        a1111="tiling",
        api="tiling",
        infotext=("Tiling",),
        option="--tiling",
    ),
    RequestField(
        name="vae_encoder",
        default="Full",
        choices=get_args(VaeMethod),
        label="VAE type for encode",
        sentence="What turns pictures into latents: the VAE, or TAESD if its file is in models/VAE-approx.",
        section="VAE",
        a1111="sd_vae_encode_method",
        infotext=("VAE Encoder",),
    ),
    RequestField(
        name="lora",
        default="",
        label="LoRA",
        sentence="A LoRA for every prompt that does not name it, by a tag at its end.",
        decides="prompt",
        section=_NETWORKS,
        a1111="sd_lora",
        cells=14,
        offers="lora",
    ),
    RequestField(
        name="hypernetwork",
        default="",
        label="Hypernetwork",
        sentence="A hypernetwork for every prompt that does not name it, by a tag at its end.",
        decides="prompt",
        section=_NETWORKS,
        a1111="sd_hypernetwork",
        cells=14,
        offers="hypernetwork",
    ),
    RequestField(
        name="network_multiplier",
        default=1.0,
        least=-10,
        most=10,
        label="Multiplier for these",
        sentence="How strongly the LoRA and the hypernetwork act that are added to every prompt.",
        decides="prompt",
        section=_NETWORKS,
        a1111="extra_networks_default_multiplier",
        step=0.1,
    ),
    RequestField(
        name="disable_networks",
        default=False,
        label="Disable networks",
        sentence="Take network tags out of the prompt and do nothing else about them.",
        api="disable_extra_networks",
    ),
    RequestField(
        name="old_prompt_editing",
        default=False,
        label="Old prompt editing",
        sentence="Read `[a:b:N]` as A1111 before 1.6: below 1 a fraction, from 1 on a step.",
        section=_COMPATIBILITY,
        a1111="use_old_scheduling",
        infotext=("Old prompt editing timelines",),
    ),
    RequestField(
        name="emphasis",
        default="Original",
        choices=get_args(Emphasis),
        label="Emphasis mode",
        sentence="What a prompt's weights do, in A1111's words.",
        section=_MODEL,
        a1111="emphasis",
        infotext=("Emphasis",),
    ),
    RequestField(
        name="downcast_alphas",
        default=False,
        label="Downcast alphas",
        sentence="Round the model's noise levels to half precision first, as A1111 before 1.7.",
        section=_COMPATIBILITY,
        a1111="use_downcasted_alpha_bar",
        infotext=("Downcast alphas_cumprod",),
    ),
    RequestField(
        name="noise_schedule",
        default="Default",
        choices=get_args(NoiseSchedule),
        label="Noise schedule",
        sentence="Zero Terminal SNR starts from noise without any signal, for models that were trained so.",
        section=_SAMPLING,
        a1111="sd_noise_schedule",
        infotext=("Noise Schedule",),
    ),
    RequestField(
        name="discard_penultimate",
        default=False,
        label="Discard penultimate sigma",
        sentence="Leave out the last sigma but one.",
        section=_SAMPLING,
        a1111="always_discard_next_to_last_sigma",
        infotext=("Discard penultimate sigma",),
    ),
    RequestField(
        name="scheduler_options",
        default={},
        label="Schedule options",
        sentence="By the names the scheduler declares, e.g. `rho`.",
    ),
    RequestField(
        name="sgm_noise_multiplier",
        default=False,
        label="SGM noise multiplier",
        sentence="Scale the first noise by sqrt(1 + sigma^2) instead of sigma, as Stability's own code does.",
        section=_SAMPLING,
        a1111="sgm_noise_multiplier",
        infotext=("SGM noise multiplier",),
    ),
    RequestField(
        name="sampler_options",
        default={},
        label="Sampler options",
        sentence="By the names the sampler declares, e.g. `eta`.",
    ),
    RequestField(
        name="pad_conds",
        default="off",
        choices=get_args(PadConds),
        label="Pad conds",
        sentence="Make prompt and negative prompt equally long before the network reads them; v0 as A1111 before 1.6.",
        section=_SPEED,
        infotext=("Pad conds", "Pad conds v0"),
    ),
    RequestField(
        name="vae_decoder",
        default="Full",
        choices=get_args(VaeMethod),
        label="VAE type for decode",
        sentence=(
            "What turns latents into pictures: the VAE, TAESD or Approx NN if their files are in models/VAE-approx, "
            "or Approx cheap, a pixel for each latent cell."
        ),
        decides="finish",
        section="VAE",
        a1111="sd_vae_decode_method",
        infotext=("VAE Decoder",),
    ),
    RequestField(
        name="postprocess",
        default=(),
        label="Postprocessors",
        sentence="Postprocessors by name; see `sdterm plugins`.",
        decides="finish",
        infotext=("Postprocess",),
        option="--postprocess",
        metavar="NAME",
        offers="postprocessor",
    ),
    RequestField(
        name="upscale_images",
        default=(),
        label="Pictures to upscale",
        sentence="The SHA-256 of pictures to make larger; then nothing is drawn.",
        is_input=True,
    ),
    RequestField(
        name="upscale_by",
        default=4.0,
        least=0.05,
        most=64,
        label="Upscale by",
        sentence="How many times as large finished pictures become, where no size is given.",
        decides="finish",
        infotext=("Postprocess upscale by",),
        option="--upscale-by",
        metavar="N",
        cells=5,
        step=0.5,
        part=_UPSCALE,
    ),
    RequestField(
        name="upscale_width",
        default=None,
        least=8,
        most=32_768,
        label="Upscale to",
        sentence="The size, in pixels, that finished pictures are made large enough for; unset, upscale_by counts.",
        decides="finish",
        infotext=("Postprocess upscale to",),
        option="--upscale-to",
        metavar="WxH",
        cells=11,
        part=_UPSCALE,
    ),
    RequestField(
        name="upscale_height",
        default=None,
        least=8,
        most=32_768,
        label="Upscale to",
        sentence="The size, in pixels, that finished pictures are made large enough for; unset, upscale_by counts.",
        decides="finish",
        infotext=("Postprocess upscale to",),
        option="--upscale-to",
        metavar="WxH",
        cells=11,
        part=_UPSCALE,
    ),
    RequestField(
        name="upscale_crop",
        default=False,
        label="Crop to fit",
        sentence="Cut what stands out over that size.",
        decides="finish",
        infotext=("Postprocess crop to",),
        option="--upscale-crop",
        part=_UPSCALE,
    ),
    RequestField(
        name="upscaler",
        default=NO_UPSCALER,
        label="Upscaler",
        sentence="Makes finished pictures larger: Lanczos, Nearest, a plugin's, or a file of models/ESRGAN, by its name.",
        decides="finish",
        infotext=("Postprocess upscaler",),
        option="--upscaler",
        metavar="NAME",
        cells=16,
        offers="upscaler",
        part=_UPSCALE,
    ),
    RequestField(
        name="second_upscaler",
        default=NO_UPSCALER,
        label="Upscaler 2",
        sentence="A second one, whose picture is blended into the first's.",
        decides="finish",
        infotext=("Postprocess upscaler 2",),
        cells=16,
        offers="upscaler",
        part=_UPSCALE,
    ),
    RequestField(
        name="second_upscaler_visibility",
        default=0.5,
        least=0,
        most=1,
        label="Upscaler 2 visibility",
        sentence="How much of the second upscaler's picture is seen.",
        decides="finish",
        cells=5,
        step=0.05,
        part=_UPSCALE,
    ),
    RequestField(
        name="upscale_tile",
        default=192,
        least=0,
        most=2048,
        label="Tile size for upscalers",
        sentence="In pixels: networks make pictures larger in tiles of this size, to take less memory. 0 is no tiles.",
        decides="finish",
        section=_UPSCALING,
        a1111="ESRGAN_tile",
        step=16,
    ),
    RequestField(
        name="upscale_overlap",
        default=8,
        least=0,
        most=512,
        label="Tile overlap for upscalers",
        sentence="In pixels: how much of two tiles is blended. Low values leave visible seams.",
        decides="finish",
        section=_UPSCALING,
        a1111="ESRGAN_tile_overlap",
        step=1,
    ),
    RequestField(
        name="options",
        default={},
        label="Plugin options",
        sentence=(
            "Of prompt transforms, memory optimizers and postprocessors, as `id.name`. "
            "Setting one asks for what it is of."
        ),
        decides="finish",
    ),
    RequestField(
        name="extra_params",
        default={},
        label="Other infotext keys",
        sentence="Keys of an infotext that are none of sdterm's, written back as they were read.",
    ),
    RequestField(
        name="old_emphasis",
        default=False,
        label="Old emphasis",
        sentence="Weigh words as A1111 did at first: brackets alone count, up to 75 tokens. For SD 1.x only.",
        section=_COMPATIBILITY,
        a1111="use_old_emphasis_implementation",
    ),
    RequestField(
        name="comma_backtrack",
        default=20,
        least=0,
        most=74,
        label="Comma padding backtrack",
        sentence=(
            "Tokens: where a prompt overflows a chunk of 75, a comma at most so far back starts the next one. 0 is off."
        ),
        section=_MODEL,
        a1111="comma_padding_backtrack",
    ),
    RequestField(
        name="quantize",
        default=False,
        label="Quantize timesteps",
        sentence="Round each call's timestep to one the model was trained on.",
        section=_MODEL,
        a1111="enable_quantization",
    ),
    RequestField(
        name="crop_top",
        default=0,
        least=-65_536,
        most=65_536,
        label="Crop top",
        sentence="Pixels that SDXL is to think were cut off above the image.",
        section=_XL,
        a1111="sdxl_crop_top",
    ),
    RequestField(
        name="crop_left",
        default=0,
        least=-65_536,
        most=65_536,
        label="Crop left",
        sentence="Pixels that SDXL is to think were cut off left of the image.",
        section=_XL,
        a1111="sdxl_crop_left",
    ),
    RequestField(
        name="asked_width",
        default=0,
        least=0,
        most=4096 + SIZE_STEP - 1,
        label="Asked width",
        sentence="The width that was rounded down to `width`: A1111 tells SDXL and the infotext that one. 0 is none.",
    ),
    RequestField(
        name="asked_height",
        default=0,
        least=0,
        most=4096 + SIZE_STEP - 1,
        label="Asked height",
        sentence="The height that was rounded down to `height`: A1111 tells SDXL and the infotext that one. 0 is none.",
    ),
    RequestField(
        name="aesthetic_score",
        default=6.0,
        least=0,
        most=10,
        label="High aesthetic score",
        sentence="How good the SDXL refiner is to make a picture.",
        section=_XL,
        a1111="sdxl_refiner_high_aesthetic_score",
    ),
    RequestField(
        name="negative_aesthetic_score",
        default=2.5,
        least=0,
        most=10,
        label="Low aesthetic score",
        sentence="How good the pictures are that the SDXL refiner keeps away from.",
        section=_XL,
        a1111="sdxl_refiner_low_aesthetic_score",
    ),
    RequestField(
        name="styles",
        default=(),
        label="Styles",
        sentence="Names from styles.csv, applied in order.",
        decides="prompt",
        api="styles",
        option="--style",
        metavar="NAME",
        form="styles",
        cells=20,
        offers="style",
    ),
    RequestField(
        name="transforms",
        default=(),
        label="Prompt transforms",
        sentence="Prompt transforms by name, of those that are applied only where they are asked for.",
        decides="prompt",
        option="--transform",
        metavar="NAME",
        offers="transform",
    ),
    RequestField(
        name="batch_count",
        default=1,
        least=1,
        most=1000,
        label="Batch",
        sentence="How many batches.",
        decides="how",
        api="n_iter",
        option="--count",
        metavar="N",
        form="batch",
        cells=6,
        step=1,
    ),
    RequestField(
        name="batch_size",
        default=1,
        least=1,
        most=64,
        label="Batch",
        sentence="Images drawn together.",
        decides="how",
        api="batch_size",
        option="--batch",
        metavar="N",
        token="batch_size",
        form="batch",
        cells=6,
    ),
    RequestField(
        name="format",
        default="png",
        label="File format",
        sentence="The file format of images: png, jpeg, webp, avif or a plugin's.",
        decides="how",
        section=SAVING,
        a1111="samples_format",
        option="--format",
        metavar="NAME",
        offers="format",
    ),
    RequestField(
        name="format_options",
        default={},
        label="Format options",
        sentence="By the names the saver declares, e.g. `quality`.",
        decides="how",
    ),
    RequestField(
        name="infotext_without",
        default=(),
        label="Not in infotexts",
        sentence="Keys that infotexts leave out, e.g. `Model hash` or `Version`.",
        decides="how",
        section="Infotext",
    ),
    RequestField(
        name="grid",
        default=False,
        label="Grid",
        sentence="After the last of several images, make one that shows them all.",
        decides="how",
    ),
    RequestField(
        name="memory",
        default=(),
        label="Memory optimizers",
        sentence="Memory optimizers to use; see `sdterm plugins`.",
        decides="how",
        section=_SPEED,
        a1111="cross_attention_optimization",
        option="--optimize",
        metavar="NAME",
        offers="memory",
    ),
    RequestField(
        name="batch_cond_uncond",
        default=True,
        label="Batch cond/uncond",
        sentence="Run prompt and negative prompt in one call of the network: faster, more memory.",
        decides="how",
        section=_SPEED,
        a1111="batch_cond_uncond",
    ),
    RequestField(
        name="preview_method",
        default="Approx cheap",
        choices=get_args(VaeMethod),
        label="Live preview method",
        sentence="What live previews are made by: Approx cheap costs nothing, the others show more.",
        decides="how",
        section="Live previews",
        a1111="show_progress_type",
    ),
    RequestField(
        name="precision",
        default="auto",
        choices=get_args(Precision),
        label="Precision",
        sentence="Of the weights: auto is half on a GPU and full on a CPU.",
        decides="how",
        section=_SPEED,
    ),
)
FIELDS: Mapping[str, RequestField] = {row.name: row for row in ROWS}


def deciding(*what: Decides) -> frozenset[str]:
    """The names of the fields that decide one of these."""
    return frozenset(row.name for row in ROWS if row.decides in what)


def shown_as_one(column: Literal["infotext", "option", "form"]) -> dict[Any, list[RequestField]]:
    """Fields by what stands for them in one place: mostly one field, two where they are shown as `512x768`."""
    rows: dict[Any, list[RequestField]] = {}
    for row in ROWS:
        rows.setdefault(getattr(row, column), []).append(row)
    return rows
