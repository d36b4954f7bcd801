"""A defect leaves a file behind, and a sentence."""

from pathlib import Path

from sdterm.tui.defect import FILE, note


def test_a_defect_is_told_in_a_sentence_and_written_down_with_its_place(tmp_path: Path) -> None:
    for number in range(2):
        try:
            raise ZeroDivisionError(f"number {number}\x1b[2J")
        except ZeroDivisionError as error:
            said = note(tmp_path, error)
        assert f"ZeroDivisionError: number {number}" in said and str(tmp_path / FILE) in said and "\x1b" not in said
    kept = (tmp_path / FILE).read_text(encoding="utf-8")
    assert kept.index("number 0") < kept.index("number 1") and Path(__file__).name in kept


def test_a_defect_is_told_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / FILE.parent).write_text("in the way")
    said = note(tmp_path, ValueError("it"))
    assert "ValueError: it" in said and str(tmp_path) not in said
