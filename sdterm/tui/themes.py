"""Colours. Each theme is drawn for what the terminal has: true colour and 256, the sixteen of its own, or none."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.theme import Theme

from sdterm.core.text import printable
from sdterm.tui.language import tr

DARK = Theme(
    name="sdterm",
    primary="#5fafd7",
    secondary="#87afaf",
    accent="#ffaf5f",
    warning="#ffaf00",
    error="#ff875f",
    success="#87af87",
    foreground="#d0d0d0",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
)
LIGHT = Theme(
    name="sdterm-light",
    primary="#005f87",
    secondary="#5f8787",
    accent="#af5f00",
    warning="#875f00",
    error="#af0000",
    success="#005f00",
    foreground="#1c1c1c",
    background="#f8f8f8",
    surface="#eeeeee",
    panel="#e4e4e4",
    dark=False,
)
# Without colours only shapes are left: the stylesheet gives what has the focus a double border, in every theme.
MONO = Theme(
    name="mono",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffffff",
    warning="#ffffff",
    error="#ffffff",
    success="#ffffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
)
THEMES = (DARK, LIGHT, MONO)


def choose(app: App[Any], name: str) -> str:
    """Take a theme by its name. Where there are no colours (NO_COLOR) it is `mono`; with sixteen the terminal's own.
    Returns what is wrong with the name, or nothing."""
    for theme in THEMES:
        app.register_theme(theme)
    if app.no_color:
        app.theme = MONO.name
    elif name not in app.available_themes:
        there = ", ".join(sorted(app.available_themes))
        app.theme = DARK.name
        return tr("There is no theme {name}. There is {there}.", name=printable(repr(name)), there=there)
    elif name == DARK.name and app.console.color_system == "standard":
        app.theme = "ansi-dark"
    else:
        app.theme = name
    return ""
