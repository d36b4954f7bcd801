"""A whole prompt, read: what `sdterm prompt` shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from sdterm.core.prompt import schedule
from sdterm.core.prompt.chunks import Chunk, chunks
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.embeddings import find_embeddings
from sdterm.core.prompt.emphasis import BREAK, Piece, pieces
from sdterm.core.prompt.lint import Bases, Lint, lint
from sdterm.core.prompt.networks import NetworkTag, extract
from sdterm.hooks import ModelFamily


@dataclass(frozen=True)
class Row:
    """A node of the tree, and how deep it stands."""

    depth: int
    kind: str
    """`text`, `scheduled` with its `before` and `after`, `alternate` with each `option`."""
    span: tuple[int, int]
    when: str | None = None


@dataclass(frozen=True)
class Variant:
    """One text, and the denoiser calls that draw it, counted from 1."""

    first: int
    last: int
    text: str
    pieces: tuple[Piece, ...]
    chunks: tuple[Chunk, ...]
    """None at all where nobody can count tokens."""
    embeddings: tuple[str, ...]


@dataclass(frozen=True)
class ReadPart:
    text: str
    weight: float
    tree: tuple[Row, ...]
    schedule: tuple[Variant, ...]


@dataclass(frozen=True)
class PromptAnalysis:
    text: str
    networks: tuple[NetworkTag, ...]
    parts: tuple[ReadPart, ...]
    lint: tuple[Lint, ...]


def read_prompt(
    text: str,
    calls: int,
    *,
    negative: bool = False,
    networks: Mapping[str, Bases] | None = None,
    embeddings: Collection[str] = (),
    family: ModelFamily | None = None,
) -> PromptAnalysis:
    """A positive or negative prompt, for that many denoiser calls. family: who counts the tokens; None: nobody."""
    left, tags = (text, ()) if negative else extract(text)
    parts = [(text, 1.0)] if negative else [(part.text, part.weight) for part in composition(left)]
    names = {name: family.tokenize(name) for name in embeddings} if family and family.tokenize else {}
    return PromptAnalysis(
        text,
        tags,
        tuple(_part(part, weight, calls, names, family) for part, weight in parts),
        lint(text, negative=negative, networks=networks, family=family),
    )


def _part(
    text: str, weight: float, calls: int, names: Mapping[str, Sequence[int]], family: ModelFamily | None
) -> ReadPart:
    tree = schedule.parse(text)
    variants = (_variant(entry.text, first, last, names, family) for entry, first, last in _stretches(tree, calls))
    return ReadPart(text, weight, tuple(_rows(tree)), tuple(variants))


def _stretches(tree: schedule.Tree, calls: int) -> Iterator[tuple[schedule.Entry, int, int]]:
    """Which calls draw an entry. A1111 counts calls from 0 and changes when the count is past `until`, so that the
    first entry is drawn once more than it says and the last once less, or never."""
    first = 1
    for entry in schedule.expand(tree, calls):
        last = min(entry.until + 1, calls)
        if first <= last:
            yield entry, first, last
        first = last + 1


def _variant(
    text: str, first: int, last: int, names: Mapping[str, Sequence[int]], family: ModelFamily | None
) -> Variant:
    read = pieces(text)
    if family is None or family.tokenize is None or family.tokens is None:
        return Variant(first, last, text, read, (), ())
    tokens: list[tuple[Sequence[int] | None, float]] = []
    found: list[str] = []
    for piece in read:
        ids = None if piece.text == "BREAK" and piece.weight == BREAK else family.tokenize(piece.text)
        tokens.append((ids, piece.weight))
        found += [embedding.name for embedding in find_embeddings(ids or (), names)]
    return Variant(first, last, text, read, tuple(chunks(tokens, family.tokens)), tuple(dict.fromkeys(found)))


def _rows(tree: schedule.Tree) -> Iterator[Row]:
    """The tree from the top, outer nodes first. Emphasis is text here; what it does shows in the pieces."""
    rest: list[Iterator[tuple[int, schedule.Node | Row]]] = [((0, node) for node in tree.nodes)]
    text: Row | None = None  # grows while more text follows
    while rest:
        depth, node = next(rest[-1], (0, None))
        if isinstance(node, schedule.Group):
            rest.append(zip(repeat(depth), node.nodes))
            continue
        if isinstance(node, schedule.Text) and text and text.depth == depth and text.span[1] == node.span[0]:
            text = Row(depth, "text", (text.span[0], node.span[1]))
            continue
        if node is None:
            rest.pop()
            continue
        if text:
            yield text
            text = None
        match node:
            case Row():
                yield node
            case schedule.Text(span):
                text = Row(depth, "text", span)
            case schedule.Scheduled(span, before, after, when):
                yield Row(depth, "scheduled", span, when)
                sides = (("before", before or ()), ("after", after))
                rest.append(chain.from_iterable([_side(depth + 1, kind, span, nodes) for kind, nodes in sides]))
            case schedule.Alternate(span, options):
                yield Row(depth, "alternate", span)
                rest.append(chain.from_iterable([_side(depth + 1, "option", span, nodes) for nodes in options]))
    if text:
        yield text


def _side(
    depth: int, kind: str, span: tuple[int, int], nodes: schedule.Nodes
) -> Iterator[tuple[int, schedule.Node | Row]]:
    yield depth, Row(depth, kind, span)
    yield from ((depth + 1, node) for node in nodes)
