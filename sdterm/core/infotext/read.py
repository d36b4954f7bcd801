"""From an infotext to what it asks for, and to the checkpoint that it was drawn with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sdterm.core.a1111 import FORMER_KEYS, UNIFORM
from sdterm.core.extensions.registry import PluginSet, check_options
from sdterm.core.infotext import record
from sdterm.core.infotext.grammar import Infotext
from sdterm.core.infotext.keys import (
    DRAWN,
    EDITABLE,
    ENABLED,
    KEYS,
    LEFT_ALONE,
    NOT_HONOURED,
    OURS,
    PIPELINE,
    POSTPROCESS,
    TELLING,
    addition_key,
    checksum,
    file_called,
    is_unknown,
    not_honoured,
    option_key,
    without_source,
)
from sdterm.core.infotext.legacy import hypernet_tag, modernised
from sdterm.core.infotext.record import Provenance
from sdterm.core.library.checkpoints import CheckpointFile, Library
from sdterm.core.names import UnknownNameError, normal
from sdterm.core.planning.choices import AUTOMATIC, Addition
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.hooks import DenoiseHook, MemoryOptimizer, OptionValue, Sampler, Scheduler
from sdterm.messages import either, message
from sdterm.request import GenerationRequest, RequestError, make_request

READ_AT_MOST = 32 << 30  # bytes of checkpoints hashed in search of one: half a minute to a few, once
_NAMES = ("Sampler", "Schedule type", "Hires sampler", "Hires schedule type")
_CLEAN = re.compile(r"[^\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*")  # what a file can hold and a terminal bears


@dataclass(frozen=True)
class ParsedInfotext:
    """What an infotext asks for."""

    fields: Mapping[str, Any]
    """Of `GenerationRequest`; the model is left to `find_model`."""
    not_reproduced: tuple[str, ...]
    """The keys that cannot be honoured, some with the reason."""
    record: Provenance
    parameters: Mapping[str, str]

    @property
    def warning(self) -> str | None:
        """One sentence that names everything not reproduced."""
        return (
            message("These parameters cannot be reproduced: {keys}.", keys=", ".join(self.not_reproduced))
            if self.not_reproduced
            else None
        )


def read(text: Infotext, plugins: PluginSet, overrides: Mapping[str, str] | None = None) -> ParsedInfotext:
    """What an infotext asks for, as A1111 reads it. `overrides`: values for its keys `Sampler` and `Schedule type`,
    whose options are read for them."""
    parameters = modernised(replace(text, parameters={**text.parameters, **(overrides or {})}), plugins)
    kept = Provenance.parse(parameters.get(record.KEY, ""))
    prompt = text.prompt + hypernet_tag(parameters)
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": text.negative_prompt}
    lost: list[str] = []
    if not text.parameters:
        return ParsedInfotext(fields, (), kept, parameters)
    fields |= {name: FIELDS[name].default for name in DRAWN - LEFT_ALONE}
    tapped = PIPELINE in parameters  # it has samplers of its own, which nobody else knows
    for name, key in KEYS.items():
        if name in parameters:
            try:
                given = {**key.read(parameters[name])}
                checked = make_request(prompt="x", **given)
                if name in _NAMES and not tapped:
                    checked = checked.model_copy(update=_found(given, plugins))
                fields |= {field: getattr(checked, field) for field in given}
            except (ValueError, UnknownNameError):
                lost.append(f"{name} ({printable(parameters[name], limit=60)})")
    if fields.get("refiner") and "Refiner switch at" not in parameters:
        fields["refiner_switch_at"] = 0.0  # in A1111 it then draws all of it
    used = {*OURS}
    if not tapped:
        sampler, scheduler = _parts(make_request(prompt="x", **_names(fields)), plugins)
        if sampler.default_scheduler and plugins.scheduler(sampler.default_scheduler) is scheduler:
            fields["scheduler"] = AUTOMATIC
        for field, owner in (("scheduler_options", scheduler), ("sampler_options", sampler)):
            fields[field], wrong = _options(owner, parameters, used)
            lost += wrong
    added, wrong = _additions(parameters, plugins, used)
    fields |= added
    lost += wrong
    rest = {name: value for name, value in parameters.items() if name not in used}
    lost += not_honoured(rest, text.prompt)
    unknown = {name: value for name, value in rest.items() if is_unknown(name)}
    fields["extra_params"] = {name: value for name, value in unknown.items() if _CLEAN.fullmatch(value)}
    if not kept.sdterm:  # in our own images they never did anything
        lost += [name for name in unknown if name not in TELLING]
    edited = bool(overrides) or kept.text != checksum(text)
    fields |= _recorded(kept, fields, edited)
    lost += without_source(parameters, init=bool(fields["init_images"] or fields["hires"]), mask=bool(fields["mask"]))
    return ParsedInfotext(fields, tuple(lost), kept, parameters)


def find_model(
    reading: ParsedInfotext, library: Library, *, read_at_most: int = READ_AT_MOST
) -> tuple[str | None, str]:
    """(name of the checkpoint for the request, sentence about what is wrong with it); None leaves the choice open.

    By hash, then by name: A1111's hash is of the whole file and certain; a name alone may be another model's.
    """
    parameters = reading.parameters
    wanted = (reading.record.model or parameters.get("Model hash", "")).strip().lower()
    return _found_model(parameters.get("Model", ""), wanted, library, read_at_most)


def find_other(
    reading: ParsedInfotext, key: str, library: Library, *, read_at_most: int = READ_AT_MOST
) -> tuple[str, str]:
    """The same for the checkpoint of a second pass, or for the refiner, which stand as `name [hash]`; empty where it is
    to be drawn without."""
    said = reading.parameters.get(key, "")
    name = file_called(said)
    digest = said.removeprefix(name).strip(" []")
    found, wrong = _found_model(name, digest, library, read_at_most)
    return found or "", wrong.replace("drawing with another", "drawing without it")


def _found_model(name: str, wanted: str, library: Library, read_at_most: int) -> tuple[str | None, str]:
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
        return None, message("The model {model} is missing, so another one is used.", model=called)
    spellings = dict.fromkeys(printable(checkpoint.name) for checkpoint in exact or namesakes)
    if len(spellings) > 1:
        return None, message(
            "The model {model} is missing. It may be {others}. For now another one is used.",
            model=called,
            others=either(spellings),
        )
    differs = (
        message("The model {model} is missing, so another file of the same name is used.", model=called)
        if hashed
        else ""
    )
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
    (field, name), *_ = given.items()
    if not name:
        return {}
    if field.endswith("sampler"):
        return {field: plugins.sampler(name).label}
    return {field: AUTOMATIC if normal(name) == normal(AUTOMATIC) else plugins.scheduler(name).label}


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
    """The postprocessors and denoise hooks, and the options of them and of visible optimizers, that the infotext gives,
    as request fields, and the keys whose values do not do; `used` grows by both."""
    labels: list[str] = []
    options: dict[str, OptionValue] = {}
    wrong: list[str] = []
    names = [name.strip() for name in parameters.get(POSTPROCESS, "").split(",")]
    for name in filter(None, names):
        try:
            labels.append(plugins.postprocessor(name).label)
        except UnknownNameError:
            wrong.append(f"{POSTPROCESS} ({printable(name, limit=60)})")
    hooks = [each for each in plugins.all(DenoiseHook) if parameters.get(f"{each.label} {ENABLED}") == "True"]
    used.update(f"{each.label} {ENABLED}" for each in plugins.all(DenoiseHook))
    there: list[Addition] = [*(plugins.postprocessor(label) for label in labels), *hooks]
    there += [optimizer for optimizer in plugins.all(MemoryOptimizer) if optimizer.effect == "visible"]
    for addition in there:
        for option in addition.options:
            key = addition_key(addition, option)
            if key not in parameters or key in used:
                continue
            used.add(key)
            if parameters[key].strip() in NOT_HONOURED.get(key, ()):
                continue  # A1111 writes that it is off
            try:
                value = check_options(addition.label, (option,), {option.name: parameters[key]})[option.name]
                options[f"{addition.id}.{option.name}"] = value
            except RequestError:
                wrong.append(f"{key} ({printable(parameters[key], limit=60)})")
    return {
        "postprocess": tuple(labels),
        "denoise_hooks": tuple(each.label for each in hooks),
        "options": options,
    }, wrong


def _recorded(kept: Provenance, fields: Mapping[str, Any], edited: bool) -> dict[str, Any]:
    """The record's own fields, as far as they are a request's. Where the text was edited, or its sampler overridden,
    they give way to what it says."""
    recorded: dict[str, Any] = {}
    for name, value in kept.fields.items():
        default = FIELDS[name].default if name in DRAWN else None
        if name not in DRAWN or (edited and (name in LEFT_ALONE | EDITABLE or fields[name] != default)):
            continue
        try:
            recorded[name] = getattr(make_request(**{"prompt": "x", name: value}), name)
        except RequestError:
            continue
    return recorded
