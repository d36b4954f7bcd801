"""Which keys do what: presets, and files of one's own.

A file is TOML: `[keymap]`, then `generate = "f5,ctrl+g"`, by the actions' ids. `base = "vim"` above it starts from a
preset.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sdterm.core.names import UnknownNameError, find
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.tui.actions import ACTIONS, BY_ID
from sdterm.tui.language import tr

Keymap = Mapping[str, str]

PRESETS: Mapping[str, Keymap] = {
    "default": {},
    # In a list hjkl move in every preset, but for h where a picture is chosen, unless this is vim; what is left of vim
    # are chords that the editors do not need themselves.
    "vim": {
        "hires": "H",
        "generate": "f5,ctrl+g,ctrl+enter,alt+enter",
        "redo": "ctrl+r",
        "history": "alt+h",
        "phrase_left": "alt+left",
        "phrase_right": "alt+right",
        "emphasis_up": "ctrl+up,alt+k,alt+up",
        "emphasis_down": "ctrl+down,alt+j,alt+down",
    },
    # The web UI's own: Ctrl+Enter generates, Esc interrupts, Alt+Enter skips, Ctrl+A selects all as in any browser; its
    # emphasis keys are the default.
    "a1111": {
        "generate": "ctrl+enter,f5,ctrl+g",
        "stop_after": "alt+enter,alt+s",
        "fix": "alt+x,ctrl+f",
        "select_all": "ctrl+a,alt+a",
        "line_start": "alt+home",
    },
}

LEFT = "picture_on_the_left"
"""The binding that goes there. A keymap that gives h to nothing else leaves it to this one."""


class KeymapError(SdtermError, ValueError):
    """A keymap cannot be used; the message is a sentence."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Clash:
    """A key that two actions want at once."""

    key: str
    first: str
    second: str

    def __str__(self) -> str:
        return tr(
            "The key {key} is meant for both {first} and {second}; the first one gets it.",
            key=self.key,
            first=self.first,
            second=self.second,
        )


def read_keymap(name: str) -> Keymap:
    """A preset by its name, or a file. Raises KeymapError."""
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name).expanduser()
    if path.suffix != ".toml":
        there = ", ".join(PRESETS)
        raise KeymapError(
            tr("There is no keymap {name}: {there}, or a .toml file.", name=repr(printable(name)), there=there)
        )
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KeymapError(
            tr("The keymap {path} cannot be read: {error}.", path=printable(str(path)), error=printable(str(error)))
        ) from None
    base = content.get("base", "default")
    if base not in PRESETS:
        there = ", ".join(PRESETS)
        raise KeymapError(
            tr(
                "{path}: base is {base}, but it must be one of {there}.",
                path=printable(str(path)),
                base=repr(base),
                there=there,
            )
        )
    return {**PRESETS[base], **dict(_entries(path, content.get("keymap", {})))}


def _entries(path: Path, given: object) -> Iterator[tuple[str, str]]:
    if not isinstance(given, dict):
        raise KeymapError(tr("{path}: [keymap] must be a table.", path=printable(str(path))))
    for name, keys in given.items():
        try:
            action = find("action", name, BY_ID)
        except UnknownNameError as error:
            raise KeymapError(f"{printable(str(path))}: {error}") from None
        if not isinstance(keys, str) or not all(key.strip() for key in keys.split(",")):
            raise KeymapError(
                tr('{path}: the keys of {name} must be text like "f5,ctrl+g".', path=printable(str(path)), name=name)
            )
        yield action.id, ",".join(key.strip() for key in keys.split(","))


def keys_of(keymap: Keymap) -> dict[str, str]:
    """Action → its keys, all of them."""
    return {action.id: keymap.get(action.id, action.keys) for action in ACTIONS}


def bound(keymap: Keymap) -> Keymap:
    """What Textual is given for a keymap. It takes a key from everything once it takes it from one action."""
    ours = {action: keys for action, keys in keymap.items() if action in BY_ID}
    return {**ours, LEFT: "left,h"} if ours else {}


def clashes(keymap: Keymap) -> list[Clash]:
    """Keys with two meanings in one place. A narrower place may take a key from `anywhere`, on purpose."""
    taken: dict[tuple[str, str], str] = {}
    found = []
    for name, keys in keys_of(keymap).items():
        for key in keys.split(","):
            heard = (BY_ID[name].scope, key)
            if heard in taken:
                found.append(Clash(key, taken[heard], name))
            taken.setdefault(heard, name)
    return found


_WORDS = {
    "full_stop": ".",
    "plus": "+",
    "minus": "-",
    "slash": "/",
    "comma": ",",
    "colon": ":",
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "escape": "Esc",
}
_PARTS = {"ctrl": "^", "shift": "S-", "alt": "M-", "pageup": "PgUp", "pagedown": "PgDn", "enter": "Enter"}


def shown(key: str) -> str:
    """A key as it is written on a screen: `^P` for ctrl+p."""
    *modifiers, last = key.split("+")
    name = _WORDS.get(last) or _PARTS.get(last) or (last.capitalize() if len(last) > 1 else last)
    if modifiers == ["ctrl"]:
        return "^" + (name.upper() if len(name) == 1 else name)
    return "".join(_PARTS.get(part, part) for part in modifiers) + name
