"""Errors that come again and again."""

import io
import logging

import pytest

from sdterm.host import repeats
from sdterm.host.repeats import Repeats


def lines(*messages: str) -> list[str]:
    """What is written of errors with these messages, and without their tracebacks."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Repeats())
    log = logging.Logger("test")
    log.addHandler(handler)
    for message in messages:
        try:
            raise OSError(message)
        except OSError:
            log.exception("cannot continue")
        log.info("something other")
    return [line for line in stream.getvalue().splitlines() if not line.startswith(("Traceback", " ", "something"))]


def test_an_error_that_comes_again_is_written_with_its_count() -> None:
    again = ["cannot continue", "OSError: full", "cannot continue (10 times by now): OSError('full')"]
    assert lines(*["full"] * 25) == again
    assert lines(*["full", "gone"] * 12) == [
        *again[:2],
        "cannot continue",
        "OSError: gone",
        again[2],
        again[2].replace("full", "gone"),
    ]


def test_what_is_no_error_is_written_each_time() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Repeats())
    log = logging.Logger("test")
    log.addHandler(handler)
    for _ in range(3):
        log.info("ready")
    assert stream.getvalue() == "ready\n" * 3


def test_an_error_of_long_ago_is_written_as_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "FORGOTTEN", 0.0)
    assert lines("full", "full") == ["cannot continue", "OSError: full"] * 2
