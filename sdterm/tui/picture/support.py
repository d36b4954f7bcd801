"""How pictures are shown in this terminal: by the user's choice, else in the best of the ways that it is sure to have.
What it has is read from the environment, from what it answered, and from what tmux says of it."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from sdterm.core.text import printable
from sdterm.tui.language import tr
from sdterm.tui.picture.asking import SIXEL, Answers
from sdterm.tui.picture.tmux import Tmux

Protocol: TypeAlias = Literal["off", "text", "ascii", "half", "quadrant", "sextant", "sixel", "iterm", "kitty"]
Depth: TypeAlias = Literal["truecolor", "256", "16", "mono"]
Cells: TypeAlias = Literal["ascii", "half", "quadrant", "sextant"]
"""Pictures made of characters."""

CELLS: tuple[Cells, ...] = ("ascii", "half", "quadrant", "sextant")
PIXELS: tuple[Protocol, ...] = ("kitty", "iterm", "sixel")
"""What is tried in turn, before characters are."""


class Terminal(NamedTuple):
    """All that is known of one."""

    environ: Mapping[str, str]
    heard: Answers | None = None
    """What it said; None: it was not asked, or has said nothing so far."""
    tmux: Tmux | None = None

    @property
    def clears_a_column_more(self) -> bool:
        """Beside a picture that it draws over cells, on the right."""
        return self.heard is not None and self.heard.name.startswith("Konsole")


class Support(NamedTuple):
    protocol: Protocol
    depth: Depth
    reason: str
    """A sentence for the user: why this protocol."""


class Verdict(NamedTuple):
    """Whether pictures can be shown in one way, and a sentence for the user: why."""

    can: bool
    why: str


# Programs as TERM (its beginning) and TERM_PROGRAM call them, and what they have, whatever else they say.
_PROTOCOLS: dict[str, Protocol] = {
    "xterm-kitty": "kitty",
    "kitty": "kitty",
    "xterm-ghostty": "kitty",
    "ghostty": "kitty",
    "iterm.app": "iterm",
    "wezterm": "iterm",
    "foot": "sixel",
    "mlterm": "sixel",
    "contour": "sixel",
}
_TRUE_COLOUR = (*_PROTOCOLS, "alacritty", "vscode", "rio", "tabby")
_PLACEHOLDERS = 0, 28  # the first version of kitty that can show a picture in cells of text
# Those that have iTerm2's pictures, by the beginning of what they call themselves.
_INLINE_IMAGES = re.compile(r"(?:iTerm2|WezTerm|Konsole|mintty|Rio)\b", re.IGNORECASE)
_INLINE_IMAGES_IF_SIXEL = re.compile(r"xterm\.js\b")  # an addon has both, and need not be there
_KONSOLE = 220400  # the first version with pictures
_MULTIPLEXERS = {"TMUX": "tmux", "STY": "screen", "ZELLIJ": "zellij"}


def support(terminal: Terminal, preview: Protocol | Literal["auto"] = "auto", *, among_text: bool = False) -> Support:
    """How pictures are shown, and in which colours. preview: the setting of that name; among_text: they are cells of a
    screen, as in the workstation, and not printed one below the other: not every kitty has that."""
    depth = _depth(terminal.environ)
    if preview != "auto":
        if preview in PIXELS and (missing := _missing_colours(preview, depth)):
            return Support("half", depth, missing)
        return Support(preview, depth, tr("The setting {name} says so.", name="preview"))
    found = verdicts(terminal, among_text=among_text)
    best: Protocol = next((way for way in (*PIXELS, "half", "ascii") if found[way].can), "text")
    return Support(best, depth, found[best].why)


def verdicts(terminal: Terminal, *, among_text: bool = False) -> dict[Protocol, Verdict]:
    """Of each way to show pictures, whether it can be used here, and why."""
    environ, depth = terminal.environ, _depth(terminal.environ)
    found: dict[Protocol, Verdict] = {
        "off": Verdict(True, tr("No images and no room for them.")),
        "text": Verdict(True, tr("No images, only their captions.")),
    }
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        silent = Verdict(False, tr("The terminal does not say what it can show."))
        return found | {"text": silent._replace(can=True)} | {way: silent for way in (*CELLS, *PIXELS)}
    return found | _characters(environ, depth) | {way: _pixels(way, terminal, depth, among_text) for way in PIXELS}


def _characters(environ: Mapping[str, str], depth: Depth) -> dict[Protocol, Verdict]:
    ascii_ = Verdict(True, tr("Letters and signs work in any terminal."))
    if not _has_unicode(environ):
        why = tr("This terminal's characters are not UTF-8, as far as LC_ALL, LC_CTYPE and LANG say.")
        no = Verdict(False, why)
        return {"ascii": Verdict(True, why), "half": no, "quadrant": no, "sextant": no}
    if depth == "mono":
        half = tr("Images are shaded with characters: no colours are wanted here.")
    else:
        half = tr("Half blocks work in any terminal; this one is not known for more.")
    return {
        "ascii": ascii_,
        "half": Verdict(True, half),
        "quadrant": Verdict(True, tr("Finer than half blocks where the font has these: {signs}", signs="▚▞▙▟")),
        "sextant": Verdict(True, tr("Finer still where the font has these: {signs}", signs="🬗🬤🬞🬭")),
    }


def _pixels(way: Protocol, terminal: Terminal, depth: Depth, among_text: bool) -> Verdict:
    if missing := _missing_colours(way, depth):
        return Verdict(False, missing)
    multiplexer = next((name for variable, name in _MULTIPLEXERS.items() if terminal.environ.get(variable)), "")
    if multiplexer == "tmux":
        return _in_tmux(way, terminal)
    if multiplexer:
        return Verdict(False, tr("{name} runs between sdterm and the terminal.", name=multiplexer))
    match way:
        case "kitty":
            return _kitty_among_text(terminal) if among_text else _kitty(terminal)
        case "iterm":
            return _iterm(terminal)
    return _sixel(terminal)


def _missing_colours(way: Protocol, depth: Depth) -> str:
    if depth == "mono":
        return tr("Images are shaded with characters: no colours are wanted here.")
    if way == "kitty" and depth == "16":
        return tr("{name} needs at least 256 colours.", name=way)
    return ""


def _in_tmux(way: Protocol, terminal: Terminal) -> Verdict:
    tmux = terminal.tmux
    if tmux is None:
        return Verdict(False, tr("{name} runs between sdterm and the terminal.", name="tmux"))
    outside = printable(tmux.terminal, 40)
    match way:
        case "kitty":
            if not tmux.passes:
                hint = "tmux set -g allow-passthrough on"
                return Verdict(False, tr("tmux keeps kitty's images back; {command} lets them through.", command=hint))
            return _placeholders(tmux.terminal)
        case "sixel":
            if terminal.heard is None or SIXEL not in terminal.heard.abilities:
                said = tr("This tmux, {version}, has no sixel; 3.4 can be built with it.", version=tmux.version)
                return Verdict(False, said)
            if "sixel" not in tmux.features:
                return Verdict(False, tr("tmux knows of no sixel in the terminal behind it, {name}.", name=outside))
            return Verdict(
                True, tr("tmux {version} shows sixel itself, on {name}.", version=tmux.version, name=outside)
            )
    return Verdict(False, tr("tmux does not know where such an image would be."))


def _kitty(terminal: Terminal) -> Verdict:
    """Printed: every version can do that."""
    name = printable(terminal.heard.name, 40) if terminal.heard else ""
    if terminal.heard and terminal.heard.kitty:
        return Verdict(True, tr("This is {name}.", name=name) if name else tr("The terminal says that it has this."))
    if known := _called(terminal.environ, "kitty"):
        return Verdict(True, tr("This is {name}.", name=known))
    return Verdict(False, tr("The terminal has not said that it has this."))


def _kitty_among_text(terminal: Terminal) -> Verdict:
    name = terminal.heard.name if terminal.heard else ""
    if name:
        return _placeholders(name)
    if _called(terminal.environ, "kitty"):
        return Verdict(False, tr("The terminal has not said which version of kitty it is; 0.28 is needed."))
    return Verdict(False, tr("The terminal is neither kitty nor ghostty."))


def _placeholders(name: str) -> Verdict:
    """By what the terminal calls itself."""
    shown = printable(name, 40)
    called = re.match(r"(kitty|ghostty)\W+(\d+)\.(\d+)", name)
    if not called:
        return Verdict(False, tr("The terminal calls itself {name}, not kitty or ghostty.", name=shown))
    if called[1] == "kitty" and (int(called[2]), int(called[3])) < _PLACEHOLDERS:
        return Verdict(False, tr("This is {name}, and images need 0.28.", name=shown))
    return Verdict(True, tr("This is {name}.", name=shown))


def _iterm(terminal: Terminal) -> Verdict:
    heard, environ = terminal.heard, terminal.environ
    name = printable(heard.name, 40) if heard else ""
    has_sixel = heard is not None and SIXEL in heard.abilities
    if has_sixel and (_INLINE_IMAGES_IF_SIXEL.match(name) or environ.get("TERM_PROGRAM") == "vscode"):
        return Verdict(True, tr("This is {name}.", name=name or "VS Code"))
    if name:
        can = bool(_INLINE_IMAGES.match(name)) and _konsole_is_new_enough(environ)
        said = tr("This is {name}.", name=name)
        return Verdict(can, said if can else tr("{name} is not known to have iTerm2's images.", name=name))
    if known := _called(environ, "iterm"):
        return Verdict(True, tr("This is {name}.", name=known))
    return Verdict(False, tr("The terminal has not said that it has this."))


def _konsole_is_new_enough(environ: Mapping[str, str]) -> bool:
    version = environ.get("KONSOLE_VERSION", "")
    return not version.isdecimal() or int(version) >= _KONSOLE


def _sixel(terminal: Terminal) -> Verdict:
    if terminal.heard is not None and terminal.heard.abilities:
        if SIXEL in terminal.heard.abilities:
            return Verdict(True, tr("The terminal names sixel among its abilities."))
        return Verdict(False, tr("The terminal does not name sixel among its abilities."))
    if known := _called(terminal.environ, "sixel"):
        return Verdict(True, tr("This is {name}.", name=known))
    return Verdict(False, tr("The terminal has not said that it has this."))


def has_colours(environ: Mapping[str, str]) -> bool:
    """Whether the terminal has any; if not, it may not even know their escape sequences."""
    term = environ.get("TERM", "").lower()
    return term not in ("", "dumb", "unknown") and not term.startswith("vt")


def _has_unicode(environ: Mapping[str, str]) -> bool:
    """Of the old terminals, those whose user says so; today's have it. (Python itself sets LC_CTYPE to C.UTF-8 where
    nobody has set anything.)"""
    if has_colours(environ):
        return True
    own = environ.get("LC_ALL") or (environ.get("LC_CTYPE", "").replace("C.UTF-8", "") or environ.get("LANG", ""))
    return "utf8" in own.lower().replace("-", "")


def _depth(environ: Mapping[str, str]) -> Depth:
    """As https://no-color.org and https://github.com/termstandard/colors have it."""
    term = environ.get("TERM", "").lower()
    if environ.get("NO_COLOR") or not has_colours(environ):
        return "mono"
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return "truecolor"
    outermost = not any(environ.get(variable) for variable in _MULTIPLEXERS)
    if outermost and _known(environ, _TRUE_COLOUR):
        return "truecolor"
    return "256" if "256color" in term else "16"


def _called(environ: Mapping[str, str], way: Protocol) -> str:
    """The name of the program, if the environment says that it is one that has this."""
    if way == "kitty" and environ.get("KITTY_WINDOW_ID"):
        return "kitty"
    known = _known(environ, _PROTOCOLS)
    return known.removeprefix("xterm-") if known and _PROTOCOLS[known] == way else ""


def _known(environ: Mapping[str, str], names: Iterable[str]) -> str | None:
    own = environ.get("TERM", "").lower(), environ.get("TERM_PROGRAM", "").lower()
    return next((name for name in names if any(word == name or word.startswith(f"{name}-") for word in own)), None)
