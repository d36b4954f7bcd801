"""Tags that call extra networks: `<lora:name:0.8>`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from sdterm.hooks import Strength

ROLES: Mapping[str, str] = {"lora": "lora", "lyco": "lora", "hypernet": "hypernet"}
"""The tags there are, and whose names they take."""
_TAG = re.compile(r"<(\w+):([^>]+)>")


@dataclass(frozen=True)
class NetworkTag:
    kind: str
    """What stands before the first colon: `lora`, `hypernet` ..."""
    args: tuple[str, ...]
    """What stands behind it, split at colons; the first is the network's name."""
    span: tuple[int, int]

    def __str__(self) -> str:
        return f"<{':'.join((self.kind, *self.args))}>"


def name_and_strength(args: Sequence[str]) -> tuple[str, Strength]:
    """What a tag's arguments say: `NAME:text:unet:dyn`, or by name `te=`, `unet=`, `dyn=`. One number is for both.
    Raises ValueError. Source: A1111 extra_networks_lora."""
    named = dict(arg.split("=", 1) for arg in args if arg.count("=") == 1)
    name, *numbers = [arg for arg in args if arg.count("=") != 1] or [""]
    text = float(named.get("te", numbers[0] if numbers else 1))
    unet = float(named.get("unet", numbers[1] if len(numbers) > 1 else text))
    rank = named.get("dyn", numbers[2] if len(numbers) > 2 else None)
    if not (name and isfinite(text) and isfinite(unet)):
        raise ValueError(args)
    return name, Strength(text, unet, None if rank is None else int(rank))


def tags(text: str) -> tuple[NetworkTag, ...]:
    # Behind the last ">" no tag can end; looking there anyway would read the rest again for each "<".
    found = _TAG.finditer(text, 0, text.rfind(">") + 1)
    return tuple(NetworkTag(match[1], tuple(match[2].split(":")), match.span()) for match in found)


def is_callable(kind: str, name: str) -> bool:
    """Whether a tag can call a network of that name; not where a `>`, `:` or `=` in it would end it."""
    found = tags(f"<{kind}:{name}:1>")
    try:
        return len(found) == 1 and name_and_strength(found[0].args)[0] == name
    except ValueError:
        return False


def fits(base: str | None, family: str | None) -> bool:
    """Whether a network for those models (SD1, SD2, SDXL) is one for a model of that family, as far as either is known.
    family: its label."""
    letters = "".join(filter(str.isalnum, family or "")).upper()
    return not (base and letters) or letters.startswith(base)


def extract(text: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """The text without its tags, and the tags. Unknown kinds leave the text too. Only for the positive prompt: in a
    negative one a tag is text. Source: A1111 extra_networks.parse_prompt."""
    found = tags(text)
    ends = [0, *(tag.span[1] for tag in found)]
    starts = [*(tag.span[0] for tag in found), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True)), found


def blank(text: str, called: tuple[NetworkTag, ...]) -> str:
    """The text with spaces in place of its tags."""
    parts: list[str] = []
    at = 0
    for start, end in (tag.span for tag in called):
        parts += [text[at:start], " " * (end - start)]
        at = end
    return "".join([*parts, text[at:]])
