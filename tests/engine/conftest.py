"""A real engine on the embedded model, and one on the tiny checkpoint of the golden runs."""

from pathlib import Path

import pytest

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.events import Event, Image
from tests import tiny_checkpoint

EXTENSIONS = Path(__file__).parents[2] / "extensions"


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def plugins() -> PluginSet:
    """The built-ins and the shipped example."""
    return load_plugins(EXTENSIONS)


@pytest.fixture(scope="session")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")


@pytest.fixture(scope="session")
def tiny_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("tiny")
    return Engine(library=Library(folder, chosen=tiny_checkpoint.write(folder)), device="cpu")


def request(**fields: object) -> GenerationRequest:
    """A small quick request for the embedded model."""
    defaults = {"prompt": "red circle, blue background", "seed": 7, "steps": 4, "width": 64, "height": 64}
    return GenerationRequest.model_validate(defaults | fields)


def images(events: list[Event]) -> list[Image]:
    return [event for event in events if isinstance(event, Image)]
