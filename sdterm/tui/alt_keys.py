"""Alt and a letter or digit as that key, as soon as it is read."""

from string import ascii_letters, digits
from types import SimpleNamespace
from typing import Any, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

_BEGIN_MORE = "OPX"  # with Alt, as terminals write it, they begin other sequences


def hear_alt_keys() -> None:
    """Textual waits whether more follows what Alt and a letter write. If that is another key's escape sequence, as on a
    slow line, it takes Alt+R for ^ and r. Alt+2 it takes for what that writes on an American Mac: ™."""
    known = cast(dict[str, Any], ANSI_SEQUENCES_KEYS)
    for character in ascii_letters + digits:
        sequence = f"\x1b{character}"
        if character not in _BEGIN_MORE and not isinstance(known.get(sequence), tuple):
            shift = "shift+" if character.isupper() else ""
            known[sequence] = (SimpleNamespace(value=f"alt+{shift}{character.lower()}"),)
