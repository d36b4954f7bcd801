"""`NAME=VALUE`: set by name whatever a request can be told."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sdterm.core.library import Library
from sdterm.core.names import find, printable
from sdterm.core.plan import Choices, choose
from sdterm.core.registry import PluginSet, check_options
from sdterm.hooks import OutputSaver, Sampler, Scheduler
from sdterm.request import GenerationRequest, RequestError, make_request

# Fields that one line of text can hold, but for the prompt, which is always given.
FIELDS = tuple(
    name
    for name, field in GenerationRequest.model_fields.items()
    if name != "prompt" and not isinstance(field.default, tuple | dict)
)

_Part = Sampler | Scheduler | OutputSaver
_Place = tuple[str, str]  # the part whose option it is (none: a field of the request), and its name


def assign(
    request: GenerationRequest, assignments: Iterable[str], plugins: PluginSet, library: Library
) -> GenerationRequest:
    """The request with each `NAME=VALUE` set, one after the other.

    NAME is an option of the chosen sampler, scheduler or format, else a field of the request; `sampler.NAME`,
    `scheduler.NAME` and `format.NAME` tell apart what several of them have. Raises UnknownNameError or RequestError,
    and what `choose` raises.
    """
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise RequestError(f"{printable(assignment)!r} sets nothing: write NAME=VALUE, like eta=0.5.")
        request = _assigned(request, name, value, choose(request, plugins, library))
    return request


def _assigned(request: GenerationRequest, name: str, value: str, choices: Choices) -> GenerationRequest:
    parts: dict[str, _Part] = {"sampler": choices.sampler, "scheduler": choices.scheduler, "format": choices.saver}
    part, name = _place(name, parts)
    if not part:
        return make_request(**request.model_dump() | {name: value})
    owner, field = parts[part], f"{part}_options"
    checked = check_options(owner.label, owner.options, {name: value})[name]
    return request.model_copy(update={field: getattr(request, field) | {name: checked}})


def _place(name: str, parts: dict[str, _Part]) -> _Place:
    """Where a name belongs. Raises UnknownNameError; RequestError if it belongs to several parts."""
    named: defaultdict[str, list[_Place]] = defaultdict(list)
    for part, owner in parts.items():
        for option in owner.options:
            place = (part, option.name)
            named[option.name].append(place)
            named[f"{part}.{option.name}"].append(place)
    for field in FIELDS:
        if field not in named:
            named[field].append(("", field))
    takes = [f"{owner.label} takes {_listed(option.name for option in owner.options)}" for owner in parts.values()]
    more = f" {'; '.join(takes)}; every request takes {_listed(FIELDS)}."
    places: Sequence[_Place] = find("option", name, named, more=more)
    if len(places) > 1:
        owners = " and ".join(f"the {part}" for part, _ in places)
        spelled = " or ".join(f"{part}.{option}" for part, option in places)
        raise RequestError(f"Both {owners} have an option {places[0][1]!r}: write {spelled}.")
    return places[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
