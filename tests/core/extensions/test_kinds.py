"""The table of kinds is whole: each row has all that a kind needs."""

import dataclasses
import re
from pathlib import Path

import pytest

from sdterm import hooks
from sdterm.core.extensions.author.template import TEMPLATES
from sdterm.core.extensions.check import check
from sdterm.core.extensions.kinds import KINDS, Kind, kind_of
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.names import UnknownNameError
from sdterm.core.planning.choices import choose_parts
from sdterm.core.settings.paths import PACKAGE
from sdterm.request import make_request

each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.hook)


@each
def test_a_kind_is_a_hook_a_descriptor_a_page_and_a_template(kind: Kind, repo: Path) -> None:
    assert hasattr(getattr(hooks, kind.hook), "sdterm_spec")
    assert vars(hooks)[kind.name] is kind.descriptor and kind_of(kind.descriptor) is kind
    assert {"id", "label"} <= {field.name for field in dataclasses.fields(kind.descriptor)}
    assert (repo / "docs" / "plugins" / f"{kind.hook}.md").read_text().startswith(f"# {kind.hook}\n")
    template = PACKAGE / "templates" / kind.template
    assert f"def {kind.hook}()" in (template / "__init__.py").read_text() and not check(template)


@each
def test_error_messages_use_its_word(kind: Kind) -> None:
    plugins = load_plugins()
    needed = [field for field in dataclasses.fields(kind.descriptor) if field.default is dataclasses.MISSING]
    bad = kind.descriptor(**{field.name: "bad" for field in needed})
    assert str(plugins.failure(bad, ValueError("no"))) == f"The {kind.word} bad of ? failed: ValueError: no."
    if kind.field:
        with pytest.raises(UnknownNameError, match=f"no {kind.word} named 'nobody'") as refused:
            choose_parts(make_request(prompt="x", **{kind.field: ["nobody"] if kind.several else "nobody"}), plugins)
        assert refused.value.kind == kind.word


def test_the_index_of_the_pages_lists_the_kinds_in_their_order_and_no_other(repo: Path) -> None:
    page = (repo / "docs" / "plugins" / "README.md").read_text()
    assert re.findall(r"^\| `(sdterm_\w+)` \|.*\(\1\.md\) \|$", page, re.MULTILINE) == [kind.hook for kind in KINDS]


def test_no_template_is_left_over() -> None:
    folders = {path.name for path in (PACKAGE / "templates").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == {*TEMPLATES}
