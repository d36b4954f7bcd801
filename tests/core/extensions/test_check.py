"""What an extension's author is told without any of it being run."""

from pathlib import Path
from textwrap import dedent

import pytest

from sdterm.core.extensions.check import check
from sdterm.core.extensions.manifest import FILE

REPOSITORY = Path(__file__).parents[3]
GOOD = """
    from sdterm.hooks import Sampler, hookimpl

    def sample(denoise, x, sigmas, *, noise, callback):
        return x

    @hookimpl
    def sdterm_samplers():
        return [Sampler(id="mine", label="Mine", sample=sample)]
"""

CASES = {
    "def (": "mine.py:1:5: error: invalid syntax",
    "import sdterm.hooks as hooks\n@hooks.hookimpl\ndef sdterm_sampler(): ...": (
        "mine.py:3:1: error: there is no hook sdterm_sampler; did you mean sdterm_samplers?"
    ),
    "from sdterm.hooks import hookimpl\n@hookimpl\ndef sdterm_samplers(config): ...": (
        "mine.py:3:1: error: a hook is called without arguments, but sdterm_samplers takes config"
    ),
    "from sdterm.hooks import Sampler\nSampler(id='a', label='b', sample=print, default_schedular='x')": (
        "mine.py:2:60: error: Sampler has no field default_schedular; did you mean default_scheduler?"
    ),
    "from sdterm.hooks import Observer\nObserver(id='a', label='b', on_saved=print)": (
        "mine.py:2:38: error: Observer has no field on_saved; did you mean on_image_saved?"
    ),
    "from sdterm.hooks import LocalePack\nLocalePack('a', 'b', 'de')": "mine.py:2:1: error: LocalePack lacks messages",
    "from sdterm.hooks import Sampler as S\nS('a', label='b')": "mine.py:2:1: error: Sampler lacks sample",
    "from sdterm.hooks import Smapler": "mine.py:1:1: error: sdterm.hooks has no Smapler; did you mean Sampler?",
    "from mine.curves import x": (
        "mine.py:1:1: error: import the extension's own modules relatively: from .curves import …"
    ),
    "from sdterm.engine import Engine": "mine.py:1:1: warning: sdterm.engine is internal",
    "import torch\ndef f(): torch.randn(3)": "mine.py:2:10: warning: torch.randn uses the global random generator",
    "import numpy as np\nnp.random.seed(3)": "mine.py:2:1: warning: numpy.random.seed uses the global random generator",
    "from random import choice\nchoice('ab')": "mine.py:2:1: warning: random.choice uses the global random generator",
    "import sys\nsys.path.append('.')": "mine.py:2:1: warning: sys.path is shared",
    "def sdterm_samplers(): ...": "mine.py:1:1: warning: sdterm_samplers lacks @hookimpl",
    "x = 1": "mine.py:1:1: warning: no function has @hookimpl",
    "x = '\\0'\0": "mine.py:1:1: error: source code string cannot contain null bytes",
}


@pytest.mark.parametrize("code", CASES)
def test_a_mistake_is_named_with_its_place_and_what_comes_near(tmp_path: Path, code: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    said = [str(finding) for finding in check(tmp_path / "mine.py")]
    assert said[0].startswith(CASES[code]), said


@pytest.mark.parametrize(
    "code",
    [
        GOOD,
        "import random\n" + dedent(GOOD) + "\ndef f(rng): return random.Random(3).choice('ab')",
        dedent(GOOD) + "\nimport torch\ndef f(g): return torch.randn(3, generator=g)",
        dedent(GOOD).replace("id=", "**more, id="),
    ],
)
def test_what_is_well_written_is_left_alone(tmp_path: Path, code: str) -> None:
    (tmp_path / "random.py").write_text(dedent(code))  # no clash with Python's own: it has a private name
    assert check(tmp_path / "random.py") == []


def test_the_shipped_extensions_are_well_written() -> None:
    paths = [*(REPOSITORY / "extensions").glob("*.py")]
    paths += [path for path in (REPOSITORY / "examples").iterdir() if (path / FILE).exists()]
    assert len(paths) > 5
    assert [str(finding) for path in paths for finding in check(path)] == []


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text(dedent(GOOD))
    (folder / "inner" / "more.py").write_text("import mine.x")
    (folder / "out.txt").symlink_to("/etc/hostname")
    (folder / FILE).write_text('sdterm-api = ">=2"\n')
    assert [(finding.file, finding.severity) for finding in check(folder)] == [
        (FILE, "error"),
        ("inner/more.py", "error"),
        ("out.txt", "error"),
    ]
