"""Alt and a digit as that key."""

from typing import Any, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


def hear_alt_digits() -> None:
    """Textual takes Alt+2 for what it writes on an American Mac: ™."""
    known = cast(dict[str, Any], ANSI_SEQUENCES_KEYS)
    for digit in "0123456789":
        known.pop(f"\x1b{digit}", None)
