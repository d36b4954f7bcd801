"""Amounts of memory."""

import pytest

from sdterm.core.settings.amounts import AmountError, bytes_of, said


@pytest.mark.parametrize(
    ("text", "amount"),
    [("3GB", 3 * 1024**3), (" 3.5 g ", 3584 * 1024**2), ("800MiB", 800 * 1024**2), ("1tb", 1024**4), ("512k", 2**19)],
)
def test_an_amount_is_read_as_it_is_written(text: str, amount: int) -> None:
    assert bytes_of(text) == amount


@pytest.mark.parametrize("text", ["", "3", "GB", "-3GB", "0GB", "3 GB of it", "1e3GB", "nanGB"])
def test_what_is_no_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(AmountError, match="like 3GB"):
        bytes_of(text)


def test_amounts_are_told_as_people_say_them() -> None:
    assert [said(amount) for amount in (1536 * 2**20, 512 * 2**20, 3 * 2**19)] == ["1.5 GB", "512 MB", "1.5 MB"]
