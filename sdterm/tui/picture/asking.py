"""What a terminal is asked about pictures, all at once, and what its answers mean.

Every terminal knows the last question, and answers come in order: once that one is answered, none is to come.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

LIMIT = 2.0
"""Seconds until a terminal that has not answered is taken for one that does not."""

SIXEL = 4
"""Sixel, among the abilities that a terminal names."""

_WHAT_ARE_YOU = "\x1b[>q"  # XTVERSION
_HAVE_YOU_KITTYS_PICTURES = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_HOW_LARGE_IS_A_CHARACTER = "\x1b[16t\x1b[14t"  # the second one is the whole window, for those that know only that
_HOW_MANY_COLOURS_HAS_SIXEL = "\x1b[?1;1;0S"  # XTSMGRAPHICS
_WHAT_CAN_YOU_DO = "\x1b[c"  # DA1

_NAME = r"\x1bP>\|(?P<name>[^\x1b\x07\x9c]{0,200})(?:\x1b\\|[\x07\x9c])"
_KITTY = r"\x1b_G(?P<kitty>[^\x1b\x9c]{0,200})(?:\x1b\\|\x9c)"
_SIZE = r"\x1b\[(?P<of>[46]);(?P<height>\d{1,5});(?P<width>\d{1,5})t"
_COLOURS = r"\x1b\[\?1;(?P<status>\d{1,3})(?:;(?P<colours>\d{0,6}))?(?:;\d{0,6}){0,4}S"
_ABILITIES = r"\x1b\[\?(?P<abilities>[\d;]{0,100})c"
_ANSWER = re.compile("|".join((_NAME, _KITTY, _SIZE, _COLOURS, _ABILITIES)))
_BEGUN = re.compile(
    r"\x1b(?:P(?:>(?:\|[^\x1b\x07\x9c]{0,200}\x1b?)?)?"
    r"|_(?:G[^\x1b\x9c]{0,200}\x1b?)?"
    r"|\[(?:[46](?:;\d{0,5}(?:;\d{0,5})?)?|\?[\d;]{0,100})?)?\Z"
)
_NO_KEY = re.compile(r"\x1b(?:P>\||_G|\[\?|\[[46];\d+;)")  # nothing that is typed begins like this
_MOST_CELL = 128  # pixels

_NEVER_ASKED = ("", "dumb", "unknown", "linux", "eterm", "cons25")  # some would print what they do not know


class Answers(NamedTuple):
    """What a terminal said of itself; empty is what it said nothing of."""

    name: str = ""
    """It and its version, in its own words."""
    abilities: frozenset[int] = frozenset()
    kitty: bool = False
    """It has kitty's graphics protocol (among text or not)."""
    cell: tuple[int, int] | None = None
    """Width and height of a character in pixels."""
    colours: int = 0
    """Of one sixel picture, at most."""

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "abilities": sorted(self.abilities)}

    @classmethod
    def of_json(cls, value: object) -> "Answers | None":
        """What `as_json` made; None where it is something else."""
        match value:
            case {
                "name": str(name),
                "abilities": list(abilities),
                "kitty": bool(kitty),
                "cell": cell,
                "colours": int(colours),
            } if all(isinstance(ability, int) for ability in abilities):
                size = (cell[0], cell[1]) if _is_a_cell(cell) else None
                return cls(name[:200], frozenset(abilities), kitty, size, colours)
        return None


Heard: TypeAlias = tuple[Answers, bool]
"""All that was said so far, and whether that is all."""


def questions(environ: Mapping[str, str], *, cell_is_known: bool) -> str:
    """What to write to the terminal; nothing where no answer could change anything, or where it might be printed."""
    term = environ.get("TERM", "").lower()
    if term in _NEVER_ASKED or term.startswith("vt") or environ.get("NO_COLOR"):
        return ""
    if environ.get("STY") or environ.get("ZELLIJ"):
        return ""
    if environ.get("TMUX"):  # it is asked for the rest by its own command, and would take kitty's question for a title
        return _WHAT_CAN_YOU_DO
    prints_it = environ.get("TERM_PROGRAM") == "Apple_Terminal"
    return "".join(
        (
            _WHAT_ARE_YOU,
            "" if prints_it else _HAVE_YOU_KITTYS_PICTURES,
            "" if cell_is_known else _HOW_LARGE_IS_A_CHARACTER,
            _HOW_MANY_COLOURS_HAS_SIXEL,
            _WHAT_CAN_YOU_DO,
        )
    )


class Ear:
    """Takes the answers out of what arrives, however it is cut into pieces. size: columns and rows of the terminal."""

    def __init__(self, size: tuple[int, int] = (0, 0)) -> None:
        self.answers = Answers()
        self.held = ""
        """What may be the beginning of an answer."""
        self._size = size

    def sift(self, text: str) -> Iterator[Heard | str]:
        """What arrived, in its order: what was typed, and what was said."""
        text, self.held = self.held + text, ""
        while answer := _ANSWER.search(text):
            yield text[: answer.start()]
            text = text[answer.end() :]
            is_last = self._take(answer)
            yield self.answers, is_last
            if is_last:
                yield text
                return
        if begun := _BEGUN.search(text):
            text, self.held = text[: begun.start()], begun[0]
        yield text

    @property
    def holds_a_key(self) -> bool:
        """What is held may have been typed."""
        return bool(self.held) and not _NO_KEY.match(self.held)

    def _take(self, answer: re.Match[str]) -> bool:
        """Whether it is the last one."""
        said = answer.groupdict()
        if said["abilities"] is not None:
            numbers = [int(part) for part in said["abilities"].split(";") if part]
            self.answers = self.answers._replace(abilities=frozenset(numbers[1:]))  # the first one is a class of them
            return True
        if said["name"] is not None:
            self.answers = self.answers._replace(name=said["name"])
        elif said["kitty"] is not None:
            self.answers = self.answers._replace(kitty=said["kitty"] == "i=31;OK")
        elif said["of"] is not None:
            self._measure(said["of"] == "6", int(said["width"]), int(said["height"]))
        elif said["status"] == "0":
            self.answers = self.answers._replace(colours=int(said["colours"] or 0))
        return False

    def _measure(self, is_a_cell: bool, width: int, height: int) -> None:
        if self.answers.cell:  # that of a character came first, and is exact
            return
        columns, rows = (1, 1) if is_a_cell else self._size
        cell = (width // columns, height // rows) if columns and rows else None
        if _is_a_cell(cell):
            self.answers = self.answers._replace(cell=cell)


def _is_a_cell(cell: object) -> bool:
    match cell:
        case (int(width), int(height)):
            return 1 <= width <= _MOST_CELL and 1 <= height <= _MOST_CELL
    return False
