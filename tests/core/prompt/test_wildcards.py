"""Wildcards: text files by name, none of them outside their folder."""

import os
from pathlib import Path

import pytest

from sdterm.core.prompt.wildcards import MOST_BYTES, Wildcards
from sdterm.request import RequestError


def test_files_are_wildcards_by_their_place_and_lines_without_comments(tmp_path: Path) -> None:
    (tmp_path / "animals" / ".git").mkdir(parents=True)
    (tmp_path / "animals" / "birds.txt").write_bytes("\ufeff# birds\r\n\x1b[31mowl \r\n\r\n jay\r\nZaunkönig".encode())
    (tmp_path / "a.b.txt").write_text("x")
    for other in ("notes.md", ".hidden.txt", "animals/.git/config.txt"):
        (tmp_path / other).write_text("no")
    wildcards = Wildcards(tmp_path)
    assert sorted(wildcards) == ["a.b", "animals/birds"] and len(wildcards) == 2
    assert wildcards["animals/birds"] == ("[31mowl", "jay", "Zaunkönig")
    (tmp_path / "animals" / "birds.txt").write_text("other")
    assert wildcards["animals/birds"][1] == "jay", "within a job a wildcard stays what it was"


def test_no_name_and_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "wildcards"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "inside" / "word.txt").write_text("fine")
    (root / "again.txt").symlink_to(root / "inside" / "word.txt")
    (root / "broken.txt").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.txt")
    wildcards = Wildcards(root)
    assert sorted(wildcards) == ["again", "inside/word"]
    for name in ("../secret", "/etc/passwd", "folder/secret", "link", "inside/../../secret"):
        with pytest.raises(KeyError):
            wildcards[name]


def test_there_may_be_no_folder(tmp_path: Path) -> None:
    assert [*Wildcards(tmp_path / "none")] == []


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "huge.txt").write_bytes(b" " * (MOST_BYTES + 1))
    wildcards = Wildcards(tmp_path)
    with pytest.raises(RequestError, match=r"latin\.txt is not UTF-8 text"):
        wildcards["latin"]
    with pytest.raises(RequestError, match=r"huge\.txt is larger than 16 MiB"):
        wildcards["huge"]
