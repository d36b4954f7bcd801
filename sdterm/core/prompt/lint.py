"""What a prompt says that its author may not mean: A1111's traps, each with its place and a fix."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.networks import NetworkTag, extract
from sdterm.core.prompt.schedule import parse

_KNOWN_KINDS = ("lora", "lyco", "hypernet")
_BRACKETS = {")": "(", "]": "["}
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_WEIGHT = re.compile(r":\s*([+-]?[.\d]+)\s*\)")
_SQUARE_WEIGHT = re.compile(r"\[([^\[\]():|\\]*):\s*([-+]?\d*\.\d+|[-+]?\d+\.?)\s*\]")
_BREAK = re.compile(r"\bBREAK\b")
_MANY = 100  # findings; a prompt of brackets alone has one for each


@dataclass(frozen=True)
class Finding:
    """Characters `span` of the prompt do not do what they seem to; `fix` is what could stand there instead."""

    code: str
    span: tuple[int, int]
    message: str
    fix: str | None = None


def lint(text: str, *, negative: bool = False, networks: Collection[str] | None = None) -> tuple[Finding, ...]:
    """The findings, in the order of their places, 100 at most.

    negative: the text is a negative prompt, which has no compositions and no networks. networks: names of the network
    files there are, in any case; unknown ones are found then.
    """
    _, tags = extract(text)
    masked = text if negative else _blanked(text, tags)
    found = [
        *(_tags_in_negative(tags) if negative else _networks(tags, networks)),
        *_brackets(masked),
        *_odd_weights(masked),
        *_breaks(masked),
        *_literal(masked),
        *_square_weights(masked),
        *([] if negative else _trailing_weight(masked)),
    ]
    return tuple(sorted(found, key=lambda finding: (finding.span, finding.code))[:_MANY])


def _blanked(text: str, tags: Collection[NetworkTag]) -> str:
    """The text with its tags as spaces: places stay."""
    kept = list(text)
    for tag in tags:
        start, end = tag.span
        kept[start:end] = " " * (end - start)
    return "".join(kept)


def _tags_in_negative(tags: Collection[NetworkTag]) -> Iterator[Finding]:
    for tag in tags:
        yield Finding(
            "negative-tag", tag.span, "A network tag does nothing in a negative prompt: it is read as words.", ""
        )


def _networks(tags: Collection[NetworkTag], networks: Collection[str] | None) -> Iterator[Finding]:
    known = None if networks is None else {name.casefold() for name in networks}
    for tag in tags:
        if tag.kind not in _KNOWN_KINDS:
            kinds = ", ".join(_KNOWN_KINDS)
            message = f"<{tag.kind}:…> is no kind of network ({kinds}); it is taken out and ignored."
            yield Finding("unknown-tag", tag.span, message, "")
        elif known is not None and tag.args[0].casefold() not in known:
            yield Finding("unknown-network", tag.span, f"There is no network named {tag.args[0]!r}; it is ignored.")


def _brackets(text: str) -> Iterator[Finding]:
    """Brackets without a partner. Round and square ones pair each for themselves, as emphasis reads them."""
    open_ones: dict[str, list[int]] = {"(": [], "[": []}
    position = 0
    for position, character in enumerate(_ESCAPED.sub("..", text)):
        if character in open_ones:
            open_ones[character].append(position)
        elif character in _BRACKETS:
            if open_ones[_BRACKETS[character]]:
                open_ones[_BRACKETS[character]].pop()
            else:
                span = (position, position + 1)
                yield Finding(
                    "stray-bracket", span, f"{character} closes nothing: it is a character.", f"\\{character}"
                )
    for bracket, positions in open_ones.items():
        effect = "stronger" if bracket == "(" else "weaker"
        for position in positions:
            message = f"{bracket} is never closed: everything after it is {effect}."
            yield Finding("open-bracket", (position, position + 1), message, f"\\{bracket}")


def _odd_weights(text: str) -> Iterator[Finding]:
    for match in _WEIGHT.finditer(text):
        try:
            float(match[1])
        except ValueError:
            message = f"{match[1]} is no number: the weight is read as words (A1111 stops with an error)."
            fix = ".".join(match[1].split(".")[:2])
            yield Finding("weight", match.span(1), message, fix if re.fullmatch(r"[-+]?\d+\.\d+", fix) else "1.1")


def _breaks(text: str) -> Iterator[Finding]:
    """BREAK within a weighted bracket is a word of negative weight."""
    if not _BREAK.search(text):
        return
    for piece in pieces(text):
        if piece.is_break or "BREAK" not in piece.text or piece.weight >= 0:
            continue
        start = text.index("BREAK", piece.span[0])
        yield Finding(
            "break-in-brackets",
            (start, start + 5),
            f"BREAK works outside brackets only; in here it is a word of weight {piece.weight:g}.",
            ") BREAK (",
        )


def _literal(text: str) -> Iterator[Finding]:
    """Brackets that look like a switch or an alternation and are neither."""
    tree = parse(text)
    for start, end, separators in ((*rejected.span, rejected.separators) for rejected in tree.rejected):
        if text[start] != "[":
            continue
        inner = text[start + 1 : end - 1]
        if "|" in separators and ":" in separators:
            *options, when = inner.split(":")
            nested = ":".join(f"[{option.strip()}]" if "|" in option else option for option in options)
            timed = re.fullmatch(r"\s*[-+]?[.\d]+\s*", when)
            yield Finding(
                "mixed-switch",
                (start, end),
                "A switch and an alternation in one bracket are neither: all of it is words.",
                f"[{nested}:{when}]" if timed else None,
            )
        else:
            message = "This is no switch, and all of it is words: [from:to:when] and [to:when] end in a number."
            yield Finding("no-switch", (start, end), message)
    if tree.literal and not tree.rejected and "[" in text:
        culprit = "|" if "|" in text else "\\"
        at = text.index(culprit)
        message = f"A {culprit} outside square brackets makes words of every switch and alternation."
        yield Finding("literal-prompt", (at, at + 1), message)


def _square_weights(text: str) -> Iterator[Finding]:
    """[a:1.2] looks like a weight and is a switch."""
    for match in _SQUARE_WEIGHT.finditer(text):
        number = match[2]
        if match[1] and ("." in number and 0.5 < abs(float(number)) <= 2):
            message = f"In square brackets {number} is no weight but a time: {match[1]!r} comes in after that."
            yield Finding("square-weight", match.span(), message, f"({match[1]}:{number})")


def _trailing_weight(text: str) -> Iterator[Finding]:
    """`aspect 16:9`: a last number is the weight of the whole prompt."""
    parts = composition(text)
    for part in parts:
        if part.weight != 1 and len(parts) == 1:
            end = len(text.rstrip())
            number = text[part.span[1] : end]
            at = part.span[1] + number.index(":")
            message = (
                f"{number.strip()!r} at the end is the weight of the whole prompt: guidance is times {part.weight:g}."
            )
            yield Finding("trailing-weight", (at, end), message, text[at:end] + ",")
