"""What all tests share: `--all`, and where the project lies."""

import os
import signal
from pathlib import Path

import pytest

# As sdterm.engine does before torch is loaded; a test module that imports torch first would come too late with it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # a core each; what tests start shares it
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also run what is heavy: full installs, long drawings")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what runs in its background with Ctrl+C ignored, and children would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "heavy: takes minutes or the network; runs with --all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    heavy = [item for item in items if item.get_closest_marker("heavy")]
    items[:] = [item for item in items if item not in heavy]
    config.hook.pytest_deselected(items=heavy)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the clone that is being tested."""
    return Path(__file__).parents[1]
