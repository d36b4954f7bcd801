"""What tmux says of itself and of the terminal that it is shown on. That may be another one tomorrow, so it is asked
each time."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sdterm.core.processes import BoundsError, run_bounded

_ASKED = ("version", "allow-passthrough", "client_termfeatures", "client_termname", "client_termtype")
_PATIENCE = 2.0  # seconds
_ALWAYS_PASSED = 3, 3  # from this version on there is a setting for it


class Tmux(NamedTuple):
    version: str
    passes: bool
    """It hands on what is marked as meant for the terminal behind it."""
    features: frozenset[str]
    """What it knows the terminal behind it to have, in tmux's words."""
    terminal: str
    """What that one calls itself, or else its TERM."""


def ask_tmux(environ: Mapping[str, str]) -> Tmux | None:
    """None outside of tmux, or where it does not answer."""
    if not environ.get("TMUX"):
        return None
    pane = ["-t", environ["TMUX_PANE"]] if environ.get("TMUX_PANE") else []
    wanted = "|".join(f"#{{{name}}}" for name in _ASKED)
    try:
        ended = run_bounded(["tmux", "display-message", "-p", *pane, wanted], _PATIENCE, environ)
    except (BoundsError, OSError):
        return None
    return read(ended.output) if ended.code == 0 else None


def read(answer: str) -> Tmux | None:
    """What tmux printed."""
    parts = answer.strip("\r\n").split("|", len(_ASKED) - 1)
    if len(parts) != len(_ASKED):
        return None
    version, passthrough, features, term, name = parts
    passes = passthrough in ("on", "all", "1") or (not passthrough and is_older(version, _ALWAYS_PASSED))
    return Tmux(version[:40], passes, frozenset(features.split(",")), (name or term)[:200])


def is_older(version: str, than: tuple[int, int]) -> bool:
    """Of tmux's versions, such as 3.3a and next-3.6; one that cannot be read is not older."""
    found = re.search(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < than
