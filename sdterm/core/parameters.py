"""The keys of an infotext, in one table: from a planned image to text, and from text to a request.

Order, names and conditions are A1111's (processing.create_infotext, infotext_utils). What its keys cannot say goes into
one of ours, `sdterm` (see `Record`): whatever a reader of the rest would get wrong is repeated there, so that reading
gives back exactly the request that draws the image.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from sdterm import __version__
from sdterm.core import infotext, record
from sdterm.core.a1111 import ALWAYS_KARRAS, FORMER_KEYS, PADDED_BEFORE_1_6, UNIFORM
from sdterm.core.additions import Addition, asked_for, options_of
from sdterm.core.infotext import Infotext
from sdterm.core.library import CheckpointFile, Library
from sdterm.core.names import UnknownNameError, normal, printable
from sdterm.core.plan import AUTOMATIC, ImagePlan, Plan
from sdterm.core.prompt.networks import extract
from sdterm.core.record import Record
from sdterm.core.registry import PluginSet, check_options, named
from sdterm.hooks import MemoryOptimizer, Option, OptionValue, Postprocessor, Sampler, Scheduler
from sdterm.request import SIZE_STEP, GenerationRequest, RequestError, make_request

READ_AT_MOST = 32 << 30  # bytes of checkpoints hashed in search of one: half a minute to a few, once

# What a request says about how, not what: an infotext leaves these to whoever draws.
_HOW = {
    "styles",
    "batch_size",
    "batch_count",
    "grid",
    "format",
    "format_options",
    "memory",
    "transforms",
    "batch_cond_uncond",
    "precision",
}
DRAWN = frozenset(GenerationRequest.model_fields) - _HOW
"""The request fields that decide the picture."""

# An infotext without these leaves them as they are; the lack of any other key means its default.
_LEFT_ALONE = {"prompt", "negative_prompt", "model", "sampler", "steps", "cfg_scale", "seed", "width", "height"}
_EDITABLE = {"scheduler", "sampler_options", "scheduler_options", "extra_params"}


@dataclass(frozen=True)
class Drawn:
    """One image as the table sees it: the request that draws it alone, and the sampler found for it."""

    request: GenerationRequest
    sampler: Sampler

    def has(self, *marks: str) -> bool:
        """Whether one of the marks stands in the prompt or the negative prompt."""
        return any(mark in text for mark in marks for text in (self.request.prompt, self.request.negative_prompt))

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


def _field(name: str, field: str, when: Callable[[Drawn], object] = lambda drawn: True) -> Key:
    """A key that says a field as it is, where it matters."""
    return Key(name, lambda d: getattr(d.request, field) if when(d) else None, lambda value: {field: value})


def _switch(name: str, field: str, on: object = True, when: Callable[[Drawn], object] = lambda drawn: True) -> Key:
    """A key that is `True` or absent."""
    off = GenerationRequest.model_fields[field].default
    return Key(
        name,
        lambda d: True if getattr(d.request, field) == on and when(d) else None,
        lambda value: {field: on if value.lower() == "true" else off},
    )


def _size(width: str, height: str) -> Callable[[str], Mapping[str, Any]]:
    """`WxH`, each rounded down to whole latent cells as A1111 does."""

    def read(value: str) -> Mapping[str, Any]:
        sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
        if not sides:
            raise ValueError(value)
        return {width: int(sides[1]) // SIZE_STEP * SIZE_STEP, height: int(sides[2]) // SIZE_STEP * SIZE_STEP}

    return read


def _noise_source(value: str) -> Mapping[str, Any]:
    return {"noise_source": "NV" if value == "GPU" else value}  # A1111's GPU is a CUDA card


_FIRST = (
    _field("Steps", "steps"),
    _field("Sampler", "sampler"),
    _field("Schedule type", "scheduler"),
    _field("CFG scale", "cfg_scale"),
    _field("Seed", "seed"),
    Key("Size", lambda d: f"{d.request.width}x{d.request.height}", _size("width", "height")),
)
_THEN = (
    _field("Variation seed", "variation_seed", lambda d: d.request.variation_strength),
    _field("Variation seed strength", "variation_strength", lambda d: d.request.variation_strength),
    Key(
        "Seed resize from",
        lambda d: f"{w}x{h}" if (w := d.request.seed_resize_width) and (h := d.request.seed_resize_height) else None,
        _size("seed_resize_width", "seed_resize_height"),
    ),
    _field("Clip skip", "clip_skip", lambda d: d.request.clip_skip > 1),
    _field("ENSD", "ensd", lambda d: d.request.ensd and d.eta and d.sampler.noise == "sequential"),
    Key("RNG", lambda d: s if (s := d.request.noise_source) != "GPU" else None, _noise_source),
    _field("NGMS", "ngms", lambda d: d.request.ngms),
    _switch("Old prompt editing timelines", "old_prompt_editing", when=lambda d: d.has("[")),
    _field("Emphasis", "emphasis", lambda d: d.has("(", "[") and d.request.emphasis != "Original"),
    _switch("Downcast alphas_cumprod", "downcast_alphas"),
    _switch("Discard penultimate sigma", "discard_penultimate"),
)
_SGM = (_switch("SGM noise multiplier", "sgm_noise_multiplier"),)
_PADDING = (_switch("Pad conds", "pad_conds", "on"), _switch("Pad conds v0", "pad_conds", "v0"))

KEYS = {key.name: key for key in (*_FIRST, *_THEN, *_SGM, *_PADDING)}
FAULTS = "Plugin errors"
"""What went wrong with plugins while the image was drawn: it may lack what they would have done."""
_LONGEST = 300  # characters of one of those

_TOLD = {FAULTS, record.KEY, "Version"}
"""What was drawn is said by the other keys."""
_POSTPROCESS = "Postprocess"
_OURS = {*KEYS, _POSTPROCESS, "Model hash", "Model", *_TOLD}

# --- what is not drawn ------------------------------------------------------------------------------------------------

# Keys of A1111 that change a picture and are not honoured, with the values that change nothing.
NOT_HONOURED: Mapping[str, tuple[str, ...]] = {
    "Image CFG scale": (),
    "Face restoration": ("None",),
    "FP8 weight": ("Disable",),
    "Cache FP16 weight for LoRA": ("False",),
    "VAE hash": (),
    "VAE": ("None", "Automatic"),
    "Denoising strength": (),
    "Conditional mask weight": (),
    "Token merging ratio": ("0", "0.0"),
    "Token merging ratio hr": ("0", "0.0"),
    "Init image hash": (),
    "Tiling": ("False",),
    "First pass size": (),
    "Mask mode": ("Inpaint masked",),
    "Mask blur": (),
    "Inpaint area": ("Whole picture",),
    "Masked area padding": (),
    "Masked content": ("original",),
    "VAE Encoder": ("Full",),
    "VAE Decoder": ("Full",),
    "Noise Schedule": ("Default",),
    "Noise multiplier": ("1", "1.0"),
    "Extra noise": ("0", "0.0"),
    "Refiner": ("None",),
    "Refiner switch at": (),
    "Refiner switch by sampling steps": ("False",),
    "Script": ("None",),
}
_HIRES_OFF = {"Hires resize": ("0x0",), "Hires steps": ("0",)}

# Keys that say something about a picture and change nothing.
_TELLING = {"User", "Hashes", "Civitai resources", "Civitai metadata", "Created Date", "Template", "Negative Template"}


_TAGS = 20  # named in a record, at most
_CLEAN = re.compile(r"[^\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*")  # what a file can hold and a terminal bears


@dataclass(frozen=True)
class Reading:
    """What an infotext asks for."""

    fields: Mapping[str, Any]
    """Of `GenerationRequest`; the model is left to `find_model`."""
    not_reproduced: tuple[str, ...]
    """The keys that cannot be honoured, some with the reason."""
    record: Record
    parameters: Mapping[str, str]

    @property
    def warning(self) -> str | None:
        """One sentence that names everything not reproduced."""
        return f"not reproduced: {', '.join(self.not_reproduced)}" if self.not_reproduced else None


# --- writing ----------------------------------------------------------------------------------------------------------


def alone(plan: Plan, image: ImagePlan) -> GenerationRequest:
    """The request that draws this one image of the job by itself."""
    request = plan.request
    asked = (request.sampler_options, request.scheduler_options)
    sampler_options, scheduler_options = (
        {name: value for name, value in resolved.items() if name in given}
        for given, resolved in zip(asked, (plan.sampler_options, plan.scheduler_options), strict=True)
    )
    return request.model_copy(
        update={
            "prompt": image.prompt,
            "negative_prompt": image.negative_prompt,
            "styles": (),
            "transforms": (),
            "model": plan.model,
            "sampler": plan.sampler,
            "scheduler": AUTOMATIC if normal(request.scheduler) == normal(AUTOMATIC) else plan.scheduler,
            "sampler_options": sampler_options,
            "scheduler_options": scheduler_options,
            "seed": image.seed,
            "variation_seed": image.variation_seed if request.variation_strength else request.variation_seed,
            "width": plan.width,
            "height": plan.height,
            "batch_size": 1,
            "batch_count": 1,
            "grid": False,
        }
    )


def image_infotext(
    plan: Plan,
    image: ImagePlan,
    plugins: PluginSet,
    made: Record | None = None,
    faults: Mapping[str, str] | None = None,
) -> str:
    """The infotext of one image. `made` tells what it was made with, for the record; `faults` what went wrong with
    plugins on the way (slug → what)."""
    additions = _drawing(plan.request, plugins)
    request = _spelled_out(alone(plan, image), additions, plan.options)
    sampler, scheduler = _parts(request, plugins)
    drawn = Drawn(request, sampler)
    taken = {*_OURS}
    parameters = (
        {key.name: key.write(drawn) for key in _FIRST}
        | {"Schedule type": plan.scheduler}  # what it came to, "Karras", where "Automatic" was asked
        | {"Model hash": plan.model_hash[:10], "Model": printable(plan.model)}
        | {key.name: key.write(drawn) for key in _THEN}
        | _option_pairs(scheduler.options, plan.scheduler_options, taken)
        | {key.name: key.write(drawn) for key in _SGM}
        | _option_pairs(sampler.options, plan.sampler_options, taken)
        | {key.name: key.write(drawn) for key in _PADDING}
        | {_POSTPROCESS: ", ".join(request.postprocess) or None}
        | _addition_pairs(additions, request.options, taken)
        | {key: value for key, value in request.extra_params.items() if key not in taken and infotext.is_key(key)}
    )
    ignored = tuple(":".join((tag.kind, *tag.args)) for tag in extract(image.prompt)[1][:_TAGS])
    made = replace(made or Record(), sdterm=__version__, model=plan.model_hash, ignored=ignored)
    visible = infotext.parse(infotext.write(request.prompt, request.negative_prompt, parameters))
    said = read(visible, plugins).fields
    unsaid = {
        name: value
        for name, value in request.model_dump(include=set(DRAWN) - {"model"}).items()
        if said.get(name) != value
    }
    parameters |= {
        FAULTS: "; ".join(f"{slug}: {printable(what, _LONGEST)}" for slug, what in (faults or {}).items()) or None,
        record.KEY: str(replace(made, fields=unsaid, text=_checksum(visible) if unsaid else "")),
        # Not a bare number: A1111 would take 0.1.0 for an ancient version of itself and switch old behaviour on.
        "Version": f"sdterm {__version__}",
    }
    return infotext.write(request.prompt, request.negative_prompt, parameters)


def option_key(option: Option) -> str:
    """An option's key: its own, or its name in words."""
    return option.infotext or option.name.replace("_", " ").strip().capitalize()


def _option_pairs(
    options: tuple[Option, ...], values: Mapping[str, OptionValue], taken: set[str]
) -> dict[str, OptionValue]:
    """What differs from its default, under keys that are free; `taken` grows by them. The record has the others."""
    pairs: dict[str, OptionValue] = {}
    for option in options:
        key = option_key(option)
        if key in taken or not infotext.is_key(key):
            continue
        taken.add(key)
        if values[option.name] != option.default:
            pairs[key] = values[option.name]
    return pairs


def _drawing(request: GenerationRequest, plugins: PluginSet) -> tuple[Addition, ...]:
    """What changes the pixels of what a request asks for besides: visible optimizers, and postprocessors in order."""
    visible = [optimizer for optimizer in asked_for(MemoryOptimizer, request, plugins) if optimizer.effect == "visible"]
    return (*visible, *sorted(asked_for(Postprocessor, request, plugins), key=lambda addition: addition.order))


def _spelled_out(
    request: GenerationRequest, additions: tuple[Addition, ...], given: Mapping[str, OptionValue]
) -> GenerationRequest:
    """The request with the labels of its postprocessors and the options that matter: an optimizer is asked for by its
    options, so all of them do."""
    options: dict[str, OptionValue] = {}
    for addition in additions:
        for option in addition.options:
            value = options_of(addition, given)[option.name]
            if isinstance(addition, MemoryOptimizer) or value != option.default:
                options[f"{addition.id}.{option.name}"] = value
    labels = tuple(addition.label for addition in additions if isinstance(addition, Postprocessor))
    return request.model_copy(update={"postprocess": labels, "options": options})


def _addition_key(addition: Addition, option: Option) -> str:
    return option.infotext or f"{addition.label} {option.name.replace('_', ' ')}"


def _addition_pairs(
    additions: tuple[Addition, ...], options: Mapping[str, OptionValue], taken: set[str]
) -> dict[str, OptionValue]:
    """The options as pairs, under keys that are free; `taken` grows by them."""
    pairs: dict[str, OptionValue] = {}
    for addition in additions:
        for option in addition.options:
            key, name = _addition_key(addition, option), f"{addition.id}.{option.name}"
            if name in options and key not in taken and infotext.is_key(key):
                taken.add(key)
                pairs[key] = options[name]
    return pairs


# --- reading ----------------------------------------------------------------------------------------------------------


def read(text: Infotext, plugins: PluginSet, overrides: Mapping[str, str] | None = None) -> Reading:
    """What an infotext asks for, as A1111 reads it. `overrides`: values for its keys `Sampler` and `Schedule type`,
    whose options are read for them."""
    parameters = _modernised(replace(text, parameters={**text.parameters, **(overrides or {})}), plugins)
    kept = Record.parse(parameters.get(record.KEY, ""))
    prompt = text.prompt + _hypernet(parameters)
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": text.negative_prompt}
    lost: list[str] = []
    if not text.parameters:
        return Reading(fields, (), kept, parameters)
    defaults = make_request(prompt="x")
    fields |= {name: getattr(defaults, name) for name in DRAWN - _LEFT_ALONE}
    for name, key in KEYS.items():
        if name in parameters:
            try:
                given = {**key.read(parameters[name])}
                checked = make_request(prompt="x", **given)
                if name in ("Sampler", "Schedule type"):
                    checked = checked.model_copy(update=_found(given, plugins))
                fields |= {field: getattr(checked, field) for field in given}
            except (ValueError, UnknownNameError):
                lost.append(f"{name} ({printable(parameters[name], limit=60)})")
    sampler, scheduler = _parts(make_request(prompt="x", **_names(fields)), plugins)
    if sampler.default_scheduler and plugins.scheduler(sampler.default_scheduler) is scheduler:
        fields["scheduler"] = AUTOMATIC
    used = {*_OURS}
    for field, owner in (("scheduler_options", scheduler), ("sampler_options", sampler)):
        fields[field], wrong = _options(owner, parameters, used)
        lost += wrong
    added, wrong = _additions(parameters, plugins, used)
    fields |= added
    lost += wrong
    rest = {name: value for name, value in parameters.items() if name not in used}
    lost += _not_honoured(rest, text.prompt)
    fields["extra_params"] = {name: value for name, value in rest.items() if _unknown(name) and _CLEAN.fullmatch(value)}
    if not kept.sdterm:  # in our own images they never did anything
        lost += [name for name in rest if _unknown(name) and name not in _TELLING]
    edited = bool(overrides) or kept.text != _checksum(text)
    return Reading(fields | _recorded(kept, fields, edited), tuple(lost), kept, parameters)


def find_model(reading: Reading, library: Library, *, read_at_most: int = READ_AT_MOST) -> tuple[str | None, str]:
    """(name of the checkpoint for the request, sentence about what is wrong with it); None leaves the choice open.

    By hash, then by name: A1111's hash is of the whole file and certain; a name alone may be another model's.
    """
    name = reading.parameters.get("Model", "")
    wanted = (reading.record.model or reading.parameters.get("Model hash", "")).strip().lower()
    hashed = re.fullmatch(r"[0-9a-f]{8,64}", wanted) is not None
    namesakes = [c for c in library.checkpoints() if name and normal(c.name) == normal(name) and c.path.is_file()]
    exact = [checkpoint for checkpoint in namesakes if checkpoint.name == name]
    if hashed:
        same = (c for c in namesakes if library.has_hash(c.path, wanted, compute=read_at_most > 0))
        if found := next(same, None) or library.with_hash(wanted, read_at_most=read_at_most):
            return _call(found, library), ""
    if not (name or hashed):
        return None, ""
    called = f"{printable(name) or '?'} [{wanted[:10]}]" if hashed else printable(name)
    if not namesakes:
        return None, f"The model {called} is not here; drawing with another."
    spellings = dict.fromkeys(printable(checkpoint.name) for checkpoint in exact or namesakes)
    if len(spellings) > 1:
        return None, f"The model {called} is not here, and may be {' or '.join(spellings)}; drawing with another."
    differs = f"The model {called} is not here; another file of that name is used." if hashed else ""
    return _call((exact or namesakes)[0], library), differs


def _call(checkpoint: CheckpointFile, library: Library) -> str:
    """A name that `library.find` takes for this file and no other."""
    try:
        same = library.find(checkpoint.name).path == checkpoint.path
    except UnknownNameError:
        same = False
    return checkpoint.name if same else str(checkpoint.path)


def _names(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("sampler", "scheduler") if name in fields}


def _parts(request: GenerationRequest, plugins: PluginSet) -> tuple[Sampler, Scheduler]:
    sampler = plugins.sampler(request.sampler)
    automatic = normal(request.scheduler) == normal(AUTOMATIC)
    return sampler, plugins.scheduler(sampler.default_scheduler or UNIFORM if automatic else request.scheduler)


def _found(given: Mapping[str, str], plugins: PluginSet) -> dict[str, str]:
    """Labels for the names that an infotext gives. Raises UnknownNameError."""
    if "sampler" in given:
        return {"sampler": plugins.sampler(given["sampler"]).label}
    automatic = normal(given["scheduler"]) == normal(AUTOMATIC)
    return {"scheduler": AUTOMATIC if automatic else plugins.scheduler(given["scheduler"]).label}


def _options(
    owner: Sampler | Scheduler, parameters: Mapping[str, str], used: set[str]
) -> tuple[dict[str, OptionValue], list[str]]:
    """The owner's options that the infotext gives, and the keys whose values do not do; `used` grows by both."""
    values: dict[str, OptionValue] = {}
    wrong: list[str] = []
    for option in owner.options:
        called = option_key(option)
        for key in filter(None, (called, FORMER_KEYS.get(called))):
            if key not in parameters or key in used or option.name in values:
                continue
            used.add(key)
            try:
                values |= check_options(owner.label, (option,), {option.name: parameters[key]})
            except RequestError:
                if parameters[key].strip() not in ("0", "0.0"):  # A1111's way of saying: the default
                    wrong.append(f"{key} ({printable(parameters[key], limit=60)})")
    return values, wrong


def _additions(parameters: Mapping[str, str], plugins: PluginSet, used: set[str]) -> tuple[dict[str, Any], list[str]]:
    """The postprocessors and the options of them and of visible optimizers that the infotext gives, as request fields,
    and the keys whose values do not do; `used` grows by both."""
    labels: list[str] = []
    options: dict[str, OptionValue] = {}
    wrong: list[str] = []
    names = [name.strip() for name in parameters.get(_POSTPROCESS, "").split(",")]
    for name in filter(None, names):
        try:
            labels.append(plugins.postprocessor(name).label)
        except UnknownNameError:
            wrong.append(f"{_POSTPROCESS} ({printable(name, limit=60)})")
    there: list[Addition] = [plugins.postprocessor(label) for label in labels]
    there += [optimizer for optimizer in plugins.all(MemoryOptimizer) if optimizer.effect == "visible"]
    for addition in there:
        for option in addition.options:
            key = _addition_key(addition, option)
            if key not in parameters or key in used:
                continue
            used.add(key)
            try:
                value = check_options(addition.label, (option,), {option.name: parameters[key]})[option.name]
                options[f"{addition.id}.{option.name}"] = value
            except RequestError:
                wrong.append(f"{key} ({printable(parameters[key], limit=60)})")
    return {"postprocess": tuple(labels), "options": options}, wrong


def _checksum(text: Infotext) -> str:
    """Of what an infotext says besides its record: whether somebody edited it since."""
    said = [(name, value) for name, value in text.parameters.items() if name not in _TOLD]
    return f"{crc32(json.dumps([text.prompt, text.negative_prompt, said]).encode()):08x}"


def _recorded(kept: Record, fields: Mapping[str, Any], edited: bool) -> dict[str, Any]:
    """The record's own fields, as far as they are a request's. Where the text was edited, or its sampler overridden,
    they give way to what it says."""
    recorded: dict[str, Any] = {}
    for name, value in kept.fields.items():
        default = GenerationRequest.model_fields[name].default if name in DRAWN else None
        if name not in DRAWN or (edited and (name in _LEFT_ALONE | _EDITABLE or fields[name] != default)):
            continue
        try:
            recorded[name] = getattr(make_request(**{"prompt": "x", name: value}), name)
        except RequestError:
            continue
    return recorded


def _modernised(text: Infotext, plugins: PluginSet) -> dict[str, str]:
    """The parameters in the keys of A1111 1.9, whatever version wrote them."""
    parameters = dict(text.parameters)
    version = _version(parameters.get("Version", ""))
    old: dict[str, str] = {}
    if version and version < (1, 6, 0, 0):
        if "[" in text.prompt:
            old["Old prompt editing timelines"] = "True"
        if parameters.get("Sampler") in PADDED_BEFORE_1_6:
            old["Pad conds v0"] = "True"
    if version and version < (1, 7, 0, 225):
        old["Downcast alphas_cumprod"] = "True"
    if version and version < (1, 8, 0, 0) and "Refiner" in parameters:
        old["Refiner switch by sampling steps"] = "True"
    old |= _split(parameters, plugins, version)
    if (first := parameters.get("First pass size")) and re.fullmatch(r"\d{1,5}x\d{1,5}", first):
        del parameters["First pass size"]
        old |= {"Size": _first_pass(first, parameters.get("Size", "")), "Hires resize": parameters.get("Size", "0x0")}
    return parameters | old


def _version(text: str) -> tuple[int, int, int, int] | None:
    """A1111's own version: v1.7.0, or v1.7.0-225-gabc for the 225th change after it."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-(\d{1,6})(?=-|$)|$|(?=-))", text.strip())
    return (int(found[1]), int(found[2]), int(found[3]), int(found[4] or 0)) if found else None


def _split(parameters: Mapping[str, str], plugins: PluginSet, version: tuple[int, ...] | None) -> dict[str, str]:
    """Before 1.9 one name was both: "DPM++ 2M Karras", and plain "DPM++ 2M" had the uniform schedule that is not its
    default now."""
    name = normal(parameters.get("Sampler", ""))
    samplers = {normal(known): sampler for known, sampler in named(plugins.all(Sampler)).items()}
    if sampler := samplers.get(name):
        uniform = version and version < (1, 9, 0, 0) and sampler.label not in ALWAYS_KARRAS
        unsaid = sampler.default_scheduler and "Schedule type" not in parameters
        return {"Schedule type": UNIFORM} if uniform and unsaid else {}
    for known, scheduler in named(plugins.all(Scheduler)).items():
        first = name.removesuffix(" " + normal(known))
        if first != name and first in samplers:
            return {"Sampler": samplers[first].label, "Schedule type": scheduler.label}
    return {}


def _first_pass(first: str, size: str) -> str:
    """The size of the first pass before hires had an upscale factor. 0x0: as many pixels as 512x512, in the shape of
    the picture, each side rounded up to 64."""
    if first != "0x0" or not (sides := re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)):
        return first
    width, height = max(1, int(sides[1])), max(1, int(sides[2]))
    scale = (512 * 512 / (width * height)) ** 0.5
    return "x".join(str(-(-int(scale * side) // 64) * 64) for side in (width, height))


def _hypernet(parameters: dict[str, str]) -> str:
    """The tag for the keys that named a hypernetwork before tags did; they are taken out."""
    name, strength = parameters.pop("Hypernet", ""), parameters.pop("Hypernet strength", "1.0")
    return f"<hypernet:{name}:{strength}>" if name else ""


def _not_honoured(parameters: Mapping[str, str], prompt: str) -> list[str]:
    """The keys of A1111 that change a picture here only in name."""
    lost = [name for name, off in NOT_HONOURED.items() if name in parameters and parameters[name] not in off]
    for name, value in parameters.items():
        if name.startswith("Hires ") and value not in _HIRES_OFF.get(name, ()) and not value.startswith("Use same "):
            lost.append(name)
    if "Lora hashes" in parameters and "<lora:" in prompt:
        lost.append("Lora hashes")
    if "TI hashes" in parameters:
        lost.append("TI hashes")
    return lost


def _unknown(name: str) -> bool:
    return not (name in NOT_HONOURED or name.startswith("Hires ") or name in ("Lora hashes", "TI hashes"))
