"""The page on memory says what was measured."""

from tools import memory_page


def test_the_tables_are_those_of_the_latest_measurements() -> None:
    text = memory_page.TARGET.read_text(encoding="utf-8")
    assert memory_page.page(text) == text, "run `python -m tools.memory_page`"
