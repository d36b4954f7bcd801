"""docs/compatibility.md lists every route and field of A1111's API as they are."""

from pathlib import Path

from tools.api_compatibility import HEADING, section


def test_the_section_on_the_api_is_what_its_tables_say(repo: Path) -> None:
    page = (repo / "docs" / "compatibility.md").read_text(encoding="utf-8")
    _, _, after = page.partition(f"{HEADING}\n")
    written = f"{HEADING}\n{after.partition(chr(10) + '## ')[0]}".strip()
    assert written == "\n".join(section()).strip(), "run: python -m tools.compatibility"
