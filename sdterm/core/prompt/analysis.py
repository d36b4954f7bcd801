"""A prompt taken apart, as values to show: tree, schedule, weights, tokens, findings."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sdterm.core.prompt.chunks import chunks
from sdterm.core.prompt.composition import Part, composition
from sdterm.core.prompt.emphasis import Piece, pieces
from sdterm.core.prompt.lint import Finding, lint
from sdterm.core.prompt.networks import NetworkTag, extract
from sdterm.core.prompt.schedule import Item, schedule
from sdterm.hooks import TokenRules

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class Stretch:
    """The text of the network calls `first` to `last`, counted from 1."""

    first: int
    last: int
    text: str
    pieces: tuple[Piece, ...]
    chunks: tuple[int, ...]
    """Tokens in each chunk, without padding; empty where nobody can count them."""


@dataclass(frozen=True)
class Analysis:
    """What a prompt is read as."""

    text: str
    networks: tuple[NetworkTag, ...]
    parts: tuple[tuple[Part, tuple[Stretch, ...]], ...]
    findings: tuple[Finding, ...]


def analyse(
    text: str,
    calls: int,
    *,
    negative: bool = False,
    tokenize: Tokenize | None = None,
    rules: TokenRules | None = None,
    networks: Collection[str] | None = None,
) -> Analysis:
    """Take a prompt apart for a run of `calls` network calls. Never fails, whatever the text is.

    tokenize, rules: of the model family, to count tokens; networks: names of the network files there are.
    """
    plain, tags = (text, ()) if negative else extract(text)
    parts = (Part(plain, 1.0, (0, len(plain))),) if negative else composition(plain)
    return Analysis(
        text,
        tags,
        tuple((part, tuple(_stretches(part.text, calls, tokenize, rules))) for part in parts),
        lint(text, negative=negative, networks=networks),
    )


_DEEPEST = 16  # levels shown


def outline(items: Sequence[Item], indent: int = 0) -> Iterator[tuple[int, str]]:
    """(indent, line) of a tree's items."""
    texts = ""
    for item in [*items, None]:
        if isinstance(item, str):
            texts += item
            continue
        if texts:
            yield indent, f"text {texts!r}"
            texts = ""
        if item and indent >= _DEEPEST:
            yield indent, "…"
        elif item:
            yield indent, {"switch": f"switch at {item.when}", "alternate": "alternate", "group": item.when}[item.kind]
            for number, option in enumerate(item.options):
                if item.kind == "switch":
                    yield indent + 1, ("before", "after")[number]
                elif item.kind == "alternate":
                    yield indent + 1, f"option {number + 1}"
                yield from outline(option, indent + 2)


def _stretches(text: str, calls: int, tokenize: Tokenize | None, rules: TokenRules | None) -> Iterator[Stretch]:
    first = 1
    entries = schedule(text, calls)
    for entry, following in zip(entries, [*entries[1:], None], strict=True):
        # An entry serves while the count of calls, from 0, is at most `until`: one call more than the number says.
        last = min(entry.until + 1, calls)
        if last < first or (following and following.text == entry.text and last < calls):
            continue
        parsed = pieces(entry.text)
        counted: tuple[int, ...] = ()
        if tokenize and rules:
            made = chunks(((None if p.is_break else tokenize(p.text), p.weight) for p in parsed), rules)
            counted = tuple(_used(chunk.tokens, rules) for chunk in made)
        yield Stretch(first, last, entry.text, parsed, counted)
        first = last + 1


def _used(tokens: tuple[int, ...], rules: TokenRules) -> int:
    inner = list(tokens[1:-1])
    while inner and inner[-1] == rules.pad:
        inner.pop()
    return len(inner)
