"""A real engine on the embedded model."""

from pathlib import Path

import pytest

from sdterm import Engine
from sdterm.core.library.checkpoints import Library


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")
