"""`NAME=VALUE`: set by name whatever a request can be told."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from sdterm.core.extensions.registry import PluginSet, check_options
from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.core.names import find, normal
from sdterm.core.planning.choices import additions_of, checked_option, choose_parts
from sdterm.core.text import printable
from sdterm.fields import ROWS
from sdterm.hooks import Option, OutputSaver, Sampler, Scheduler
from sdterm.messages import either, message, sentences
from sdterm.request import GenerationRequest, RequestError, make_request

ASSIGNABLE = tuple(row.name for row in ROWS if row.name != "prompt" and not isinstance(row.default, tuple | dict))
"""Fields that one line of text can hold, but for the prompt, which is always given."""

_SETTINGS = {"save_grid": "grid"}
"""Settings that fill in a field of another name."""


class _Part(NamedTuple):
    """What has options: whose they are, and which."""

    label: str
    options: tuple[Option, ...]


_Place = tuple[str, str]  # the part whose option it is (none: a field of the request), and its name


def assign(
    request: GenerationRequest, assignments: Iterable[str], plugins: PluginSet, pipeline: PipelineFacts | None = None
) -> GenerationRequest:
    """The request with each `NAME=VALUE` set, one after the other.

    NAME is an option of the chosen sampler, scheduler or format, else a field of the request; `sampler.NAME`,
    `scheduler.NAME` and `format.NAME` tell apart what several of them have. `ID.NAME` is an option of the prompt
    transform, memory optimizer or postprocessor ID, and asks for it. pipeline: of a model that is drawn with one: its
    options take the place of the sampler's. Raises UnknownNameError or RequestError, and what `choose_parts` raises.
    """
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise RequestError(
                message("'{text}' is not an assignment: write NAME=VALUE, like eta=0.5.", text=printable(assignment))
            )
        if addition := _addition(name, plugins):
            key, checked = checked_option(addition, value, plugins)
            request = request.model_copy(update={"options": request.options | {key: checked}})
        else:
            request = _assigned(request, name, value, _parts(request, plugins, pipeline))
    return request


def _addition(name: str, plugins: PluginSet) -> str | None:
    """The whole name, as `ID.NAME`, of an addition's option; None if it cannot be one. Raises UnknownNameError."""
    owner, dot, _ = name.partition(".")
    if not dot or normal(owner) in ("sampler", "scheduler", "format", "pipeline"):
        return None
    names = [f"{a.id}.{option.name}" for a in additions_of(plugins) for option in a.options]
    return find("option", name, {known: known for known in names})


def _parts(request: GenerationRequest, plugins: PluginSet, pipeline: PipelineFacts | None) -> dict[str, _Part]:
    if pipeline:
        saver = plugins.saver(request.format)
        return {"pipeline": _Part(message("The model"), pipeline.options), "format": _Part(saver.label, saver.options)}
    chosen = choose_parts(request, plugins)
    first = chosen.passes[0]
    parts: dict[str, Sampler | Scheduler | OutputSaver] = {"sampler": first.sampler, "scheduler": first.scheduler}
    parts["format"] = chosen.saver
    return {name: _Part(part.label, part.options) for name, part in parts.items()}


def _assigned(request: GenerationRequest, name: str, value: str, parts: dict[str, _Part]) -> GenerationRequest:
    part, name = _place(name, parts)
    if not part:
        return make_request(**request.model_dump(exclude_unset=True) | {name: value})
    owner, field = parts[part], f"{part}_options"
    checked = check_options(owner.label, owner.options, {name: value})[name]
    return request.model_copy(update={field: getattr(request, field) | {name: checked}})


def _place(name: str, parts: dict[str, _Part]) -> _Place:
    """Where a name belongs. Raises UnknownNameError; RequestError if it belongs to several parts."""
    named: defaultdict[str, list[_Place]] = defaultdict(list)
    for part, owner in parts.items():
        for option in owner.options:
            named[option.name].append((part, option.name))
    for places in [*named.values()]:
        for part, option_name in places:
            named[f"{part}.{option_name}"] = places if len(places) == 1 else [(part, option_name)]
    for field in ASSIGNABLE:
        if field not in named:
            named[field].append(("", field))
    for setting, field in _SETTINGS.items():
        named.setdefault(setting, [("", field)])
    takes = [
        message("{part} has {options}.", part=owner.label, options=_listed(option.name for option in owner.options))
        for owner in parts.values()
    ]
    more = sentences(*takes, message("Every request has {options}.", options=_listed(ASSIGNABLE)))
    found = find("option", name, named, more=more)
    if len(found) > 1:
        spelled = either(f"{part}.{option_name}" for part, option_name in found)
        raise RequestError(
            message("Several parts have an option '{option}': write {choices}.", option=found[0][1], choices=spelled)
        )
    return found[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
