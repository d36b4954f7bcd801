"""A data folder with small pipelines in it, built when a test first wants one, and an engine for them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import CHECKPOINTS

Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, with the extension that brings the pipeline of tomorrow."""
    data = tmp_path_factory.mktemp("pipelines")
    shutil.copytree(Path(__file__).with_name("tomorrow"), data / "extensions" / "tomorrow")
    return data


@pytest.fixture(scope="session")
def folder(root: Path) -> Folder:
    """`folder(name)`: where the pipeline of that name lies."""
    from tests.pipelines.building import build  # here, since it imports diffusers

    def built(name: str) -> Path:
        there = root / CHECKPOINTS / name
        return there if there.exists() else build(name, there)

    return built


@pytest.fixture(scope="session")
def plugins(root: Path) -> PluginSet:
    return load_plugins(root / "extensions")


@pytest.fixture(scope="session")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")
