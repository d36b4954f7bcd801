"""Watching an extension: every call of its functions, with its time and the shapes that go in and come out."""

import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from sdterm.core.extensions.kinds import Descriptor
from sdterm.core.extensions.registry import PluginSet


@dataclass(frozen=True)
class Call:
    """One call."""

    label: str
    """Of what the plugin offers."""
    function: str
    seconds: float
    given: str
    gave: str


def traced(plugins: PluginSet, slug: str, tell: Callable[[Call], None]) -> PluginSet:
    """The same set, whose plugin `slug` tells of each call of a function of its."""
    traced = {id(given): _traced(given, tell) for given in plugins.given if plugins.owner(given) == slug}
    changed = [replace(plugin, gives=tuple(traced.get(id(d), d) for d in plugin.gives)) for plugin in plugins.plugins]
    owners = {**plugins.owners, **{id(descriptor): slug for descriptor in traced.values()}}
    given = tuple(traced.get(id(descriptor), descriptor) for descriptor in plugins.given)
    return replace(plugins, plugins=tuple(changed), owners=MappingProxyType(owners), given=given)


def _traced(descriptor: Descriptor, tell: Callable[[Call], None]) -> Descriptor:
    values = {field.name: getattr(descriptor, field.name) for field in fields(descriptor)}
    told: dict[str, Any] = {n: _told(descriptor.label, n, f, tell) for n, f in values.items() if callable(f)}
    return replace(descriptor, **told)


def _told(label: str, name: str, function: Callable[..., Any], tell: Callable[[Call], None]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        gave: object = "an error"
        try:
            gave = function(*args, **options)
            return gave
        finally:
            given = ", ".join(filter(None, map(shape, [*args, *options.values()])))
            tell(Call(label, name, time.perf_counter() - began, given, shape(gave) or type(gave).__name__))

    return call


def shape(value: object) -> str:
    """What a value is, as far as it can be said in a few words; empty for functions and the like."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')}{[*value.shape]}"
    if isinstance(value, str | bytes):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Sized):
        return f"{type(value).__name__} of {len(value)}"
    return ""
