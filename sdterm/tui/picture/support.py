"""How pictures are shown in this terminal: by the user's choice, else by what the environment says. Where that says
kitty, the workstation asks for its version: before 0.28, kitty shows rows of boxes for pictures among text."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from sdterm.core.text import printable
from sdterm.tui.language import tr

Protocol: TypeAlias = Literal["off", "text", "half", "kitty", "sixel"]
Depth: TypeAlias = Literal["truecolor", "256", "16", "mono"]


class Support(NamedTuple):
    protocol: Protocol
    depth: Depth
    reason: str
    """A sentence for the user: why this protocol."""


# Programs that have the protocol whole, as TERM (its beginning) and TERM_PROGRAM call them. WezTerm and Konsole know
# kitty's protocol without placeholders; xterm knows sixel only when it was built and started for it.
_PROTOCOLS: dict[str, Protocol] = {
    "xterm-kitty": "kitty",
    "kitty": "kitty",
    "xterm-ghostty": "kitty",
    "ghostty": "kitty",
    "foot": "sixel",
    "mlterm": "sixel",
    "contour": "sixel",
}
_TRUE_COLOUR = (*_PROTOCOLS, "alacritty", "wezterm", "iterm.app", "vscode", "rio", "tabby")
_PLACEHOLDERS = 0, 28  # the first version of kitty that can show a picture in cells of text
_MULTIPLEXERS = {"TMUX": "tmux", "STY": "screen", "ZELLIJ": "zellij"}

QUESTION = "\x1b[>q"
"""What are you, and of which version? (XTVERSION; kitty and ghostty answer it.)"""
ANSWER = re.compile(r"\x1bP>\|([^\x1b\x07\x9c]{0,200})(?:\x1b\\|[\x07\x9c])")


def support(environ: Mapping[str, str], preview: Protocol | Literal["auto"] = "auto") -> Support:
    """How pictures are printed, one below the other, and in which colours. preview: the setting of that name."""
    found = _by_environment(environ)
    if preview != "auto":
        found = Support(preview, found.depth, tr("The setting {name} says so.", name="preview"))
    if found.protocol in ("kitty", "sixel") and found.depth not in ("truecolor", "256"):
        return Support("half", found.depth, tr("{name} needs at least 256 colours.", name=found.protocol))
    return found


def support_among_text(
    environ: Mapping[str, str], preview: Protocol | Literal["auto"] = "auto", name: str = ""
) -> Support:
    """The same for the workstation, whose pictures are cells of text: not every kitty has those. name: what the
    terminal calls itself, if it said so."""
    found = support(environ, preview)
    return _by_name(name, found.depth) if preview == "auto" and found.protocol == "kitty" else found


def is_to_be_asked(environ: Mapping[str, str]) -> bool:
    """Whether only the terminal itself knows how it shows pictures among text."""
    return support(environ).protocol == "kitty"


def _by_environment(environ: Mapping[str, str]) -> Support:
    depth = _depth(environ)
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        return Support("text", "mono", tr("The terminal does not say what it can show."))
    for variable, name in _MULTIPLEXERS.items():
        if environ.get(variable):
            return Support("half", depth, tr("{name} runs between sdterm and the terminal.", name=name))
    if depth == "mono":
        return Support("half", depth, tr("Pictures are shaded with characters: no colours are wanted here."))
    if environ.get("KITTY_WINDOW_ID"):
        return Support("kitty", depth, tr("This is {name}.", name="kitty"))
    if known := _known(environ, _PROTOCOLS):
        return Support(_PROTOCOLS[known], depth, tr("This is {name}.", name=known.removeprefix("xterm-")))
    return Support("half", depth, tr("Half blocks work in any terminal; this one is not known for more."))


def _by_name(name: str, depth: Depth) -> Support:
    """Of a terminal that is taken for kitty or ghostty."""
    shown = printable(name, 40)
    if not name:
        return Support("half", depth, tr("The terminal has not said which version of kitty it is; 0.28 is needed."))
    called = re.match(r"(kitty|ghostty)\W+(\d+)\.(\d+)", name)
    if not called:
        return Support("half", depth, tr("The terminal calls itself {name}, not kitty or ghostty.", name=shown))
    version = int(called[2]), int(called[3])
    if called[1] == "kitty" and version < _PLACEHOLDERS:
        return Support("half", depth, tr("This is {name}, and pictures need 0.28.", name=shown))
    return Support("kitty", depth, tr("This is {name}.", name=shown))


def has_colours(environ: Mapping[str, str]) -> bool:
    """Whether the terminal has any; if not, it may not even know their escape sequences."""
    term = environ.get("TERM", "").lower()
    return term not in ("", "dumb", "unknown") and not term.startswith("vt")


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


def _known(environ: Mapping[str, str], names: Iterable[str]) -> str | None:
    own = environ.get("TERM", "").lower(), environ.get("TERM_PROGRAM", "").lower()
    return next((name for name in names if any(word == name or word.startswith(f"{name}-") for word in own)), None)
