"""What one asks for: the request that travels from a front end to the engine.

A request is a value: validated once, never changed in place (`request.model_copy(update=...)`), stored and sent as
JSON. It holds what the user said; what the engine made of it (the seeds drawn, the final prompts) is a `Plan`.
"""

import json
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import (
    FIELDS,
    MAX_PROMPT,
    SIZE_STEP,
    Emphasis,
    InpaintArea,
    Ladder,
    MaskedContent,
    NoiseSchedule,
    NoiseSource,
    PadConds,
    Precision,
    RefinerPasses,
    ResizeMode,
    Rung,
    Spread,
    VaeMethod,
)
from sdterm.messages import message

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
OptionValue = bool | int | float | str
Names = Annotated[tuple[str, ...], Field(strict=False)]  # JSON has lists only
Rungs = Annotated[tuple[Rung, ...], Field(strict=False)]


_DIGEST = re.compile("[0-9a-f]{64}")
_COLOUR = re.compile("#([0-9a-fA-F]{3}){1,2}")
_MOST_INITS = 64


class RequestError(SdtermError, ValueError):
    """The request cannot be drawn as it stands. The message is a sentence naming field, value and range.

    field: the request's field, where one is wrong."""

    code = BAD_REQUEST

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def _of(name: str) -> Any:
    """Default and bounds of a field, from its row."""
    row = FIELDS[name]
    bounds: dict[str, Any] = {"ge": row.least, "le": row.most, "multiple_of": row.multiple}
    if isinstance(row.default, float):
        bounds["allow_inf_nan"] = False
    given = {key: value for key, value in bounds.items() if value is not None}
    return Field(row.default, description=row.sentence, **given)


class GenerationRequest(BaseModel):
    """One job: `batch_count` batches of `batch_size` images. Defaults are A1111's UI defaults.
    What each field means says its row in `sdterm.fields`.

    Types are JSON's: no text for a number, no number for true or false. `make_request` also takes texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: Prompt
    negative_prompt: Prompt = _of("negative_prompt")
    steps: int = _of("steps")
    sampler: str = _of("sampler")
    scheduler: str = _of("scheduler")
    cfg_scale: float = _of("cfg_scale")
    seed: int = _of("seed")
    width: int | None = _of("width")
    height: int | None = _of("height")
    model: str | None = _of("model")
    vae: str = _of("vae")
    variation_seed: int = _of("variation_seed")
    variation_strength: float = _of("variation_strength")
    seed_resize_width: int = _of("seed_resize_width")
    seed_resize_height: int = _of("seed_resize_height")
    denoising_strength: float = _of("denoising_strength")
    conditional_mask_weight: float = _of("conditional_mask_weight")
    clip_skip: int = _of("clip_skip")
    ensd: int = _of("ensd")
    init_image_hash: bool = _of("init_image_hash")
    noise_source: NoiseSource = _of("noise_source")
    ngms: float = _of("ngms")
    tiling: bool = _of("tiling")
    denoise_hooks: Names = _of("denoise_hooks")
    mask_inverted: bool = _of("mask_inverted")
    mask_blur_x: int = _of("mask_blur_x")
    mask_blur_y: int = _of("mask_blur_y")
    inpaint_area: InpaintArea = _of("inpaint_area")
    mask_padding: int = _of("mask_padding")
    masked_content: MaskedContent = _of("masked_content")
    hires: bool = _of("hires")
    hires_model: str = _of("hires_model")
    hires_sampler: str = _of("hires_sampler")
    hires_prompt: Prompt = _of("hires_prompt")
    hires_negative_prompt: Prompt = _of("hires_negative_prompt")
    hires_cfg_scale: float = _of("hires_cfg_scale")
    hires_scheduler: str = _of("hires_scheduler")
    hires_scale: float = _of("hires_scale")
    hires_width: int = _of("hires_width")
    hires_height: int = _of("hires_height")
    hires_steps: int = _of("hires_steps")
    hires_upscaler: str = _of("hires_upscaler")
    first_pass_image: str = _of("first_pass_image")
    vae_encoder: VaeMethod = _of("vae_encoder")
    lora: str = _of("lora")
    hypernetwork: str = _of("hypernetwork")
    network_multiplier: float = _of("network_multiplier")
    disable_networks: bool = _of("disable_networks")
    old_prompt_editing: bool = _of("old_prompt_editing")
    emphasis: Emphasis = _of("emphasis")
    downcast_alphas: bool = _of("downcast_alphas")
    noise_schedule: NoiseSchedule = _of("noise_schedule")
    noise_multiplier: float = _of("noise_multiplier")
    discard_penultimate: bool = _of("discard_penultimate")
    scheduler_options: dict[str, OptionValue] = _of("scheduler_options")
    sgm_noise_multiplier: bool = _of("sgm_noise_multiplier")
    sampler_options: dict[str, OptionValue] = _of("sampler_options")
    extra_noise: float = _of("extra_noise")
    refiner_by_steps: bool = _of("refiner_by_steps")
    refiner_passes: RefinerPasses = _of("refiner_passes")
    refiner: str = _of("refiner")
    refiner_switch_at: float = _of("refiner_switch_at")
    pad_conds: PadConds = _of("pad_conds")
    vae_decoder: VaeMethod = _of("vae_decoder")
    postprocess: Names = _of("postprocess")
    upscale_images: Names = _of("upscale_images")
    interrogate_images: Names = _of("interrogate_images")
    interrogator: str = _of("interrogator")
    upscale_by: float = _of("upscale_by")
    upscale_width: int | None = _of("upscale_width")
    upscale_height: int | None = _of("upscale_height")
    upscale_crop: bool = _of("upscale_crop")
    upscaler: str = _of("upscaler")
    second_upscaler: str = _of("second_upscaler")
    second_upscaler_visibility: float = _of("second_upscaler_visibility")
    upscale_tile: int = _of("upscale_tile")
    upscale_overlap: int = _of("upscale_overlap")
    options: dict[str, OptionValue] = _of("options")
    pipeline: str = _of("pipeline")
    pipeline_options: dict[str, OptionValue] = _of("pipeline_options")
    extra_params: dict[str, str] = _of("extra_params")
    old_emphasis: bool = _of("old_emphasis")
    comma_backtrack: int = _of("comma_backtrack")
    quantize: bool = _of("quantize")
    crop_top: int = _of("crop_top")
    crop_left: int = _of("crop_left")
    asked_width: int = _of("asked_width")
    asked_height: int = _of("asked_height")
    aesthetic_score: float = _of("aesthetic_score")
    negative_aesthetic_score: float = _of("negative_aesthetic_score")
    init_images: Names = _of("init_images")
    resize_mode: ResizeMode = _of("resize_mode")
    init_upscaler: str = _of("init_upscaler")
    background_color: str = _of("background_color")
    fix_steps: bool = _of("fix_steps")
    mask: str = _of("mask")
    mask_rounded: bool = _of("mask_rounded")
    color_correction: bool = _of("color_correction")
    overlay_original: bool = _of("overlay_original")
    styles: Names = _of("styles")
    transforms: Names = _of("transforms")
    batch_count: int = _of("batch_count")
    batch_size: int = _of("batch_size")
    format: str = _of("format")
    format_options: dict[str, OptionValue] = _of("format_options")
    infotext_without: Names = _of("infotext_without")
    grid: bool = _of("grid")
    save_before_hires: bool = _of("save_before_hires")
    return_mask: bool = _of("return_mask")
    return_mask_composite: bool = _of("return_mask_composite")
    memory: Names = _of("memory")
    batch_cond_uncond: bool = _of("batch_cond_uncond")
    spread: Spread = _of("spread")
    ladder: Ladder = _of("ladder")
    rungs: Rungs = _of("rungs")
    preview_method: VaeMethod = _of("preview_method")
    precision: Precision = _of("precision")

    def asked(self, width: int, height: int) -> tuple[int, int]:
        """The size that was rounded down to this one; this one, where none was."""
        sides = ((self.asked_width, width), (self.asked_height, height))
        across, down = (asked if asked // SIZE_STEP * SIZE_STEP == side else side for asked, side in sides)
        return across, down

    @property
    def images(self) -> int:
        """How many it asks for."""
        if self.interrogate_images:
            return 0
        return len(self.upscale_images) or self.batch_size * self.batch_count

    @property
    def title(self) -> str:
        """What a list of jobs says of it."""
        if self.interrogate_images:
            return "Interrogate"
        return message("Upscale: {upscaler}", upscaler=self.upscaler) if self.upscale_images else self.prompt

    @field_validator("prompt", "negative_prompt", "hires_prompt", "hires_negative_prompt")
    @classmethod
    def _printable(cls, text: str) -> str:
        # What a terminal would obey and no tokenizer reads; tabs and line ends are ordinary white space.
        for position, character in enumerate(text):
            if (ord(character) < 32 and character not in "\t\n\r") or 0x7F <= ord(character) < 0xA0:
                raise ValueError(
                    message(
                        "has the control character U+{code} at position {position}; remove it",
                        code=f"{ord(character):04X}",
                        position=position,
                    )
                )
            if 0xD800 <= ord(character) < 0xE000:
                raise ValueError(
                    message("is not valid Unicode at position {position}; remove that character", position=position)
                )
        return text

    @field_validator("init_images", "mask", "first_pass_image")
    @classmethod
    def _digest(cls, given: Any) -> Any:
        for one in given if isinstance(given, tuple) else (given,):
            if one and not _DIGEST.fullmatch(one):
                raise ValueError(
                    message(
                        "has {value}, which is not a SHA-256 hash: it must be 64 characters, 0-9 and a-f",
                        value=shown(one),
                    )
                )
        if isinstance(given, tuple) and len(given) > _MOST_INITS:
            raise ValueError(message("has {number} images; the limit is {limit}", number=len(given), limit=_MOST_INITS))
        return given

    @field_validator("background_color")
    @classmethod
    def _colour(cls, given: str) -> str:
        if not _COLOUR.fullmatch(given):
            raise ValueError(message("is {value}, but it must be a color such as #ffffff", value=shown(given)))
        return given

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        # A request is stored and sent as JSON, which cannot hold half a character.
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(message("is not valid Unicode")) from None
        return value


def make_request(**fields: Any) -> GenerationRequest:
    """A request from values as people type them, "20" or "true", too. Raises RequestError."""
    try:
        return GenerationRequest.model_validate(fields, strict=False)
    except ValidationError as error:
        raise request_error(error) from None


def request_error(error: ValidationError) -> RequestError:
    """The first thing that is wrong with a request, as a sentence."""
    location = error.errors(include_url=False)[0]["loc"]
    return RequestError(_sentence(error), str(location[0]) if location else None)


def shown(value: object) -> str:
    """A value as it may be quoted in a sentence: short, and never failing (Python does not print endless numbers)."""
    try:
        text = repr(value)
    except ValueError:
        return message("a number with thousands of digits")
    return text if len(text) <= 60 else text[:57] + "..."


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=True)[0]
    location = [str(part) for part in first["loc"]]
    if not location:
        return message("The request is invalid: {problem}.", problem=first["msg"])
    inside = location[0] in FIELDS and isinstance(FIELDS[location[0]].default, tuple | dict) and len(location) > 1
    field = ".".join(location[:2]) if inside else location[0]
    match first["type"]:
        case "extra_forbidden":
            return message("A request has no field '{field}'.", field=field)
        case "missing":
            return message("{field} is missing.", field=field)
        case "value_error":
            return message("{field} {problem}.", field=field, problem=first["ctx"]["error"])
        case "string_too_long":
            return message(
                "{field} has {number:,} characters; the limit is {limit:,}. Shorten it.",
                field=field,
                number=len(first["input"]),
                limit=MAX_PROMPT,
            )
        case "int_type" | "float_type" | "bool_type" if isinstance(first["input"], str):
            return message(
                "{field} is the text {value}, but it must be {wanted}.",
                field=field,
                value=shown(first["input"]),
                wanted=describe(location[0], inside),
            )
        case _:
            return message(
                "{field} is {value}, but it must be {wanted}.",
                field=field,
                value=shown(first["input"]),
                wanted=describe(location[0], inside),
            )


def describe(field: str, inside: bool = False) -> str:
    """'a whole number from 1 to 1000', from the constraints that the field (or what is inside it) declares."""
    schema = GenerationRequest.model_json_schema()["properties"][field]
    if inside:
        return "text" if schema["type"] == "array" else message("a number, text, true or false")
    schema = {**schema, **next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), {})}
    if "enum" in schema:
        return message("one of {choices}", choices=", ".join(schema["enum"]))
    nouns = {
        "integer": message("a whole number"),
        "number": message("a number"),
        "boolean": message("true or false"),
        "array": message("a list"),
        "object": message("a table"),
    }
    noun = (
        message("a multiple of {step}", step=schema["multipleOf"])
        if "multipleOf" in schema
        else nouns.get(schema["type"], "text")
    )
    return (
        message("{noun} from {least} to {most}", noun=noun, least=schema["minimum"], most=schema["maximum"])
        if "maximum" in schema
        else noun
    )
