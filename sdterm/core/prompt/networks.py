"""Tags that call extra networks: `<lora:name:0.8>`."""

import re
from dataclasses import dataclass

_TAG = re.compile(r"<(\w+):([^>]+)>")


@dataclass(frozen=True)
class NetworkTag:
    kind: str
    """What stands before the first colon: `lora`, `hypernet` ..."""
    args: tuple[str, ...]
    """What stands behind it, split at colons; the first is the network's name."""
    span: tuple[int, int]


def tags(text: str) -> tuple[NetworkTag, ...]:
    # Behind the last ">" no tag can end; looking there anyway would read the rest again for each "<".
    found = _TAG.finditer(text, 0, text.rfind(">") + 1)
    return tuple(NetworkTag(match[1], tuple(match[2].split(":")), match.span()) for match in found)


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
