"""Network tags, `<lora:name:0.8>`: they are taken out of a prompt before it is read."""

import re
from dataclasses import dataclass

_OPENING = re.compile(r"<(\w+):")


@dataclass(frozen=True)
class NetworkTag:
    """`<kind:args[0]:args[1]…>`."""

    kind: str
    args: tuple[str, ...]
    span: tuple[int, int]


def extract(text: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """The text without its tags, and the tags. Source: A1111 extra_networks.re_extra_net; any word before the colon
    makes a tag, known or not."""
    kept: list[str] = []
    tags: list[NetworkTag] = []
    end = 0
    position = 0
    while opening := _OPENING.search(text, position):
        closing = text.find(">", opening.end())
        if closing < 0:
            break
        if closing == opening.end():  # nothing between colon and bracket: text
            position = closing
            continue
        kept.append(text[end : opening.start()])
        tags.append(
            NetworkTag(opening[1], tuple(text[opening.end() : closing].split(":")), (opening.start(), closing + 1))
        )
        end = position = closing + 1
    return "".join([*kept, text[end:]]), tuple(tags)
