"""docs/security.md: each attack of its table has a test that is there."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")


def test_each_attack_names_its_tests() -> None:
    table = PAGE.partition("## Attacks")[2]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| ") and not row.startswith("| attack")]
    assert len(rows) > 25
    for _, attack, defence, tests, _ in rows:
        assert attack.strip() and defence.strip()
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", tests)
        assert named, f"{attack.strip()}: no test"
        for file, name in named:
            tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
            assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_the_limits_are_those_of_the_code() -> None:
    from sdterm.host.access.attempts import EACH, FREE
    from sdterm.host.access.bodies import MOST
    from sdterm.host.access.connections import HEADERS, LEAST, MOST_CONNECTIONS, STEP

    assert (FREE, EACH) == (10, 6) and "ten tries, then one every six seconds" in PAGE
    assert f"within {HEADERS:.0f} seconds" in PAGE and f"grow by {LEAST // 2**10} KiB in {STEP:.0f} seconds" in PAGE
    assert f"{MOST_CONNECTIONS} at most" in PAGE and f"{MOST // 2**20} MiB of all together" in PAGE
