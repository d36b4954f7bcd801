"""What a pipeline's call takes, by its arguments: the fields of a request that it knows, and options of its own."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sdterm.core.syntax import parsed
from sdterm.fields import ROWS
from sdterm.hooks import Option, OptionValue

REQUIRED = object()
"""The default of an argument that has none."""
_KINDS: Mapping[str, type[OptionValue]] = {"float": float, "int": int, "bool": bool, "str": str}
_FIELDS: Mapping[str, str] = {row.argument: row.name for row in ROWS if row.argument not in ("", "*")}
"""An argument of a call → the field of a request that it is."""
_FILLED = frozenset(
    (
        *("generator", "latents", "num_images_per_prompt", "output_type", "return_dict"),
        *("callback", "callback_steps", "callback_on_step_end"),
    )
)
"""What sdterm gives by itself."""
LEARNED, TRUE = "guidance_scale", "true_cfg_scale"
"""Guidance that a model learned as an input, or that of its pipeline; and what that is called beside the first."""
SCHEDULE = "guidance_schedule"
_TENSORS = ("_embeds", "_embeds_mask")
"""How arguments end that are tensors, whatever their annotation says."""
_LONGEST = 160  # characters of help


@dataclass(frozen=True)
class Argument:
    """An argument of a pipeline's call. default: `REQUIRED`, or its value where that is plain data, else None;
    annotation: as it is written."""

    default: Any = REQUIRED
    annotation: str = ""
    help: str = ""

    @property
    def kind(self) -> type[OptionValue] | None:
        """The type of its value; None where one line of text cannot hold that."""
        named = {*_alternatives(_parsed(self.annotation))}
        for name, kind in _KINDS.items():
            if name in named:
                return kind
        return type(self.default) if not self.annotation and type(self.default) in _KINDS.values() else None


Arguments = Mapping[str, Argument]


def arguments_of(call: Callable[..., Any]) -> Arguments:
    """What an imported pipeline's call takes."""
    helps = documented(inspect.getdoc(call) or "")
    found: dict[str, Argument] = {}
    for name, each in inspect.signature(call).parameters.items():
        if name == "self" or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        said = each.annotation if isinstance(each.annotation, str) else inspect.formatannotation(each.annotation)
        default = REQUIRED if each.default is each.empty else each.default
        plain = default is REQUIRED or isinstance(default, bool | int | float | str)
        kept = default if plain else None
        found[name] = Argument(kept, "" if each.annotation is each.empty else said, helps.get(name, ""))
    return found


def documented(text: str) -> dict[str, str]:
    """The first sentence of what a docstring says of each argument."""
    found: dict[str, str] = {}
    for name, said in re.findall(r"^ *(\w+) \(`.*\n((?: {8,}.*\n?)+)", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(said.split())).replace("`", "")
        first = re.split(r"(?<=[.])\s", words)[0]
        found[name] = first if len(first) <= _LONGEST else first[: _LONGEST - 1].rsplit(" ", 1)[0] + "…"
    return found


def guidance(takes: Arguments, *, learned: bool | None = None) -> str | None:
    """The argument that says how strictly to follow the prompt; None where there is none.

    Where a call has two, true guidance is meant if it is on by default, or if the denoiser takes no other. learned:
    whether it does (its `guidance_embeds`); None where that is not known.
    """
    there = [name for name in (LEARNED, TRUE) if name in takes]
    if len(there) == 2:
        usual = takes[TRUE].default
        is_on = isinstance(usual, int | float) and usual > 1
        return TRUE if is_on or learned is False or takes[LEARNED].default is None else LEARNED
    if there == [LEARNED] and takes[LEARNED].default is None:  # then it is in place of a scale for each step
        return None
    return there[0] if there else None


def taken(takes: Arguments, guided_by: str | None) -> dict[str, OptionValue | None]:
    """The fields of a request that the call knows, each with the pipeline's own value; None where that follows from
    something else."""
    names = {**_FIELDS, **({guided_by: "cfg_scale"} if guided_by else {})}
    return {field: _plain(takes[name]) for name, field in names.items() if name in takes}


def options(takes: Arguments, guided_by: str | None) -> tuple[Option, ...]:
    """What the call takes besides, as far as one line of text can hold it."""
    return tuple(
        Option(name, _of_kind(kind, _plain(each)), each.help, unset=_plain(each) is None)
        for name, each in takes.items()
        if (kind := each.kind)
        and name not in _FILLED
        and name not in _FIELDS
        and name != guided_by
        and not name.startswith("_")
        and not name.endswith(_TENSORS)
    )


def given(
    takes: Arguments, guided_by: str | None, fields: Mapping[str, Any], options: Mapping[str, OptionValue]
) -> dict[str, Any]:
    """What the call is given for those fields of a request and those options; what is None is left to the pipeline.

    An empty negative prompt is none. Only where true guidance is on it is given, as a space: without one that would be
    off. A guidance scale takes the place of one for each step.
    """
    names = {field: name for name, field in _FIELDS.items()} | ({"cfg_scale": guided_by} if guided_by else {})
    found = {names[field]: value for field, value in fields.items() if value not in (None, "") and field in names}
    found = {name: value for name, value in found.items() if name in takes} | dict(options)
    true = found.get(TRUE, takes[TRUE].default if TRUE in takes else None)
    if "negative_prompt" in takes and "negative_prompt" not in found and isinstance(true, int | float) and true > 1:
        found["negative_prompt"] = " "
    if LEARNED in found and SCHEDULE in takes:
        found[SCHEDULE] = None
    return found


def _of_kind(kind: type[OptionValue], value: OptionValue | None) -> OptionValue:
    made: OptionValue = kind() if value is None else kind(value)
    return made


def _plain(argument: Argument) -> OptionValue | None:
    return argument.default if argument.kind and argument.default is not REQUIRED else None


def _parsed(annotation: str) -> ast.expr | None:
    with contextlib.suppress(SyntaxError):
        match parsed(annotation).body:
            case [ast.Expr(expression)]:
                return expression
    return None


def _alternatives(annotation: ast.expr | None) -> Iterator[str]:
    """The names of the types that an annotation allows: `float | None`, `Optional[float]`."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from chain(_alternatives(left), _alternatives(right))
        case ast.Subscript(value=ast.Name(id="Optional" | "Union"), slice=ast.Tuple(elts=parts)):
            yield from chain.from_iterable(map(_alternatives, parts))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=part):
            yield from _alternatives(part)
        case ast.Name(id=name):
            yield name
