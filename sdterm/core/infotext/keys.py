"""The keys of an infotext, in one table: names, order and conditions are A1111's (processing.create_infotext,
infotext_utils)."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from sdterm.core.a1111 import FORMER_KEYS
from sdterm.core.extensions.kinds import KINDS
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext import record, upscaled
from sdterm.core.infotext.grammar import Infotext, is_key
from sdterm.core.planning.choices import Addition
from sdterm.core.prompt.schedule import schedule
from sdterm.fields import ROWS, SIZE_STEP, RequestField, deciding, shown_as_one
from sdterm.hooks import Option, OptionValue, Sampler, Scheduler
from sdterm.request import GenerationRequest

DRAWN = deciding("what", "pass", "finish")
"""The request fields that decide the picture, prompts spelled out."""

# An infotext without these leaves them as they are; the lack of any other key means its default.
LEFT_ALONE = {row.name for row in ROWS if row.always} - {"scheduler"}
EDITABLE = {"scheduler", "sampler_options", "scheduler_options", "extra_params"}


@dataclass(frozen=True)
class Drawn:
    """One image as the table sees it: the request that draws it alone, and the sampler found for it."""

    request: GenerationRequest
    sampler: Sampler

    def has(self, *marks: str) -> bool:
        """Whether one of the marks stands in the prompt or the negative prompt."""
        return any(mark in text for mark in marks for text in (self.request.prompt, self.request.negative_prompt))

    @property
    def masked(self) -> bool:
        return bool(self.request.init_images and self.request.mask)

    @property
    def retimed(self) -> bool:
        """Whether the prompts change at other steps than today's reading of `[a:b:N]` has it."""
        calls = self.request.steps * self.sampler.calls_per_step
        texts = (self.request.prompt, self.request.negative_prompt)
        return any(schedule(text, calls, old=True) != schedule(text, calls) for text in texts)

    @property
    def eta(self) -> OptionValue:
        """Of the sampler; 0 where it takes none."""
        defaults = {option.name: option.default for option in self.sampler.options}
        return (defaults | self.request.sampler_options).get("eta", 0)


@dataclass(frozen=True)
class Key:
    """One key: its value for an image (None: it is not written), and the request fields that a value gives.

    `read` raises ValueError for what it cannot take."""

    name: str
    write: Callable[[Drawn], object]
    read: Callable[[str], Mapping[str, Any]]


_ONLY_WHEN: Mapping[str, Callable[[Drawn], object]] = {
    "variation_seed": lambda d: d.request.variation_strength,
    "ensd": lambda d: d.eta and d.sampler.noise == "sequential" and d.sampler.start == "sigma",  # not DDIM
    "old_prompt_editing": lambda d: d.retimed,
    "emphasis": lambda d: d.has("(", "["),
    "noise_multiplier": lambda d: d.request.init_images,
    "extra_noise": lambda d: d.request.init_images or d.request.hires,
    "masked_content": lambda d: d.masked,
    "inpaint_area": lambda d: d.masked,
    **{row.name: lambda d: d.request.hires for row in ROWS if row.part == "Hires"},
    **{row.name: lambda d: d.request.refiner for row in ROWS if row.part == "Refiner"},
}
"""When A1111 writes a field, besides its having another value than the default."""


def _key(rows: Sequence[RequestField]) -> Key:
    """The key of one field, or of the two that it shows as `WxH`: written where it matters, as it is; yes as `True`."""
    (name,), names, first = rows[0].infotext, [row.name for row in rows], rows[0]

    def write(drawn: Drawn) -> object:
        values = [getattr(drawn.request, name) for name in names]
        changed = all(value != row.default for value, row in zip(values, rows, strict=True))
        when = _ONLY_WHEN.get(first.name)
        if not first.always and not (changed and (when is None or when(drawn))):
            return None
        return values[0] if len(values) == 1 else "x".join(map(str, values))

    def read(value: str) -> Mapping[str, Any]:
        if len(names) == 2:
            return dict(zip(names, _sides(value), strict=True))
        return {names[0]: value.lower() == "true" if isinstance(first.default, bool) else value}

    return Key(name, write, read)


def _sides(value: str) -> tuple[int, int]:
    """`WxH`, each rounded down to whole latent cells as A1111 does."""
    across, down = _exact_sides(value)
    return across // SIZE_STEP * SIZE_STEP, down // SIZE_STEP * SIZE_STEP


def _exact_sides(value: str) -> tuple[int, int]:
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    if not sides:
        raise ValueError(value)
    return int(sides[1]), int(sides[2])


def _size_written(drawn: Drawn) -> str:
    """As it was asked for, though the image is smaller by what makes no whole cell: SDXL is told that."""
    across, down = drawn.request.asked(drawn.request.width or 0, drawn.request.height or 0)
    return f"{across}x{down}"


def _size_read(value: str) -> Mapping[str, Any]:
    names, sides = ("width", "height"), _sides(value)
    asked = zip(names, _exact_sides(value), sides, strict=True)
    return {
        **dict(zip(names, sides, strict=True)),
        **{f"asked_{name}": exact for name, exact, side in asked if exact != side},
    }


def _noise_source(value: str) -> Mapping[str, Any]:
    return {"noise_source": "NV" if value == "GPU" else value}  # A1111's GPU is a CUDA card


def _padding(name: str, value: str) -> Key:
    return Key(
        name,
        lambda drawn: True if drawn.request.pad_conds == value else None,
        lambda text: {"pad_conds": value if text.lower() == "true" else "off"},
    )


def _blur(text: str) -> Mapping[str, Any]:
    return {"mask_blur_x": text, "mask_blur_y": text}


def _written_blur(drawn: Drawn) -> object:
    """A1111 has one number for both directions, and says nothing where they differ."""
    x, y = drawn.request.mask_blur_x, drawn.request.mask_blur_y
    return x if drawn.masked and x == y and x else None


def _told(name: str, read: Callable[[str], Mapping[str, Any]]) -> Key:
    """One that only the plan knows: what a request has by name is a certain file there."""
    return Key(name, lambda drawn: None, read)


def _used(name: str, field: str, when: Callable[[GenerationRequest], object]) -> Key:
    """One that is written wherever its field matters, whatever its value."""
    return Key(name, lambda d: getattr(d.request, field) if when(d.request) else None, lambda text: {field: text})


def _hires(name: str, field: str, when: Callable[[GenerationRequest], object]) -> Key:
    """One of those that tell that there was a second pass."""
    key = _used(name, field, when)
    return replace(key, read=lambda text: {"hires": True, field: text})


def _named(name: str, field: str) -> Key:
    """One with a name, where that is not the first pass's."""
    return Key(name, lambda d: getattr(d.request, field) or None, lambda text: {field: as_first(text)})


def _resized(drawn: Drawn) -> object:
    asked = drawn.request
    return f"{asked.hires_width}x{asked.hires_height}" if asked.hires and _is_resized(asked) else None


def _is_resized(request: GenerationRequest) -> bool:
    return bool(request.hires_width or request.hires_height)


def _resize(text: str) -> Mapping[str, Any]:
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not sides:
        raise ValueError(text)
    width, height = int(sides[1]), int(sides[2])
    return {"hires": True, "hires_width": width, "hires_height": height} if width or height else {}


def as_first(text: str) -> str:
    """A1111's words for what is left as in the first pass are no name."""
    return "" if text.startswith("Use same ") or text == "None" else text


def file_called(text: str) -> str:
    """`name [hash]` without the hash."""
    return re.sub(r" \[[0-9a-f]{8,64}\]$", "", as_first(text))


def _upscaled(name: str, read: Callable[[str], Mapping[str, Any]]) -> Key:
    return Key(name, lambda drawn: upscaled.keys(drawn.request).get(name), read)


def _options_written(drawn: Drawn) -> object:
    given = drawn.request.pipeline_options
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items()) or None


def _options_read(text: str) -> Mapping[str, Any]:
    """`name=value, name=value`, each value as JSON has it."""
    found: dict[str, Any] = {}
    rest, decoder = text, json.JSONDecoder()
    while named := re.match(r"(?:, )?(\w+)=", rest):
        found[named[1]], end = decoder.raw_decode(rest, named.end())
        rest = rest[end:]
    if rest:
        raise ValueError(text)
    return {"pipeline_options": found}


PIPELINE = "Pipeline"
"""What drew a picture, where that has samplers of its own."""
POSTPROCESS = "Postprocess"
INIT_HASH, MASK_WEIGHT = "Init image hash", "Conditional mask weight"
INPAINT_AREA, MASK_PADDING = "Inpaint area", "Masked area padding"
ENABLED = "enabled"
"""`Soft inpainting enabled: True` says that a denoise hook acts."""
_UPSIDE_DOWN = "Inpaint not masked"
LORA_HASHES, EMBEDDING_HASHES = "Lora hashes", "TI hashes"
_BY_PLUGINS = {"model", "postprocess"}  # what these keys say, only plugins and the library know
_SPECIAL: Mapping[str, tuple[Key, ...]] = {
    "noise_source": (Key("RNG", lambda d: s if (s := d.request.noise_source) != "GPU" else None, _noise_source),),
    "width": (Key("Size", _size_written, _size_read),),
    "vae": (_told("VAE hash", lambda text: {}), _told("VAE", lambda text: {"vae": text})),
    "pad_conds": (_padding("Pad conds", "on"), _padding("Pad conds v0", "v0")),
    "denoising_strength": (
        _used("Denoising strength", "denoising_strength", lambda request: request.init_images or request.hires),
    ),
    "conditional_mask_weight": (_told(MASK_WEIGHT, lambda text: {"conditional_mask_weight": text}),),
    "init_image_hash": (_told(INIT_HASH, lambda text: {}),),
    "mask_inverted": (
        Key(
            "Mask mode",
            lambda d: _UPSIDE_DOWN if d.masked and d.request.mask_inverted else None,
            lambda text: {"mask_inverted": text == _UPSIDE_DOWN},
        ),
    ),
    "mask_blur_x": (Key("Mask blur", _written_blur, _blur),),
    "mask_padding": (
        Key(
            MASK_PADDING,
            lambda d: d.request.mask_padding if d.masked and d.request.inpaint_area == "Only masked" else None,
            lambda text: {"mask_padding": text},
        ),
    ),
    "hires_model": (_told("Hires checkpoint", lambda text: {"hires_model": file_called(text)}),),
    "hires_sampler": (_named("Hires sampler", "hires_sampler"),),
    "hires_scheduler": (_told("Hires schedule type", lambda text: {"hires_scheduler": as_first(text)}),),
    "hires_scale": (_hires("Hires upscale", "hires_scale", lambda r: r.hires and not _is_resized(r)),),
    "hires_width": (Key("Hires resize", _resized, _resize),),
    "hires_upscaler": (_hires("Hires upscaler", "hires_upscaler", lambda request: request.hires),),
    "refiner": (_told("Refiner", lambda text: {"refiner": file_called(text)}),),
    "refiner_switch_at": (_used("Refiner switch at", "refiner_switch_at", lambda request: request.refiner),),
    "pipeline_options": (Key("Pipeline options", _options_written, _options_read),),
    **{field: (_upscaled(*key),) for field, key in upscaled.READ.items()},
}
KEYS_OF: Mapping[str, tuple[Key, ...]] = {
    rows[0].name: _SPECIAL.get(rows[0].name) or (_key(rows),)
    for names, rows in shown_as_one("infotext").items()
    if names and rows[0].name not in _BY_PLUGINS
}
"""A request's field → its keys."""
PADDING_KEYS = ("Pad conds", "Pad conds v0")
REFINER_KEYS = tuple(key.name for row in ROWS if row.part == "Refiner" for key in KEYS_OF.get(row.name, ()))
"""Those that are there only where the refiner drew."""
KEYS = {key.name: key for keys in KEYS_OF.values() for key in keys}
FAULTS = "Plugin errors"
"""What went wrong with plugins while the image was drawn: it may lack what they would have done."""

_TOLD = {FAULTS, record.KEY, "Version"}
"""What was drawn is said by the other keys."""
OURS = {*KEYS, POSTPROCESS, LORA_HASHES, EMBEDDING_HASHES, "Model hash", "Model", *_TOLD}


# Keys of A1111 that change a picture and are not honoured unless a plugin reads them, with values that change nothing.
NOT_HONOURED: Mapping[str, tuple[str, ...]] = {
    "Image CFG scale": (),
    "Face restoration": ("None",),
    "FP8 weight": ("Disable",),
    "Cache FP16 weight for LoRA": ("False",),
    "Token merging ratio": ("0", "0.0"),
    "Token merging ratio hr": ("0", "0.0"),
    "First pass size": (),
    "Script": ("None",),
}
_HIRES_OFF = {"Hires resize": ("0x0",), "Hires steps": ("0",)}

# Keys that say something about a picture and change nothing.
TELLING = {"User", "Hashes", "Civitai resources", "Civitai metadata", "Created Date", "Template", "Negative Template"}


def option_key(option: Option) -> str:
    """An option's key: its own, or its name in words."""
    return option.infotext or option.name.replace("_", " ").strip().capitalize()


def addition_key(addition: Addition, option: Option) -> str:
    return option.infotext or f"{addition.label} {option.name.replace('_', ' ')}"


def is_free(name: str, plugins: PluginSet) -> bool:
    """Whether a plugin may write something of its own under this key: it is one, and nothing reads it."""
    parts: tuple[Sampler | Scheduler, ...] = (*plugins.all(Sampler), *plugins.all(Scheduler))
    options = {option_key(option) for part in parts for option in part.options}
    for kind in (kind for kind in KINDS if kind.several):
        options |= {addition_key(part, option) for part in plugins.all(kind.descriptor) for option in part.options}
    known = OURS | TELLING | options | {*FORMER_KEYS, *FORMER_KEYS.values()}
    return is_key(name) and name not in known and is_unknown(name)


def checksum(text: Infotext) -> str:
    """Of what an infotext says besides its record: whether somebody edited it since. That a picture was made larger
    since is no edit."""
    apart = _TOLD | {name for name, _ in upscaled.READ.values()}
    said = [(name, value) for name, value in text.parameters.items() if name not in apart]
    return f"{crc32(json.dumps([text.prompt, text.negative_prompt, said]).encode()):08x}"


def not_honoured(parameters: Mapping[str, str], prompt: str) -> list[str]:
    """The keys of A1111 that change a picture here only in name."""
    lost = [name for name, off in NOT_HONOURED.items() if name in parameters and parameters[name] not in off]
    for name, value in parameters.items():
        if name.startswith("Hires ") and value not in _HIRES_OFF.get(name, ()) and not value.startswith("Use same "):
            lost.append(name)
    return lost


OF_INIT, OF_MASK = (
    ("Denoising strength", "Noise multiplier", "Extra noise"),
    ("Mask mode", "Mask blur", INPAINT_AREA, MASK_PADDING, "Masked content"),
)
"""Keys that mean nothing without the init image and the mask, which no infotext has in it."""


def without_source(parameters: Mapping[str, str], *, init: bool, mask: bool) -> list[str]:
    """The keys that cannot be honoured without them. init, mask: which of the two is there."""
    missing = (*(() if init else OF_INIT), *(() if mask else OF_MASK))
    return [name for name in parameters if name in missing]


def is_unknown(name: str) -> bool:
    return not (name in NOT_HONOURED or name.startswith("Hires "))
