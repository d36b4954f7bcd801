"""The prompts of before, in a file that outlives crashes and other hands."""

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.tui import history
from sdterm.tui.history import Entry, append, read


def test_the_newest_prompt_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "there is none yet" / "prompts.jsonl"
    assert read(path) == []
    first, second = Entry("a cat\non a mat", "", 1.5), Entry("日本語 \u2028 \x1b[31m", "bad", 2.0)
    append(path, first)
    append(path, second)
    assert read(path) == [second, first]
    assert len(path.read_bytes().split(b"\n")) == 3, "a line each, whatever is in the prompt"


def test_the_same_prompt_again_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    for at, prompt in enumerate(["a", "a", "b", "a"]):
        append(path, Entry(prompt, "", at))
    append(path, Entry("a", "bad", 9))
    assert [(entry.prompt, entry.negative, entry.at) for entry in read(path)] == [
        ("a", "bad", 9),
        ("a", "", 3),
        ("b", "", 2),
        ("a", "", 0),
    ]


def test_foreign_and_torn_lines_are_passed_over_and_what_follows_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    foreign = [
        b"",
        b"null",
        b"[1, 2]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"prompt": 5, "negative": "", "at": 1}',
        b'{"prompt": "a", "negative": null, "at": 1}',
        b'{"prompt": "a", "negative": "", "at": NaN}',
        b'{"prompt": "a", "negative": "", "at": 1' + b"0" * 400 + b"}",
        b'{"prompt": "a", "negative": "", "at": 1' + b"0" * 9000 + b"}",
        b'{"prompt": "half \\ud800", "negative": "", "at": 1, "more": true}',
        b'{"prompt": "torn',
    ]
    path.write_bytes(b"\n".join(foreign))
    append(path, Entry("whole", "", 2))
    assert read(path) == [Entry("whole", "", 2), Entry("half ?", "", 1)]


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 10)
    path = tmp_path / "prompts.jsonl"
    for at in range(40):
        append(path, Entry(f"prompt {at}", "", at))
        kept = [int(entry.at) for entry in read(path)]
        assert kept == [*range(at, at - len(kept), -1)]
        assert min(at + 1, 10) <= len(kept) <= 15


def test_workstations_side_by_side_mix_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"

    def draw(who: int) -> None:
        for at in range(20):
            append(path, Entry(f"{who} {at} " + "x" * 3000, "", at))

    threads = [threading.Thread(target=draw, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(path)) == 80


def test_a_file_that_cannot_be_read_is_empty_and_one_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    with pytest.raises(OSError):
        append(tmp_path, Entry("a", "", 1))


@pytest.mark.skipif(os.name == "nt", reason="no such permissions there")
def test_nobody_else_can_read_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 2)
    path = tmp_path / "prompts.jsonl"
    for at in range(8):
        append(path, Entry(f"prompt {at}", "", at))
        assert path.stat().st_mode & 0o077 == 0


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_what_was_drawn_comes_back_as_it_was(prompt: str, negative: str, at: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prompts.jsonl")
        append(path, Entry(prompt, negative, at))
        assert read(path) == [Entry(prompt, negative, at)]
