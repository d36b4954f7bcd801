"""Logins as A1111's flags have them."""

import pytest

from sdterm.core.settings.logins import admits, easily_guessed, logins


def test_logins_parse_as_the_guide_types_them() -> None:
    known = logins("admin:admin,user1:password")
    assert admits(known, "admin", "admin") and admits(known, "user1", "password")
    assert not admits(known, "user1", "admin")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("admin:admin,user1:password", ("admin", "user1")),
        ("ann:correct horse battery", ()),
        ("ann:1234567, Catherine : catherine ,ben:long:with:colons", ("ann", "Catherine")),
    ],
)
def test_passwords_that_others_try_first_are_named(text: str, names: tuple[str, ...]) -> None:
    assert easily_guessed(text) == names
