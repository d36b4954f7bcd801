"""What the keys mean where the cursor is: for the key bar, and for help about that place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.screen import Screen

ABOUT: Mapping[str, str] = {
    "prompt": "Write here what to generate. Tab goes to the next field.",
    "field": "Up and down step it, letters search its list, 512+64 is a sum. Enter opens the list, or generates.",
    "pictures": "The arrow keys choose an image, and these keys are about the chosen one.",
    "gallery": "Every image on disk. Up and down choose one; Enter takes all of it into the form.",
    "compare": "Two images side by side, and only the parameters that differ. Space flips between them.",
    "mask": "What is covered is inpainted. Arrows move, Shift or a number goes further; its key ends a shape.",
    "queue": "Jobs in the order in which they run, then those that ended.",
    "models": "Model files by kind, Tab goes to the next list. Enter uses the chosen one from now on.",
    "settings": "Each setting, its value and where that comes from. Enter changes it.",
    "extensions": "What others wrote. Enter switches the chosen extension on or off.",
}
"""A sentence for each place that has keys of its own."""
MOVES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "field": (("Up/Down", "Change"), ("Tab", "Next"), ("Enter", "List")),
    "part": (("Enter", "Fold"),),
    "filter": (("Tab", "Complete"), ("Enter", "Filter"), ("Esc", "Back")),
    "help": (("Esc", "Back"), ("Up/Down", "Scroll")),
}
"""Keys that are no actions, since every one of those places has them: the key and its word for the key bar."""


def scopes_of(screen: Screen[Any]) -> list[str]:
    """The places whose keys are heard where the cursor is, the narrowest first."""
    focused = screen.focused
    nodes = focused.ancestors_with_self if focused else [screen]
    return [scope for node in nodes for scope in getattr(node, "scopes", ())]
