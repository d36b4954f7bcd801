"""What terminals said of themselves, so that each is asked once. One is known by where it is and what runs in it: its
device, its session and its names. Behind tmux another one may be tomorrow, so of that nothing is kept."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from sdterm.core.files import write_atomically
from sdterm.tui.picture.asking import Answers

_KEPT = 50  # terminals
_NAMES = (
    "TERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "COLORTERM",
    "KITTY_WINDOW_ID",
    "KONSOLE_VERSION",
    "VTE_VERSION",
    "WT_SESSION",
    "WINDOWID",
    "SSH_CONNECTION",
)


def recall(root: Path, environ: Mapping[str, str]) -> Answers | None:
    """What this terminal said when it was asked; None if it is to be asked. root: the data folder."""
    key = _key(environ)
    return Answers.of_json(_read(root).get(key)) if key else None


def remember(root: Path, environ: Mapping[str, str], answers: Answers | None) -> None:
    """Keep what this terminal said. None: it did not answer in time; a slow line does that, so it is asked once more
    before it counts as one that never answers."""
    if not (key := _key(environ)):
        return
    known = _read(root)
    if answers is None and key in known:
        answers = Answers()
    others = {name: value for name, value in known.items() if name != key}
    newest = dict([*others.items()][-(_KEPT - 1) :]) | {key: answers.as_json() if answers else None}
    with suppress(OSError):  # then it is asked again
        _file(root).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(root), json.dumps(newest).encode())


def _file(root: Path) -> Path:
    return root / "cache" / "terminals.json"


def _read(root: Path) -> dict[str, Any]:
    try:
        known = json.loads(_file(root).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _key(environ: Mapping[str, str]) -> str:
    """Of this terminal; empty where it may be another one next time, or none."""
    if environ.get("TMUX") or sys.__stdin__ is None:
        return ""
    try:
        session, device = os.getsid(0), os.ttyname(sys.__stdin__.fileno())
        place = (device, str(os.stat(device).st_ctime_ns), str(session), _begun(session))
    except (AttributeError, OSError, ValueError):
        return ""
    names = (f"{name}={environ.get(name, '')}" for name in _NAMES)
    return sha256("\n".join((*place, *names)).encode(errors="replace")).hexdigest()[:16]


def _begun(process: int) -> str:
    """When a process began, where that is easily had: numbers of processes come again."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return ""
