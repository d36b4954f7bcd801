"""`sdterm ext new`, `check`, `test`, `trace` as an author runs them."""

from pathlib import Path

import pytest

from sdterm.core.extensions.author.template import DATA, TEMPLATES
from tests.cli.conftest import Run

SHORT = ("sampler", DATA)
"""With code and without; --all tries every kind."""


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "kind", [kind if kind in SHORT else pytest.param(kind, marks=pytest.mark.heavy) for kind in TEMPLATES]
)
def test_what_is_begun_works_and_passes_its_test(sdterm: Run, tmp_path: Path, kind: str) -> None:
    begun = sdterm("ext", "new", f"try-{kind}", "--kind", kind, "--to", str(tmp_path))
    place = tmp_path / f"try_{kind}"
    assert (begun.returncode, begun.stdout.strip()) == (0, str(place)), begun.stderr
    assert not [path for path in place.rglob("*my_extension*")]
    checked = sdterm("ext", "check", str(place), "--strict", "--import")
    assert (checked.returncode, checked.stdout) == (0, "Nothing is wrong, as far as can be seen.\n"), checked
    tested = sdterm("ext", "test", str(place))
    assert tested.returncode == 0 and " passed" in tested.stdout, tested.stdout


def test_a_name_that_is_taken_or_no_name_is_refused(sdterm: Run, tmp_path: Path) -> None:
    for name, said in (
        ("json", "installed Python module"),
        ("../up", "is not a valid name"),
        ("sdterm_x", "is reserved for sdterm"),
    ):
        refused = sdterm("ext", "new", name, "--to", str(tmp_path))
        assert refused.returncode != 0 and said in refused.stderr, refused
    assert sdterm("ext", "new", "twice", "--to", str(tmp_path)).returncode == 0
    assert "already exists" in sdterm("ext", "new", "twice", "--to", str(tmp_path)).stderr
    assert "There is no extension 'nowhere'" in sdterm("ext", "check", "nowhere").stderr


def test_mistakes_end_with_an_exit_code(sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nsys.path.append('.')\n")
    assert sdterm("ext", "check", str(tmp_path / "mine.py")).returncode == 0
    strict = sdterm("ext", "check", str(tmp_path / "mine.py"), "--strict")
    assert strict.returncode != 0 and "mine.py:2:1: warning: sys.path" in strict.stdout
    (tmp_path / "mine.py").write_text("import os\nos._exit(3)\n")
    loaded = sdterm("ext", "check", str(tmp_path / "mine.py"), "--import")
    assert loaded.returncode != 0 and "loading it ended the process (exit code 3)" in loaded.stdout
    assert "has no folder tests/" in sdterm("ext", "test", str(tmp_path)).stderr


@pytest.mark.heavy
def test_a_trace_shows_calls_and_what_goes_in_and_comes_out(sdterm: Run, tmp_path: Path) -> None:
    sdterm("ext", "new", "traced", "--to", str(tmp_path))
    traced = sdterm("ext", "trace", str(tmp_path / "traced"), "--steps", "2")
    assert traced.returncode == 0, traced.stderr
    assert "float32[1, 4, 8, 8], float32[3]" in traced.stdout and "-> float32[1, 4, 8, 8]" in traced.stdout
