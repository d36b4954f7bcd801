"""Colours: greys and one accent. Each theme is drawn for what the terminal has: true colour and 256, the sixteen of its
own, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from textual.app import App
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from sdterm.core.text import printable
from sdterm.tui.language import tr
from sdterm.tui.picture.support import has_colours

# Of the 256 colours, so that a terminal that has no more shows the same.
DARK = Theme(
    name="sdterm",
    primary="#ffaf5f",
    warning="#ffd75f",
    error="#ff5f5f",
    success="#87af87",
    foreground="#d0d0d0",
    background="#121212",
    surface="#1c1c1c",
    panel="#1c1c1c",
    variables={
        "quiet": "#444444",
        "text-primary": "#ffaf5f",
        "text-error": "#ff5f5f",
        "muted": "#8a8a8a",
        "block-cursor-background": "#303030",
        "block-cursor-foreground": "#ffffff",
        "focus-background": "#303030",
    },
)
LIGHT = Theme(
    name="sdterm-light",
    primary="#af5f00",
    warning="#875f00",
    error="#af0000",
    success="#005f00",
    foreground="#1c1c1c",
    background="#ffffff",
    surface="#eeeeee",
    panel="#eeeeee",
    dark=False,
    variables={
        "quiet": "#b2b2b2",
        "text-primary": "#af5f00",
        "text-error": "#af0000",
        "muted": "#626262",
        "block-cursor-background": "#dadada",
        "block-cursor-foreground": "#000000",
        "focus-background": "#dadada",
    },
)
# The terminal's own sixteen: nobody knows which, so what is chosen is reversed, whatever they are.
_SIXTEEN = {
    "quiet": "ansi_bright_black",
    "muted": "ansi_default",
    "block-cursor-background": "ansi_default",
    "block-cursor-foreground": "ansi_default",
    "block-cursor-text-style": "bold reverse",
    "block-cursor-blurred-background": "ansi_default",
    "block-cursor-blurred-foreground": "ansi_default",
    "block-cursor-blurred-text-style": "bold",
    "input-selection-background": "ansi_white",
    "input-selection-foreground": "ansi_black",
    "scrollbar": "ansi_bright_black",
    "scrollbar-background": "ansi_default",
    "on-primary": "ansi_black",
    "focus-border": "double",
    "focus-background": "ansi_default",
    "focus-style": "bold underline",
    "refused-style": "bold reverse",
}
DARK_16 = Theme(
    name="sdterm-16",
    ansi=True,
    primary="ansi_yellow",
    error="ansi_bright_red",
    success="ansi_green",
    variables={**BUILTIN_THEMES["ansi-dark"].variables, **_SIXTEEN},
)
LIGHT_16 = Theme(
    name="sdterm-light-16",
    ansi=True,
    primary="ansi_blue",
    error="ansi_red",
    success="ansi_green",
    dark=False,
    variables={**BUILTIN_THEMES["ansi-light"].variables, **_SIXTEEN, "on-primary": "ansi_bright_white"},
)
# Without colours shapes are left: double borders, reversed rows, underlined fields.
MONO = Theme(
    name="mono",
    primary="#ffffff",
    warning="#ffffff",
    error="#ffffff",
    success="#ffffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    variables={
        "quiet": "#ffffff",
        "muted": "#ffffff",
        "text-primary": "#ffffff",
        "text-error": "#ffffff",
        "block-cursor-background": "#ffffff",
        "block-cursor-foreground": "#000000",
        "block-cursor-blurred-background": "#000000",
        "block-cursor-blurred-foreground": "#ffffff",
        "block-cursor-blurred-text-style": "bold",
        "bar": "#000000",
        "input-selection-background": "#ffffff",
        "input-selection-foreground": "#000000",
        "focus-border": "double",
        "focus-background": "#000000",
        "focus-style": "bold underline",
        "refused-style": "bold reverse",
    },
)
OURS = (DARK, LIGHT, DARK_16, LIGHT_16, MONO)
_IN_SIXTEEN = {DARK.name: DARK_16.name, LIGHT.name: LIGHT_16.name}


def variables(theme: Theme, given: Mapping[str, str]) -> dict[str, str]:
    """A theme's variables, with those that only the stylesheet of sdterm knows. Textual's own themes have none of them,
    and what is chosen in the colour in which keys are written."""
    paper, ink, accent = (given[name] for name in ("background", "foreground", "primary"))
    ours = {
        "quiet": "ansi_bright_black" if theme.ansi else _between(paper, ink, 0.25),
        "muted": "ansi_default" if theme.ansi else _between(paper, ink, 0.7),
        "on-primary": given["ansi-background"] if theme.ansi else paper,
        "bar": accent,
        "focus-border": "heavy",
        "focus-background": "ansi_default" if theme.ansi else _between(paper, accent, 0.2),
        "focus-style": "bold underline" if theme.ansi else "bold",
        "refused-style": "bold reverse" if theme.ansi else "bold underline",
    }
    found = {**ours, **given}
    if theme not in OURS and not theme.ansi:
        found |= {"block-cursor-background": found["focus-background"], "block-cursor-foreground": ink}
        found |= {"block-cursor-text-style": "bold", "block-cursor-blurred-background": found["surface"]}
    return found


def _between(paper: str, ink: str, share: float) -> str:
    return Color.parse(paper).blend(Color.parse(ink), share, alpha=1).hex


def names(app: App[Any]) -> list[str]:
    """The themes that can be chosen, ours first."""
    chosen = [DARK.name, LIGHT.name, MONO.name]
    taken = {theme.name for theme in OURS}
    return [*chosen, *sorted(name for name in app.available_themes if name not in taken)]


def choose(app: App[Any], name: str) -> str:
    """Take a theme by its name. Where there are no colours (NO_COLOR, vt100) it is `mono`; with sixteen ours are drawn
    in the terminal's own. Returns what is wrong with the name, or nothing."""
    for theme in OURS:
        app.register_theme(theme)
    wrong = ""
    if name not in app.available_themes:
        there = ", ".join(names(app))
        wrong = tr("There is no theme {name}. There is {there}.", name=printable(repr(name)), there=there)
        name = DARK.name
    if app.no_color or not has_colours(os.environ):
        name, wrong = MONO.name, ""
    elif app.console.color_system == "standard":
        name = _IN_SIXTEEN.get(name, name)
    app.theme = name
    return wrong
