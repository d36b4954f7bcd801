"""What a request asks for besides its sampler, schedule and format: prompt transforms, memory optimizers and
postprocessors, each by name, with options as `id.name`.

Setting an option asks for what it is of: `token_merging.ratio` turns token merging on, as A1111's own key does.
"""

from collections.abc import Mapping
from typing import TypeVar

from sdterm.core.extensions.kinds import KINDS, kind_of
from sdterm.core.extensions.registry import PluginSet, check_options, named
from sdterm.core.names import find, normal
from sdterm.core.text import printable
from sdterm.hooks import MemoryOptimizer, OptionValue, Postprocessor, PromptTransform
from sdterm.request import GenerationRequest, RequestError

Addition = PromptTransform | MemoryOptimizer | Postprocessor
A = TypeVar("A", PromptTransform, MemoryOptimizer, Postprocessor)


def additions(plugins: PluginSet) -> tuple[Addition, ...]:
    """Everything that there is of the kinds of which a request may ask for several."""
    return tuple(addition for kind in KINDS if kind.several for addition in plugins.all(kind.descriptor))


def asked_for(kind: type[A], request: GenerationRequest, plugins: PluginSet) -> tuple[A, ...]:
    """Those of a kind that a request names, or sets an option of, as asked. Raises UnknownNameError or RequestError."""
    there = named(plugins.all(kind))
    row = kind_of(kind)
    found = [find(row.word, name, there) for name in getattr(request, row.field)]
    found += [addition for key in request.options if isinstance(addition := _owner(key, plugins), kind)]
    return tuple({addition.id: addition for addition in found}.values())


def all_asked_for(request: GenerationRequest, plugins: PluginSet) -> tuple[Addition, ...]:
    """Those of every kind. Raises UnknownNameError or RequestError."""
    return (
        *asked_for(PromptTransform, request, plugins),
        *asked_for(MemoryOptimizer, request, plugins),
        *asked_for(Postprocessor, request, plugins),
    )


def addition_options(request: GenerationRequest, plugins: PluginSet) -> dict[str, OptionValue]:
    """The options that a request sets, checked, under the ids of what they are of. Raises UnknownNameError or
    RequestError."""
    checked: dict[str, OptionValue] = {}
    for key, value in request.options.items():
        owner, name = _owner(key, plugins), key.rpartition(".")[2]
        try:
            checked[f"{owner.id}.{name}"] = check_options(owner.label, owner.options, {name: value})[name]
        except RequestError as error:
            error.field = "options"
            raise
    return checked


def options_of(addition: Addition, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Every option of an addition, from those that `addition_options` gave."""
    return {o.name: given.get(f"{addition.id}.{o.name}", o.default) for o in addition.options}


def _owner(key: str, plugins: PluginSet) -> Addition:
    owner, dot, name = key.rpartition(".")
    if not dot:
        raise RequestError(f"options has {printable(key)!r}, but it must be like 'token_merging.ratio'.", "options")
    there = additions(plugins)
    having = named(addition for addition in there if any(option.name == name for option in addition.options))
    taken = {normal(known) for known in having}  # of two kinds with one name, that one is meant which has the option
    return find("part", owner, having | {n: a for n, a in named(there).items() if normal(n) not in taken})
