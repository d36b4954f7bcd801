"""What stands where a file should be: pipes, devices, and names that are no text."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sdterm.core.extensions.discovery import in_folder
from sdterm.core.extensions.frozen import freeze
from sdterm.core.extensions.source import Source, digest, files_of
from sdterm.core.infotext.files import read_infotext
from sdterm.core.library.checkpoints import CheckpointFile, Library
from sdterm.core.output.saving import OutputFolderError, saving_of
from sdterm.core.prompt.completion import read_tags
from sdterm.core.prompt.styles import read_styles
from sdterm.core.prompt.wildcards import Wildcards
from sdterm.core.settings.paths import CHECKPOINTS, DataRootError, prepare
from sdterm.core.settings.settings import resolve
from sdterm.host.thumbnail import thumbnail

WITHIN = 30  # seconds


@pytest.fixture(autouse=True)
def hurried() -> Iterator[None]:
    """Who waits for a pipe waits for ever: here that is a failure."""

    def too_long(*_: object) -> None:
        raise AssertionError("it waits for what never comes")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(WITHIN)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS: dict[str, Callable[[Path], Any]] = {
    "styles": lambda path: read_styles([path]),
    "wildcards": lambda path: [*Wildcards(path.parent)],
    "tags": lambda path: read_tags(path.parent).complete("a"),
    "infotext": read_infotext,
    "thumbnail": lambda path: thumbnail(path, 64),
    "header": lambda path: CheckpointFile(path).shapes(),
    "preview": lambda path: CheckpointFile(path.parent / path.name.removesuffix(".preview.json")).preview,
    "hash": lambda path: Library(path.parent).sha256(path),
    "old hash": lambda path: Library(path.parent).old_hash(path),
    "extension": digest,
    "frozen copy": lambda path: freeze(path.parent, Source("a", "extension", str(path), digest(path))),
}
NAMES = {"styles": "a.csv", "tags": "a.csv", "wildcards": "a.txt", "preview": "a.preview.json"}


@pytest.mark.parametrize("kind", ["pipe", "link to a device"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / NAMES.get(reader, "a.safetensors")
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    try:
        assert READERS[reader](path) in ([], None, digest(path))
    except Exception as error:
        assert str(path) in str(error)


def test_a_pipe_is_no_part_of_an_extension(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("x = 1\n")
    before = digest(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert files_of(tmp_path) == [tmp_path / "__init__.py"] and digest(tmp_path) == before


ODD = os.fsdecode(b"caf\xe9")  # as Python is not valid UTF-8
SHOWN = "caf\ufffd"


def test_a_checkpoint_is_found_by_its_name_and_by_how_that_is_shown(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINTS / f"{ODD}.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    for name in (ODD, SHOWN, f"{ODD}.safetensors", f"{SHOWN}.safetensors", str(path), str(path).replace(ODD, SHOWN)):
        assert Library(tmp_path).find(name) == CheckpointFile(path)
    assert Library(tmp_path).checkpoints()[0].name == SHOWN


def test_a_wildcard_is_called_by_how_its_name_is_shown(tmp_path: Path) -> None:
    (tmp_path / f"{ODD}.txt").write_text("red\nblue\n")
    assert dict(Wildcards(tmp_path)) == {SHOWN: ("red", "blue")}


def test_an_extension_whose_name_is_not_utf_8_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / f"{ODD}.py").write_text("x = 1\n")
    (source,) = in_folder(tmp_path)
    assert (source.slug, source.refusal) == (SHOWN, "its name is not valid UTF-8: rename it")


def test_no_folder_is_used_whose_name_could_not_be_stored(tmp_path: Path) -> None:
    with pytest.raises(DataRootError, match=f"{SHOWN} is not valid UTF-8"):
        prepare(tmp_path / ODD)
    with pytest.raises(OutputFolderError, match=f"{SHOWN}: the folder.s name is not valid UTF-8"):
        saving_of(resolve({}, {"SDTERM_DATA": str(tmp_path)}), tmp_path / ODD)
