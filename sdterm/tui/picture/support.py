"""What a terminal can show, by what its environment says: nobody is asked, so nothing waits for an answer."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from sdterm.core.language import tr

Mode: TypeAlias = Literal["off", "text", "half", "kitty", "sixel", "auto"]
Protocol: TypeAlias = Literal["text", "half", "kitty", "sixel"]
Depth: TypeAlias = Literal["truecolor", "256", "16", "mono"]


class Support(NamedTuple):
    protocol: Protocol
    """What "auto" means here."""
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
_MULTIPLEXERS = {"TMUX": "tmux", "STY": "screen", "ZELLIJ": "zellij"}


def support(environ: Mapping[str, str]) -> Support:
    """The protocol and the colours to use where the user chose none."""
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


def protocol(mode: Mode, environ: Mapping[str, str]) -> Literal["off", "text", "half", "kitty", "sixel"]:
    """What a user's choice means in this terminal."""
    return support(environ).protocol if mode == "auto" else mode


def _depth(environ: Mapping[str, str]) -> Depth:
    """As https://no-color.org and https://github.com/termstandard/colors have it."""
    term = environ.get("TERM", "").lower()
    if environ.get("NO_COLOR") or term in ("", "dumb", "unknown") or term.startswith("vt"):
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
