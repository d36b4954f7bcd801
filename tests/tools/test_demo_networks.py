"""The tool that trained the demo model's networks still trains some."""

import subprocess
import sys
from pathlib import Path

import pytest

from sdterm import load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.networks import format_of


@pytest.mark.heavy
def test_it_writes_what_sdterm_reads(tmp_path: Path, repo: Path) -> None:
    subprocess.run([sys.executable, "-m", "tools.demo_networks", "--steps", "2", str(tmp_path)], cwd=repo, check=True)
    (tmp_path / "models").mkdir()
    for folder in ("Lora", "hypernetworks"):
        (tmp_path / folder).rename(tmp_path / "models" / folder)
    library, plugins = Library(tmp_path), load_plugins()
    for kind, role, name in (
        ("lora", "lora", "sdterm-blueprint"),
        ("embedding", "embedding", "sdterm-dusk"),
        ("hypernetwork", "hypernet", "sdterm-autumn"),
    ):
        file = library.file(kind, name)
        assert file.path.is_relative_to(tmp_path) and format_of(file, role, plugins).role == role
