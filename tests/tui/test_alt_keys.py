"""Alt and a letter, as terminals write it."""

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key

from sdterm.tui.alt_keys import hear_alt_keys


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("\x1br\x1b[D", ["alt+r", "left"]),
        ("\x1bc\x1bx\x1bV", ["alt+c", "alt+x", "alt+shift+v"]),
        ("\x1b3\x1b1", ["alt+3", "alt+1"]),
        ("\x1bcab", ["alt+c", "a", "b"]),
        ("\x1bb\x1bOP", ["ctrl+left", "f1"]),
    ],
)
def test_alt_and_a_letter_is_that_key_whatever_is_typed_behind_it(typed: str, keys: list[str]) -> None:
    hear_alt_keys()
    heard = [*XTermParser(False).feed(typed)]
    assert [message.key for message in heard if isinstance(message, Key)] == keys, "without waiting for more"
