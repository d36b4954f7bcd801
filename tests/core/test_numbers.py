"""Numbers as people type them."""

import pytest

from sdterm.core.numbers import whole_number
from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.settings import ConfigError, resolve


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("12", 12),
        ("9223372036854775807", 2**63 - 1),
        *((text, -1) for text in ("", "-1", "1.5", "²", "x", "9223372036854775808", "9" * 5000)),
    ],
    ids=lambda given: str(given)[:24],
)
def test_a_whole_number_has_digits_alone_and_an_end(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("name", ["--port", "--timeout-keep-alive", "--sub-quad-q-chunk-size"])
def test_a_flag_refuses_a_number_of_thousands_of_digits(name: str) -> None:
    (flag,) = (flag for flag in FLAGS if flag.name == name)
    assert flag.change and flag.change("512")
    with pytest.raises(ConfigError, match=f"{name} is '999"):
        flag.change("9" * 5000)


def test_so_does_a_setting() -> None:
    with pytest.raises(ConfigError, match="port is '999"):
        resolve({}, {"SDTERM_PORT": "9" * 5000})
