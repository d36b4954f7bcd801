"""Networks and embeddings put into a prompt, and their weights changed there."""

import re

from sdterm.core.prompt.networks import NetworkTag, tags


def called(text: str, kind: str, name: str) -> NetworkTag | None:
    """The first tag that calls a network."""
    return next((tag for tag in tags(text) if tag.kind == kind and tag.args[0] == name), None)


def with_network(text: str, kind: str, name: str, weight: float = 1.0, words: str = "") -> str:
    """The prompt with a tag behind it that calls a network, and the words that make it do something, as A1111 writes
    them; the same text if it calls that network already."""
    if called(text, kind, name):
        return text
    return " ".join(part for part in (text.rstrip(), f"<{kind}:{name}:{weight:g}>", words) if part)


def reweighed(text: str, kind: str, name: str, by: float) -> str | None:
    """The prompt with another weight of a network that it calls; None if it calls none, or by a weight that is no
    number."""
    tag = called(text, kind, name)
    try:
        weight = float(tag.args[1]) if tag and len(tag.args) > 1 else 1.0
    except ValueError:
        return None
    if not tag:
        return None
    start, end = tag.span
    rest = "".join(f":{arg}" for arg in tag.args[2:])
    return f"{text[:start]}<{kind}:{name}:{round(weight + by, 3):g}{rest}>{text[end:]}"


def with_words(text: str, words: str) -> str:
    """The prompt with other words behind it, unless it has them."""
    if not words or re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE):
        return text
    return f"{text.rstrip().rstrip(',')}, {words}" if text.strip() else words
