"""What holds for every example; each one's own tests lie in it and run with ours."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sdterm.core.extensions.catalogue import load_catalogue
from sdterm.core.extensions.manifest import read_manifest

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (REPOSITORY / "examples").glob("*/extension.toml"))
MODELLING = {"sdterm.modelling.clip", "sdterm.modelling.predictions", "sdterm.modelling.sampling"}
USED = {"sdterm.hooks", *MODELLING, "torch", "numpy", "PIL", "diffusers"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_what_it_is_and_has_tests_of_its_own(example: Path) -> None:
    manifest = read_manifest(example)
    assert manifest.name and manifest.version and manifest.description and manifest.refusal is None
    assert 8 <= len((example / "README.md").read_text(encoding="utf-8").splitlines()) <= 20
    assert list((example / "tests").glob("test_*.py"))
    assert f"[{example.name}]({example.name}/README.md)" in (example.parent / "README.md").read_text(encoding="utf-8")


def test_our_suite_runs_the_tests_of_the_examples() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert "examples" in settings["tool"]["pytest"]["ini_options"]["testpaths"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_uses_nothing_of_sdterm_but_the_contract(example: Path) -> None:
    for file in example.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                ours = name in USED or name.partition(".")[0] in USED | sys.stdlib_module_names
                assert ours, f"{file.name} imports {name}"


def test_all_examples_are_listed_together_without_torch(tmp_path: Path) -> None:
    for example in EXAMPLES:
        shutil.copytree(example, tmp_path / "extensions" / example.name)
    catalogue = load_catalogue(tmp_path)
    mine = {entry.slug: entry for entry in catalogue.plugins if entry.origin == "extension"}
    assert {*mine} == {example.name for example in EXAMPLES if (example / "__init__.py").is_file()}
    assert not [entry.error for entry in mine.values() if entry.error]
    assert all(entry.gives for entry in mine.values())
    program = (
        "import sys; from pathlib import Path; from sdterm.core.extensions.registry import load_plugins;"
        f"load_plugins(Path({str(tmp_path / 'extensions')!r})); print({{'torch', 'diffusers'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_commands_of_an_example_are_understood(example: Path) -> None:
    """Options and names; nothing is drawn."""
    text = (example / "README.md").read_text(encoding="utf-8")
    from sdterm.cli.generate import generate

    options = {option for parameter in generate.params for option in parameter.opts}
    for line in re.findall(r"^    sdterm generate (.*)$", text, re.MULTILINE):
        assert {word for word in line.split() if word.startswith("--")} <= options, line
