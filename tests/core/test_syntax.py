"""Trees of Python source."""

import ast
import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sdterm.core.syntax import parsed


@pytest.fixture
def interrupted() -> Iterator[None]:
    """While a tree is made, garbage is collected time and again, and each time another thread goes on."""

    def rest(phase: str, info: object) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(rest)
    gc.set_threshold(20, 1000, 1000)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(rest)


@pytest.mark.usefixtures("interrupted")
def test_threads_make_them_at_once() -> None:
    source = f"{'f(' * 60}1{')' * 60}\n" * 20
    with ThreadPoolExecutor(4) as pool:
        trees = [*pool.map(parsed, [source] * 8)]
    assert len({ast.dump(tree) for tree in trees}) == 1


def test_an_error_names_the_file() -> None:
    with pytest.raises(SyntaxError) as error:
        parsed(b"def", "mine.py")
    assert error.value.filename == "mine.py"
