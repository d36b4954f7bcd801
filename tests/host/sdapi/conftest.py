"""A host with A1111's API, for all tests of this folder that leave its settings as they were."""

from collections.abc import Iterator

import pytest

from tests.host.running import Running, running
from tests.host.sdapi.test_app import free_port


@pytest.fixture(scope="session")
def api_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It knows one style, `night`."""
    data = tmp_path_factory.mktemp("sdapi") / "data"
    data.mkdir()
    (data / "styles.csv").write_text('name,prompt,negative_prompt\nnight,"night, stars",sunset\n')
    with running(data, SDTERM_API="true", SDTERM_PORT=str(free_port())) as it:
        yield it
