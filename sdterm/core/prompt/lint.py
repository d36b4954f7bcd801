"""What parses, but does not do what it looks like."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from sdterm.core.names import UnknownNameError, find
from sdterm.core.prompt import emphasis, schedule
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.networks import ROLES, NetworkTag, blank, fits, tags
from sdterm.core.text import printable
from sdterm.hooks import ModelFamily
from sdterm.messages import message, sentences

_NOT_A_NUMBER = re.compile(r":\s*([+-]?[.\d]+)\s*\)")
_WEIGHT = re.compile(r"\s*(:\s*)([-+.\d]+)\s*")
_WORD = re.compile(r"\s*[^\s,]+|\s*,")
_MANY = 100  # traps of one kind in one part; a text of brackets alone has one for each
_SUGGESTIONS = 8  # unknown networks whose name is compared with the known ones; that takes time
_REPEATABLE = 8  # brackets around a BREAK that are closed and opened again for it

Bases = Mapping[str, str | None]
"""A network's name → the models it is for: SD1, SD2 or SDXL; None if it does not say."""


@dataclass(frozen=True)
class Lint:
    span: tuple[int, int]
    message: str
    fix: str | None
    """What to write in the span's place; None where only the author can know."""


def lint(
    text: str,
    *,
    negative: bool = False,
    networks: Mapping[str, Bases] | None = None,
    family: ModelFamily | None = None,
) -> tuple[Lint, ...]:
    """The traps in a text, in its order, as far as anybody would read them.

    networks: the names that are there for `lora` and for `hypernet`; None if that is not known. family: the model's, in
    whose chunks the text is laid out; None if that does not matter.
    """
    found: list[Iterator[Lint]] = []
    if negative:
        found.append(lost_tags(text))
        parts = [(text, 0)]
    else:
        called = tags(text)
        found += (unknown_networks(called, networks), _mismatches(called, networks, family))
        text = blank(text, called)
        parts = [(part.text, part.span[0]) for part in composition(text)]
        if len(parts) == 1:
            found.append(_weight_of_all(text, len(parts[0][0])))
    for part, offset in parts:
        tree = schedule.parse(part)
        shown = schedule.drawn(tree)
        runs, brackets = emphasis.read(shown)
        rules = (
            _literal(tree),
            _square_weights(tree),
            _numbers(shown),
            _unclosed(shown, brackets),
            _strays(runs),
            _breaks(shown, runs),
            _second_chunk(shown, runs, family),
        )
        found += [_moved(islice(rule, _MANY), offset) for rule in rules]
    return tuple(sorted(chain(*found), key=lambda lint: lint.span))


def _moved(lints: Iterator[Lint], offset: int) -> Iterator[Lint]:
    for lint in lints:
        start, end = lint.span
        yield Lint((start + offset, end + offset), lint.message, lint.fix)


# --- what concerns the whole text -------------------------------------------------------------------------------------


def lost_tags(text: str) -> Iterator[Lint]:
    """Tags of a negative prompt."""
    for tag in tags(text):
        yield Lint(
            tag.span, message("Network tags work only in the positive prompt; here the tag is read as plain text."), ""
        )


def unknown_networks(called: tuple[NetworkTag, ...], networks: Mapping[str, Bases] | None) -> Iterator[Lint]:
    """Tags that call what is not there. networks: as for `lint`."""
    said: dict[tuple[str, str], str] = {}
    for tag in called:
        kind, name = ROLES.get(tag.kind), tag.args[0]
        if kind is None:
            unknown = message(
                "<{kind}:…> is not a type of network; the types are {known}. The tag is ignored.",
                kind=printable(tag.kind, 20),
                known=", ".join(ROLES),
            )
            yield Lint(tag.span, unknown, "")
        elif networks is not None and name not in networks.get(kind, ()):
            if (kind, name) not in said and len(said) < _SUGGESTIONS:
                said[kind, name] = _unknown(kind, name, networks.get(kind, ()))
            plain = message("There is no {kind} named '{name}'.", kind=kind, name=printable(name, 60))
            yield Lint(tag.span, sentences(said.get((kind, name), plain), message("The tag is ignored.")), None)


def _mismatches(
    called: tuple[NetworkTag, ...], networks: Mapping[str, Bases] | None, family: ModelFamily | None
) -> Iterator[Lint]:
    for tag in called if networks and family else ():
        name = tag.args[0]
        base = networks.get(ROLES.get(tag.kind, ""), {}).get(name) if networks else None
        if family and not fits(base, family.label):
            shown = printable(name, 60)
            said = message(
                "'{name}' is made for {base}, but the model is {family}: layers that do not fit are ignored.",
                name=shown,
                base=base,
                family=family.label,
            )
            yield Lint(tag.span, said, None)


def _unknown(kind: str, name: str, there: Collection[str]) -> str:
    try:
        near = find(kind, name[:60], {known: known for known in there})
    except UnknownNameError as error:
        return str(error)
    return message(
        "There is no {kind} named '{name}', but there is '{near}'.",
        kind=kind,
        name=printable(name, 60),
        near=printable(near, 60),
    )


def _weight_of_all(text: str, end: int) -> Iterator[Lint]:
    """`aspect 16:9`: without an AND nobody means this."""
    if match := _WEIGHT.fullmatch(text, end):
        said = message(
            "{text} is read as the weight of the whole prompt, as before an AND, and not as words.", text=match[2]
        )
        yield Lint((match.start(1), match.end(2)), said, f"{match[1]}\\{match[2]}")


# --- what concerns one part -------------------------------------------------------------------------------------------


def _literal(tree: schedule.Tree) -> Iterator[Lint]:
    if tree.literal:
        start, end = tree.literal
        sign = tree.text[start:end]
        if sign == "\\":
            said = message("A backslash with nothing after it turns off all prompt editing in this text.")
            yield Lint(tree.literal, said, "")
        elif sign == "|":
            said = message("`|` works only as in [a|b]; here it turns off all prompt editing in this text.")
            yield Lint(tree.literal, said, "\\|")
        else:
            said = message(
                "`|` and `:` cannot be used in one pair of brackets: this turns off all prompt editing in this text."
            )
            if sign[0] == "(":
                said = message("`|` does not work in round brackets: it turns off all prompt editing in this text.")
            yield Lint(tree.literal, said, _grouped(sign))


def _grouped(pair: str) -> str | None:
    """`[a:b|c:0.5]` → `[a:[b|c]:0.5]`."""
    fields: list[str] = []
    barred: set[int] = set()
    depth, start = 0, 1
    for match in schedule.TOKEN.finditer(pair, 1, len(pair) - 1):
        if match[0] in "([":
            depth += 1
        elif match[0] in ")]":
            depth -= 1
        elif match[0] == "|" and not depth:
            barred.add(len(fields))
        elif match[0] == ":" and not depth:
            fields.append(pair[start : match.start()])
            start = match.end()
    fields.append(pair[start:-1])
    fixed = "[" + ":".join(f"[{part}]" if index in barred else part for index, part in enumerate(fields)) + "]"
    nodes = schedule.parse(fixed).nodes
    return fixed if pair[0] == "[" and len(nodes) == 1 and isinstance(nodes[0], schedule.Scheduled) else None


def _square_weights(tree: schedule.Tree) -> Iterator[Lint]:
    """`[a:1.2]`."""
    for node in tree.walk():
        if isinstance(node, schedule.Scheduled) and node.before is None and "." in node.when:
            if float(node.when) < 1:
                continue  # a share of the steps, as may be meant
            start, end = node.span
            said = message(
                "[…:{number}] is not a weight but prompt editing: it starts after the last step, so "
                "these words have no effect.",
                number=printable(node.when, 20),
            )
            yield Lint(node.span, said, f"({tree.text[start + 1 : end - 1]})" if end - start < 500 else None)


def _numbers(text: str) -> Iterator[Lint]:
    for match in _NOT_A_NUMBER.finditer(text):
        try:
            float(match[1])
        except ValueError:
            whole, _, rest = match[1].partition(".")
            number = f"{whole}.{rest.partition('.')[0]}"
            said = message(
                "{text} is not a number, so it is read as words (A1111 fails here).", text=printable(match[1], 20)
            )
            yield Lint(match.span(1), said, number if any(c.isdigit() for c in number) else None)


def _unclosed(text: str, brackets: list[emphasis.Bracket]) -> Iterator[Lint]:
    for bracket in brackets:
        if bracket.closer is None:
            sign = text[bracket.start]
            said = message(
                "`{sign}` is never closed, so everything after it is weighted. Close it, or write "
                "\\{sign} for the character itself.",
                sign=sign,
            )
            yield Lint((bracket.start, bracket.start + 1), said, "\\" + sign)


def _strays(runs: list[emphasis.Run]) -> Iterator[Lint]:
    for run in runs:
        sign, (start, end) = run.text[-1:], run.span
        if sign and sign in ")]" and end - start == len(run.text):  # an escaped one is shorter than its span
            yield Lint(
                (end - 1, end),
                message("`{sign}` closes nothing, so it is read as an ordinary character.", sign=sign),
                "\\" + sign,
            )


def _breaks(text: str, runs: list[emphasis.Run]) -> Iterator[Lint]:
    """`(a BREAK b:1.2)`. Where a schedule stands between, its brackets too would have to be parted."""
    for run in runs:
        if run.weight == emphasis.BREAK != emphasis.weigh(run):
            start, end = run.span
            while start and text[start - 1].isspace():
                start -= 1
            while end < len(text) and text[end].isspace():
                end += 1
            fix = None
            around = run.around() if run.depth <= _REPEATABLE else []
            if around and "\0" not in text[min(bracket.start for bracket in around) : start]:
                signs = {bracket.start: text[bracket.start] for bracket in around}
                closers = "".join(bracket.closer or {"(": ")", "[": "]"}[signs[bracket.start]] for bracket in around)
                fix = f"{closers} BREAK {''.join(signs[at] for at in sorted(signs))}"
            yield Lint((start, end), message("BREAK inside brackets starts no new chunk: it is read as a word."), fix)


def _second_chunk(text: str, runs: list[emphasis.Run], family: ModelFamily | None) -> Iterator[Lint]:
    """Where the first chunk is full. Nothing is cut off, but what is encoded apart does not colour each other."""
    if family is None or family.tokenize is None or family.tokens is None:
        return
    count = 0
    for run in runs:
        if run.weight == emphasis.BREAK == emphasis.weigh(run):
            count = 0
            continue
        for word in islice(_WORD.finditer(text, *run.span), family.tokens.length + 1):
            count += len(family.tokenize(word[0].replace("\0", " ")))
            if count > family.tokens.length:
                said = message(
                    "About here the {number} tokens of the first chunk are full, and a new chunk begins. "
                    "Put BREAK where you want to split the prompt.",
                    number=family.tokens.length,
                )
                yield Lint(word.span(), said, None)
                return
