"""A worker that is given one version of an extension after the other keeps none of the old ones."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

RELOAD = dedent("""
    import gc, sys, threading
    from dataclasses import asdict
    from pathlib import Path
    import psutil
    from sdterm.core.extensions.discovery import discover
    from sdterm.core.extensions.frozen import freeze
    from sdterm.worker import Plugins

    root, count = Path(sys.argv[1]), int(sys.argv[2])
    folder = root / "extensions" / "mine"
    folder.mkdir(parents=True)
    plugins = Plugins()

    def load(number):
        (folder / "table.py").write_text(f"ROWS = [str(i) for i in range({number}, 50_000)]")
        (folder / "__init__.py").write_text(
            "import torch\\nfrom sdterm.hooks import Sampler, hookimpl\\nfrom .table import ROWS\\n"
            "def sample(denoise, x, sigmas, *, noise, callback): return x * len(ROWS)\\n"
            "@hookimpl\\ndef sdterm_samplers(): return [Sampler(id='mine', label='Mine', sample=sample)]\\n"
        )
        sources = [freeze(root, s) if s.origin == "extension" else s for s in discover(root / "extensions")]
        given = [asdict(source) for source in sources]
        plugins.of(given, used=False)  # offered beside the one in use
        assert plugins.of(given).sampler("mine").sample(None, 1, None, noise=None, callback=None) == 50_000 - number

    def now():
        return len(sys.modules), threading.active_count(), len(sys.path_importer_cache)

    process = psutil.Process()
    for number in range(20):
        load(number)
    before, memory = now(), process.memory_info().rss
    for number in range(20, 20 + count):
        load(number)
    print(now() == before, (process.memory_info().rss - memory) >> 20)
""")


def reload(root: Path, count: int) -> tuple[str, int]:
    """Whether modules, threads and importers are as many as before, and how many MiB more there are."""
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(root), str(count)], capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    same, grown = done.stdout.split()
    return same, int(grown)


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.heavy)])
def test_old_versions_are_freed(tmp_path: Path, count: int) -> None:
    """Each version holds 3 MB: kept, forty would be 120 MB."""
    same, grown = reload(tmp_path, count)
    assert same == "True"
    assert grown < 20
