"""Finding things by the names people type: labels, ids, aliases, whatever the case."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import either, message, sentences

T = TypeVar("T")


class UnknownNameError(SdtermError, LookupError):
    """No one thing of that kind is called that. The message says what comes near."""

    code = BAD_REQUEST

    def __init__(self, message: str, kind: str = "", name: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.name, self.field = kind, name, field


def normal(name: str) -> str:
    """The form in which two spellings of a name are the same."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def find(kind: str, name: str, items: Mapping[str, T], *, more: str = "", field: str | None = None) -> T:
    """The item with exactly that name, else the only one with that name in `normal` form. Raises `UnknownNameError`
    naming the several that have it, or up to three near ones. field: of the request, where the name stands in one."""
    if name in items:
        return items[name]
    by_normal: dict[str, dict[int, T]] = {}
    labels: dict[int, str] = {}  # an item's first name is the one to call it by
    for known, item in items.items():
        by_normal.setdefault(normal(known), {})[id(item)] = item
        labels.setdefault(id(item), known)
    wanted = normal(name)
    same = by_normal.get(wanted, {})
    if len(same) == 1:
        return next(iter(same.values()))
    if same:
        said = message(
            "'{name}' could be the {kind} {names}: write one of these.",
            name=printable(name),
            kind=kind,
            names=_listed([labels[item] for item in same]),
        )
        raise UnknownNameError(said, kind, name, field)
    near = difflib.get_close_matches(wanted, by_normal, n=6)
    near += [known for known in by_normal if wanted and known.startswith(wanted)]
    suggested = list(dict.fromkeys(labels[item] for known in near for item in by_normal[known]))[:3]
    there = list(labels.values())[:8]
    hint = ""
    if suggested:
        hint = message("Did you mean {names}?", names=_listed(suggested))
    elif there:
        hint = message("You can choose {names}.", names=_listed(there))
    said = message("There is no {kind} named '{name}'.", kind=kind, name=printable(name))
    raise UnknownNameError(sentences(said, hint, more), kind, name, field)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean steps?`, to follow a name that nothing has; empty if none comes near."""
    near = difflib.get_close_matches(name, [*known], n=1)
    return message("; did you mean {name}?", name=near[0]) if near else ""


def _listed(names: list[str]) -> str:
    return either(repr(printable(name)) for name in names)
