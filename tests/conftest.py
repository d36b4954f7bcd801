"""What all tests share: `--all`, where the project lies, and the logs of hosts when a test fails."""

import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

# As sdterm.engine does before torch is loaded; a test module that imports torch first would come too late with it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a core for each worker; what tests start shares it

gc.set_threshold(50_000, 20, 50)  # for the reason that sdterm.__main__ has

# How long an example takes says how busy the machine is.
settings.register_profile("some", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
settings.register_profile("all", settings.get_profile("some"), max_examples=200)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also run what is heavy: full installs, long drawings")
    parser.addoption("--update-snapshots", action="store_true", help="keep the screens as they look now")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("all" if config.getoption("--all") else "some")
    # A shell starts what runs in its background with Ctrl+C ignored, and children would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "heavy: takes minutes or the network; runs with --all")
    config.addinivalue_line("markers", "few(n): of its cases the first n run; all of them with --all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # What takes longest at a stretch goes first: at the end the other processes would wait for it.
    items.sort(key=lambda item: next(i for i, path in enumerate(_FIRST) if item.nodeid.startswith(path)))
    if config.getoption("--all"):
        return
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    cases: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        few = item.get_closest_marker("few")
        heavy = item.get_closest_marker("heavy") or (few and cases[test] >= few.args[0])
        cases[test] += not heavy
        (left if heavy else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


_HOSTS = {
    "tests/cli/": "command line",
    "tests/host/sdapi/": "API",
    "tests/host/test_init_images.py": "drawing",
    "tests/host/test_passes.py": "drawing",
    "tests/host/test_trash.py": "drawing",
    "tests/host/test_upscaling.py": "drawing",
    "tests/tui/": "workstation",
}
"""Files of tests (all whose paths begin so) → the host that they share."""
_FIRST = ("tests/test_house.py", "tests/tui/", "tests/host/sdapi/", "")


class ByHost(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """A file goes to one process, and so do the files that share one host: it would be started in each."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((host for path, host in _HOSTS.items() if file.startswith(path)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByHost:
    return ByHost(config, log)


def pytest_collection_finish() -> None:
    """The modules of all tests and what they import stay: a collection of garbage need not look at them."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Nobody looks through what this process leaves: pytest would, five times."""
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for hosts and terminals about as often as they compute. At most four,
    each of which takes gigabytes."""
    return min((os.cpu_count() or 1) + 1, 4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what hosts wrote since the test began: they are processes of their own."""
    report = yield
    if report.failed:
        folder = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for log in _logs(folder, since=time.time() - call.duration - 1):
            text = log.read_text(encoding="utf-8", errors="replace")
            report.sections.append((f"end of {log}", "\n".join(text.splitlines()[-_LOG_LINES:])))
    return report


def _logs(folder: Path, since: float) -> Iterator[Path]:
    found = {log.resolve() for depth in range(1, 4) for log in folder.glob("*/" * depth + "run/host.log")}
    for log in sorted(found):  # pytest links to its newest folders
        if log.is_file() and log.stat().st_mtime >= since:
            yield log


_LOG_LINES = 60


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the clone that is being tested."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def clean_environment(repo: Path) -> Iterator[None]:
    """Processes inherit the environment: this repository, none of the user's settings."""
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith("SDTERM_") or key == "COMMANDLINE_ARGS"]:
            patch.delenv(key)
        patch.setenv("PYTHONPATH", str(repo))
        patch.setenv("PYTHONUTF8", "1")
        yield
