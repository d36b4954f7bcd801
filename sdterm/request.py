"""What one asks for: the request that travels from a front end to the engine.

A request is a value: validated once, never changed in place (`request.model_copy(update=...)`), stored and sent as
JSON. It holds what the user said; what the engine made of it (the seeds drawn, the final prompts) is a `Plan`.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sdterm.errors import BAD_REQUEST, SdtermError

MAX_PROMPT = 65_536  # characters; A1111 has no limit, but past this a prompt is an accident
SIZE_STEP = 8  # pixels per latent cell in every model family so far

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Size = Annotated[int, Field(ge=64, le=4096, multiple_of=SIZE_STEP)]
OptionValue = bool | int | float | str
Precision = Literal["auto", "full", "half"]
Names = Annotated[tuple[str, ...], Field(strict=False)]  # JSON has lists only

# Fields with names and texts that people type.
_TYPED = (
    "styles",
    "model",
    "sampler",
    "scheduler",
    "format",
    "memory",
    "transforms",
    "postprocess",
    "options",
    "extra_params",
)


class RequestError(SdtermError, ValueError):
    """The request cannot be drawn as it stands. The message is a sentence naming field, value and range.

    field: the request's field, where one is wrong."""

    code = BAD_REQUEST

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class GenerationRequest(BaseModel):
    """One job: `batch_count` batches of `batch_size` images. Defaults are A1111's UI defaults.

    Types are JSON's: no text for a number, no number for true or false. `make_request` also takes texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: Prompt
    negative_prompt: Prompt = ""
    styles: Names = ()
    """Names from styles.csv, applied in order."""
    model: str | None = None
    """A checkpoint's name, file name or hash; unset is the first one found."""
    sampler: str = "DPM++ 2M"
    scheduler: str = "Automatic"
    sampler_options: dict[str, OptionValue] = {}
    """By the names the sampler declares, e.g. `eta`."""
    scheduler_options: dict[str, OptionValue] = {}
    """By the names the scheduler declares, e.g. `rho`."""
    steps: int = Field(20, ge=1, le=1000)
    cfg_scale: float = Field(7.0, ge=0, le=100, allow_inf_nan=False)
    seed: int = Field(-1, ge=-1, le=2**63 - 1)
    """-1 draws a seed; image k of the job uses seed + k."""
    variation_seed: int = Field(-1, ge=-1, le=2**63 - 1)
    """The seed of the noise that is mixed in; -1 draws one. Image k of the job uses variation_seed + k."""
    variation_strength: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    """0 leaves the noise alone; above it every image of the job has the same seed, and its own variation."""
    seed_resize_width: int = Field(0, ge=0, le=4096)
    """Pixels; with the height, draws the noise at that size and pastes it into this one's. 0 does not."""
    seed_resize_height: int = Field(0, ge=0, le=4096)
    ensd: int = Field(0, ge=-(2**63), le=2**63 - 1)
    """Eta noise seed delta: added to the seed for all noise after the first."""
    noise_source: Literal["NV", "CPU", "GPU"] = "NV"
    """NV: the numbers a CUDA card draws, in software, on any device; CPU, GPU: torch's generator there."""
    emphasis: Literal["Original", "No norm", "Ignore", "None"] = "Original"
    """What a prompt's weights do, in A1111's words."""
    comma_backtrack: int = Field(20, ge=0, le=74)
    """Tokens: where a prompt overflows a chunk of 75, a comma at most so far back starts the next one. 0 is off."""
    old_prompt_editing: bool = False
    """Read `[a:b:N]` as A1111 before 1.6: below 1 a fraction, from 1 on a step."""
    pad_conds: Literal["off", "on", "v0"] = "off"
    """Make prompt and negative prompt equally long before the network reads them; v0 as A1111 before 1.6."""
    discard_penultimate: bool = False
    """Leave out the last sigma but one."""
    sgm_noise_multiplier: bool = False
    """Scale the first noise by sqrt(1 + sigma^2) instead of sigma, as Stability's own code does."""
    ngms: float = Field(0.0, ge=0, le=15, allow_inf_nan=False)
    """Negative guidance minimum sigma: below it every other call leaves the negative prompt out."""
    quantize: bool = False
    """Round each call's timestep to one the model was trained on."""
    downcast_alphas: bool = False
    """Round the model's noise levels to half precision first, as A1111 before 1.7."""
    width: Size | None = None
    """Pixels; unset is the model's native size."""
    height: Size | None = None
    batch_size: int = Field(1, ge=1, le=64)
    batch_count: int = Field(1, ge=1, le=1000)
    clip_skip: int = Field(1, ge=1, le=12)
    extra_params: dict[str, str] = {}
    """Keys of an infotext that are none of sdterm's, written back as they were read."""
    format: str = "png"
    format_options: dict[str, OptionValue] = {}
    """By the names the saver declares, e.g. `quality`."""
    grid: bool = False
    """After the last of several images, make one that shows them all."""
    memory: Names = ()
    """Memory optimizers by name, e.g. ("sliced", "vae-tiling")."""
    transforms: Names = ()
    """Prompt transforms by name, of those that are applied only where they are asked for."""
    postprocess: Names = ()
    """Postprocessors by name."""
    options: dict[str, OptionValue] = {}
    """Of prompt transforms, memory optimizers and postprocessors, as `id.name`. Setting one asks for what it is of."""
    batch_cond_uncond: bool = True
    """Run prompt and negative prompt in one call of the network (faster), or one after the other (less memory)."""
    precision: Precision = "auto"
    """Of the weights: auto is half on a GPU and full on a CPU."""

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _printable(cls, text: str) -> str:
        # What a terminal would obey and no tokenizer reads; tabs and line ends are ordinary white space.
        for position, character in enumerate(text):
            if (ord(character) < 32 and character not in "\t\n\r") or 0x7F <= ord(character) < 0xA0:
                raise ValueError(f"has the control character U+{ord(character):04X} at position {position}; remove it")
            if 0xD800 <= ord(character) < 0xE000:
                raise ValueError(f"is not valid Unicode at position {position}; remove that character")
        return text

    @field_validator(*_TYPED)
    @classmethod
    def _storable(cls, value: Any) -> Any:
        # A request is stored and sent as JSON, which cannot hold half a character.
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("is not valid Unicode") from None
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
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=True)[0]
    location = [str(part) for part in first["loc"]]
    if not location:
        return f"The request is wrong: {first['msg']}."
    inside = isinstance(_default(location[0]), tuple | dict) and len(location) > 1
    field = ".".join(location[:2]) if inside else location[0]
    match first["type"]:
        case "extra_forbidden":
            return f"A request has no field {field!r}."
        case "missing":
            return f"{field} is missing."
        case "value_error":
            return f"{field} {first['ctx']['error']}."
        case "string_too_long":
            return f"{field} has {len(first['input']):,} characters; the limit is {MAX_PROMPT:,}. Shorten it."
        case "int_type" | "float_type" | "bool_type" if isinstance(first["input"], str):
            return f"{field} is the text {shown(first['input'])}, but it must be {describe(location[0], inside)}."
        case _:
            return f"{field} is {shown(first['input'])}, but it must be {describe(location[0], inside)}."


def _default(field: str) -> object:
    known = GenerationRequest.model_fields.get(field)
    return known.default if known else None


def describe(field: str, inside: bool = False) -> str:
    """'a whole number from 1 to 1000', from the constraints that the field (or what is inside it) declares."""
    schema = GenerationRequest.model_json_schema()["properties"][field]
    if inside:
        return "text" if schema["type"] == "array" else "a number, text, true or false"
    schema = {**schema, **next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), {})}
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    nouns = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "array": "a list",
        "object": "a table",
    }
    noun = f"a multiple of {schema['multipleOf']}" if "multipleOf" in schema else nouns.get(schema["type"], "text")
    return f"{noun} from {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else noun
