"""The reference page says what the code says."""

from tools import reference


def test_the_reference_page_is_what_the_code_says() -> None:
    assert reference.TARGET.read_text(encoding="utf-8") == reference.reference(), "run `python -m tools.reference`"
