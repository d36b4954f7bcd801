"""From A1111's JSON to a request: pure, and by the table of fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sdterm.core.a1111 import NEVER_WRITTEN, UNIFORM, attention, lower_name
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext.grammar import Infotext, parse
from sdterm.core.infotext.keys import EMBEDDING_HASHES, LORA_HASHES, as_first, option_key
from sdterm.core.infotext.legacy import modernised
from sdterm.core.infotext.read import read
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.choices import AUTOMATIC
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.fields import FIELDS, MAX_PROMPT, SIZE_STEP
from sdterm.hooks import MemoryOptimizer, OutputSaver, Sampler, Scheduler
from sdterm.host.sdapi.scripts import check_selected, turned_on
from sdterm.host.sdapi.values import IMG2IMG, OPTIONS, TXT2IMG, Table, with_defaults
from sdterm.request import GenerationRequest, RequestError, make_request

_FORMATS = {"jpg": "jpeg"}
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "restore_faces": (False,),
    "latent_mask": ("",),
}
"""Fields of A1111 that nothing here can do yet → the values that ask for nothing."""
_OFF: Mapping[str, tuple[Any, ...]] = {
    "face_restoration": (False,),
}
"""The same for settings."""
_SHOWN: Mapping[str, str] = {
    "add_model_hash_to_info": "Model hash",
    "add_model_name_to_info": "Model",
    "add_vae_hash_to_info": "VAE hash",
    "add_vae_name_to_info": "VAE",
    "add_version_to_infotext": "Version",
    "lora_add_hashes_to_infotext": LORA_HASHES,
    "textual_inversion_add_hashes_to_infotext": EMBEDDING_HASHES,
}
"""A1111's settings → the infotext's key that each puts there."""
_UNTOLD = ("s_churn", "s_tmin", "s_tmax", "s_noise")
"""Options of samplers that a body may give: A1111 uses them, unless the setting says otherwise, and writes none."""

_NOT_FROM_INFOTEXTS = {
    *("prompt", "negative_prompt", "width", "height", "cfg_scale", "denoising_strength", "init_images", "mask"),
    *(row.name for row in FIELDS.values() if row.part),
}
"""What img2img does not take from an infotext."""

_MOST_INFOTEXT = 4 * MAX_PROMPT  # characters: two prompts of both passes

_OLD_KARRAS = {"sigma_min": 0.1, "sigma_max": 10.0}
"""What A1111's schedule had before it took the model's range."""


_SAME = ("hires_model", "hires_sampler", "hires_scheduler", "refiner")
"""Fields that A1111 also sets to "Use same …" or "None", which are no names."""


_SAID_OF_HIRES = {
    "hr_checkpoint_name": "Use same checkpoint",
    "hr_sampler_name": "Use same sampler",
    "hr_scheduler": AUTOMATIC,
}
"""What A1111 reads of a second pass from an infotext that does not say it."""


class NotThereError(SdtermError, ValueError):
    """The request asks for something of A1111 that sdterm does not have."""

    code = BAD_REQUEST


class UnknownSamplerError(SdtermError, LookupError):
    """A1111's 404 "Sampler not found"."""

    code = BAD_REQUEST


class UnknownOptionError(SdtermError, KeyError):
    """A setting that A1111 does not have either. A1111 answers its KeyError with a 500."""

    code = BAD_REQUEST

    def __str__(self) -> str:
        return f"'{self.args[0]}'"


@dataclass(frozen=True)
class Asked:
    """What a body of txt2img asks for."""

    request: GenerationRequest
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The body with A1111's defaults, as it is echoed."""
    send_images: bool = True
    save_images: bool = False


def asked(
    values: Mapping[str, Any],
    options: Mapping[str, Any],
    plugins: PluginSet,
    settings: Mapping[str, Any],
    table: Table = TXT2IMG,
    *,
    echoed: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Asked:
    """A body of txt2img as a request, or one of img2img as `translated` gives it.

    values: what it gives, read by `read_values`. options: A1111's settings, those of its `override_settings` over those
    in force. settings: request fields of sdterm's own settings, which give way to both. echoed: the body as it
    is answered, where that is another than `values`. strict: samplers have their
    exact labels, as in A1111 1.9.
    Raises NotThereError, UnknownSamplerError, UnknownScriptError, RequestError.
    """
    from_image = table is IMG2IMG
    given = with_defaults(values, table)
    check_selected(given["script_name"])
    for name, nothing in _NOTHING.items():
        if given.get(name) is not None and given[name] not in nothing:
            raise NotThereError(f"{name} asks for what sdterm does not have yet; leave it out.")
    for name, off in _OFF.items():
        if name in options and options[name] is not None and options[name] not in off:
            raise NotThereError(f"The setting {name} asks for what sdterm does not have yet.")
    recalled = _recalled(given["infotext"], plugins) if given["infotext"] else {}
    if from_image:
        recalled = {name: value for name, value in recalled.items() if name not in _NOT_FROM_INFOTEXTS}
    fields = dict(settings)
    fields |= {row.name: options[row.a1111] for row in FIELDS.values() if options.get(row.a1111) is not None}
    if isinstance(fields.get("memory"), str):  # it says how attention is computed, and the settings may say more
        fields["memory"] = (*settings.get("memory", ()), *attention(fields["memory"]))
    theirs = {name: table[name][1] if value is None else value for name, value in given.items()}
    fields |= {row.name: theirs[row.api] for row in FIELDS.values() if theirs.get(row.api) is not None}
    settled = {row.name for row in FIELDS.values() if values.get(row.api) is not None or row.a1111 in options}
    fields |= {name: value for name, value in recalled.items() if name not in settled}
    asked_for = fields.get("options", {})
    fields |= turned_on(given["alwayson_scripts"] or {}, plugins, from_image=from_image)
    saved = _of_optimizers(options, plugins, from_image=from_image)
    fields["options"] = {**saved, **asked_for, **fields["options"]}
    if "sampler" not in recalled or {"sampler_name", "sampler_index"} & values.keys():
        name = given["sampler_name"] or given["sampler_index"] or TXT2IMG["sampler_index"][1]
        fields |= _sampler(name, given["scheduler"], plugins, strict=strict)
    else:
        fields |= {"scheduler": _scheduler(given["scheduler"], plugins)} if given["scheduler"] else {}
    fields |= _passes(fields, given, plugins)
    if from_image or not fields.get("hires"):  # A1111 passes over it
        fields["first_pass_image"] = ""
    fields["save_before_hires"] = bool(given["save_images"] and options.get("save_images_before_highres_fix"))
    for side in ("width", "height"):
        asked = int((given[f"firstphase_{side}"] if fields.get("hires") else 0) or fields[side])
        fields[side] = asked // SIZE_STEP * SIZE_STEP
        fields |= {f"asked_{side}": asked} if asked != fields[side] else {}
    for side in ("seed_resize_width", "seed_resize_height"):
        fields[side] = max(0, int(fields.get(side) or 0))
    if on_gpu := fields.get("noise_source") == "GPU":  # A1111's GPU is a CUDA card
        fields["noise_source"] = "NV"
    fields["format"] = _FORMATS.get(fields.get("format", ""), fields.get("format") or FIELDS["format"].default)
    if options.get("pad_cond_uncond") or options.get("pad_cond_uncond_v0"):
        fields["pad_conds"] = "v0" if options.get("pad_cond_uncond_v0") else "on"
    sampler = plugins.sampler(fields["sampler"])
    unnamed = fields.get("scheduler", AUTOMATIC) == AUTOMATIC and not given["scheduler"] and "scheduler" not in recalled
    automatic = fields.setdefault("scheduler", AUTOMATIC) == AUTOMATIC
    scheduler = plugins.scheduler(sampler.default_scheduler or UNIFORM if automatic else fields["scheduler"])
    own = _own(sampler, given, options)
    fields["sampler_options"] = {**_set(sampler, options), **recalled.get("sampler_options", {}), **own}
    old = _OLD_KARRAS if options.get("use_old_karras_scheduler_sigmas") and scheduler.label == "Karras" else {}
    stated = _set(scheduler, options)
    fields["scheduler_options"] = {**old, **stated, **recalled.get("scheduler_options", {})}
    untold = {*own} & {*_UNTOLD} | old.keys() - stated
    fields["infotext_without"] = (
        *(fields.get("infotext_without") or ()),
        *(key for name, key in _SHOWN.items() if options.get(name) is False),
        *(option_key(option) for option in (*sampler.options, *scheduler.options) if option.name in untold),
        *(key for key in map(option_key, sampler.options) if key in NEVER_WRITTEN),
        *(["Schedule type"] if unnamed and not sampler.default_scheduler else []),
        *(["RNG"] if on_gpu else []),
    )
    fields["format_options"] = _set(plugins.saver(fields["format"]), options)
    fields["grid"] = bool(given["save_images"]) and bool(options.get("grid_save", True))
    fields["init_image_hash"] = bool(options.get("save_init_img"))
    fields = {name: value for name, value in fields.items() if value is not None}
    told = {**(given if echoed is None else echoed), **_echo(recalled, values, given, options)}
    return Asked(make_request(**fields), told, bool(given["send_images"]), bool(given["save_images"]))


def _echo(
    recalled: Mapping[str, Any], values: Mapping[str, Any], given: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What A1111 echoes in place of what a body does not say: what its infotext says."""
    if not given["infotext"]:
        return {}
    said = parse(given["infotext"]).parameters.keys()
    rows = [row for row in FIELDS.values() if row.name in recalled and said & {*row.infotext}]
    fields = {name: recalled[name] for name in ("prompt", "negative_prompt") if name in recalled}
    fields |= {row.api: recalled[row.name] for row in rows if row.api in given and row.a1111 not in OPTIONS}
    fields |= {"sampler_name": recalled["sampler"], "scheduler": recalled.get("scheduler", AUTOMATIC)}
    fields |= {name: value for name, value in _SAID_OF_HIRES.items() if name in given and name not in fields}
    settings = {row.a1111: recalled[row.name] for row in rows if row.a1111 in OPTIONS}
    others = {name: each for name, each in settings.items() if each != options.get(name, OPTIONS[name][1])}
    unsaid = {name: value for name, value in fields.items() if values.get(name) is None}
    return {**unsaid, "override_settings": {**others, **(values.get("override_settings") or {})}}


def _recalled(infotext: str, plugins: PluginSet) -> dict[str, Any]:
    """What an infotext says, as A1111 reads it: but for the model, and for keys that it does not know. One that names
    no sampler that there is means the first. Raises RequestError for one that is too long."""
    if len(infotext) > _MOST_INFOTEXT:
        length = f"{len(infotext):,} characters; the limit is {_MOST_INFOTEXT:,}"
        raise RequestError(f"infotext has {length}. Shorten it.", "infotext")
    text, first = parse(infotext), {"sampler": FIELDS["sampler"].default}
    if not text.parameters:
        return {"prompt": infotext.strip(), **first}
    said = {name: value for name, value in read(text, plugins).fields.items() if name != "extra_params"}
    return first | said | ({} if "RNG" in text.parameters else {"noise_source": "GPU"})


def _passes(fields: Mapping[str, Any], given: Mapping[str, Any], plugins: PluginSet) -> dict[str, Any]:
    """What a second pass and a refiner are asked for, where A1111 says it in other words."""
    passes: dict[str, Any] = {name: as_first(fields[name]) for name in _SAME if fields.get(name)}
    if passes.get("hires_sampler"):
        passes["hires_sampler"] = _sampler(passes["hires_sampler"], None, plugins)["sampler"]
    if passes.get("hires_scheduler"):
        passes["hires_scheduler"] = _scheduler(passes["hires_scheduler"], plugins)
    if passes.get("refiner") and given["refiner_checkpoint"] and given["refiner_switch_at"] is None:
        passes["refiner_switch_at"] = 0.0
    return passes


def _sampler(name: str, scheduler: str | None, plugins: PluginSet, *, strict: bool = False) -> dict[str, Any]:
    """Sampler and schedule by A1111's names, unless it is strict old ones ("DPM++ 2M Karras") and aliases too."""
    if strict and name not in [sampler.label for sampler in plugins.all(Sampler)]:
        raise UnknownSamplerError("Sampler not found")
    named = modernised(Infotext("", "", {"Sampler": name}), plugins)
    try:
        found = plugins.sampler(named["Sampler"]).label
    except UnknownNameError:
        raise UnknownSamplerError("Sampler not found") from None
    return {"sampler": found, "scheduler": _scheduler(scheduler or named.get("Schedule type"), plugins)}


def _scheduler(name: str | None, plugins: PluginSet) -> str:
    """A schedule by its label or A1111's lower-case name, and nothing else: A1111 takes the uniform one then."""
    if not name or name.lower() == AUTOMATIC.lower():
        return AUTOMATIC
    labels = (scheduler.label for scheduler in plugins.all(Scheduler))
    return next((label for label in labels if name in (label, lower_name(label))), UNIFORM)


def _set(owner: Sampler | Scheduler | OutputSaver, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a sampler, schedule or format that A1111's settings give."""
    return {
        option.name: options[option.a1111]
        for option in owner.options
        if option.a1111 and options.get(option.a1111) is not None
    }


def _of_optimizers(options: Mapping[str, Any], plugins: PluginSet, *, from_image: bool) -> dict[str, Any]:
    """The options of memory optimizers that A1111's settings give, where they ask for something."""
    said = dict(options)
    if from_image and said.get("token_merging_ratio_img2img"):
        said["token_merging_ratio"] = said["token_merging_ratio_img2img"]
    return {
        f"{optimizer.id}.{option.name}": said[option.a1111]
        for optimizer in plugins.all(MemoryOptimizer)
        for option in optimizer.options
        if option.a1111 and said.get(option.a1111) not in (None, 0, "", "Disable")
    }


def _own(sampler: Sampler, given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, float]:
    """Those that the request itself gives: eta, and s_churn and its kin, where A1111's setting is as it was made."""
    return {
        option.name: float(given[option.name])
        for option in sampler.options
        if option.name in ("eta", *_UNTOLD) and given[option.name] is not None
        if option.name == "eta" or options.get(option.a1111, option.default) == option.default
    }
