"""Flags as guides spell them."""

import pytest

from sdterm.cli.spellings import corrected


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("-listen", "--listen"),
        ("-port 7861", "--port 7861"),
        ("-port=7861", "--port=7861"),
        ("—api", "--api"),
        ("–api", "--api"),
        ("---api", "--api"),
        ("--free-ze-settings", "--freeze-settings"),
        ("-free-ze-settings", "--freeze-settings"),
        ("--listen -n 5 -h -v", "--listen -n 5 -h -v"),
        ("generate -- -listen", "generate -- -listen"),
        ("generate -1 -", "generate -1 -"),
        ("listen port", "listen port"),
        ("-nothing --nothing", "-nothing --nothing"),
        ("generate x --negative -api", "generate x --negative -api"),
        ("generate x -n -api", "generate x -n -api"),
        ("--ckpt —api", "--ckpt —api"),
        ("--ckpt=x —api", "--ckpt=x --api"),
        ("--share -listen", "--share --listen"),
    ],
)
def test_a_flag_is_understood_as_the_guide_spells_it(typed: str, read: str) -> None:
    words, notes = corrected(typed.split())
    assert words == read.split()
    assert len(notes) == (typed != read)


def test_several_are() -> None:
    words, notes = corrected(["—api", "-listen", "-port", "7861", "-share"])
    assert words == ["--api", "--listen", "--port", "7861", "--share"] and len(notes) == 4


def test_no_password_is_repeated() -> None:
    assert corrected(["-api-auth=a:secret"]) == (["--api-auth=a:secret"], ["-api-auth is read as --api-auth."])
