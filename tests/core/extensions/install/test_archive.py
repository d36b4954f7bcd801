"""Archives from strangers are unpacked as they are, or refused as a whole before anything is written."""

import contextlib
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdterm.core.extensions.install import archive
from sdterm.core.extensions.install.archive import MOST_ENTRIES, ArchiveError, check_names, unpack
from sdterm.core.extensions.source import files_of
from tests.core.extensions.making import tar_of, zip_of

FILES = {"mine/__init__.py": b"x = 1\n", "mine/data/curve.json": b"[0]", "mine/LICENSE": b""}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_file_is_unpacked_however_it_is_packed(mode: str, tmp_path: Path) -> None:
    unpack(tar_of(tmp_path / "a", FILES, mode), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_a_zip_file_is_unpacked_whatever_its_name(tmp_path: Path) -> None:
    unpack(zip_of(tmp_path / "a.tar", FILES), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_what_tar_makes_of_a_folder_named_by_a_dot_is_fine(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.py").write_bytes(b"1")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(tmp_path / "mine", arcname=".")
    unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.py": b"1"}


HOSTILE_NAMES = [
    "../evil.py",
    "a/../../evil.py",
    "a/./b",
    "/etc/evil",
    "//host/share",
    "a//b",
    "a\\b.py",
    "..\\evil.py",
    "C:evil.py",
    "C:/evil.py",
    "a.py:stream",
    "con",
    "a/NUL.txt",
    "COM1.py",
    "a. ",
    "a./b",
    "b\x1b[31m.py",
    "\u202egpj.py",
    "a\nb",
    "x" * 256,
    "/".join(["deep"] * 200),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_name_that_leaves_the_folder_or_is_none_somewhere_refuses_the_archive(
    pack: object, name: str, tmp_path: Path
) -> None:
    made = pack(tmp_path / "a", {"fine.py": b"1", name: b"2"})  # type: ignore[operator]
    refused(made, tmp_path)


def test_a_nul_in_a_name_refuses_the_archive(tmp_path: Path) -> None:
    made = zip_of(tmp_path / "a", {"fine.pyXevil": b"1"})
    made.write_bytes(made.read_bytes().replace(b"fine.pyXevil", b"fine.py\0evil"))
    refused(made, tmp_path)


@pytest.mark.parametrize(
    "pair", [("a.py", "A.PY"), ("data/x", "Data/y"), ("straße", "STRASSE"), ("e\u0301", "\u00e9"), ("a", "a/b")]
)
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_two_names_for_what_may_be_one_file_refuse_the_archive(
    pack: object, pair: tuple[str, str], tmp_path: Path
) -> None:
    refused(pack(tmp_path / "a", dict.fromkeys(pair, b"1")), tmp_path)  # type: ignore[operator]


def test_a_file_that_is_there_twice_refuses_the_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as tar:
        for content in (b"1", b"2"):
            info = tarfile.TarInfo("a.py")
            info.size = 1
            tar.addfile(info, io.BytesIO(content))
    refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_whatever_is_neither_file_nor_folder_refuses_a_tar_file(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.py")
    info.type, info.linkname = kind, "fine.py"
    refused(tar_of(tmp_path / "a", {"fine.py": b""}, "w:gz", info), tmp_path)


def test_a_link_refuses_a_zip_file(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as made:
        made.writestr(info, "/etc/passwd")
    refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_bomb_is_refused_before_it_goes_off(pack: object, tmp_path: Path) -> None:
    refused(pack(tmp_path / "a", {"zeros": bytes(20 * 1024**2)}), tmp_path, "unpacks to more than")  # type: ignore[operator]


def test_a_zip_file_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    made = zip_of(tmp_path / "a", {"zeros": bytes(4 * 1024**2)})
    made.write_bytes(made.read_bytes().replace(struct.pack("<I", 4 * 1024**2), struct.pack("<I", 10)))
    with pytest.raises(ArchiveError):
        unpack(made, tmp_path / "out")
    assert sum(file.stat().st_size for file in files_of(tmp_path / "out")) <= 1024**2


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_too_many_entries_are_refused(pack: object, tmp_path: Path) -> None:
    made = pack(tmp_path / "a", {f"{n}.py": b"" for n in range(MOST_ENTRIES + 1)})  # type: ignore[operator]
    refused(made, tmp_path, "more than 5000 entries")


def test_too_large_an_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_PACKED", 100)
    refused(zip_of(tmp_path / "a", FILES), tmp_path, "The archive is larger than")


@settings(max_examples=60)
@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00"]),
    rest=st.binary(max_size=2000),
)
def test_whatever_the_bytes_it_ends_well(start: bytes, rest: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("archive")
    (place / "a").write_bytes(start + rest)
    try:
        unpack(place / "a", place / "out")
    except ArchiveError as error:
        assert str(error).startswith("The archive")
    assert {path.name for path in place.iterdir()} <= {"a", "out", "out.tar"}


@settings(max_examples=60)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), packed=st.booleans())
def test_one_wrong_byte_never_does_more_than_refuse(
    at: int, byte: int, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("archive")
    made = zip_of(place / "a", FILES) if packed else tar_of(place / "a", FILES, "w")
    content = bytearray(made.read_bytes())
    content[at % len(content)] = byte
    made.write_bytes(content)
    with contextlib.suppress(ArchiveError):
        unpack(made, place / "out")
    assert {path.name for path in place.iterdir()} <= {"a", "out", "out.tar"}


@given(st.lists(st.tuples(st.text(max_size=20), st.booleans()), max_size=8))
def test_names_that_are_allowed_stay_inside_and_apart(entries: list[tuple[str, bool]]) -> None:
    try:
        check_names(entries)
    except ArchiveError:
        return
    for name, _ in entries:
        assert (Path("/root") / name).resolve().is_relative_to("/root") and "\0" not in name
    files = [name.casefold() for name, folder in entries if not folder]
    assert len(set(files)) == len(files)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in files_of(folder)}


def refused(made: Path, place: Path, words: str = "The archive") -> None:
    """It is refused, and nothing was written."""
    with pytest.raises(ArchiveError, match=words) as caught:
        unpack(made, place / "out")
    assert "\x1b" not in str(caught.value)
    assert not (place / "out").exists() or not list((place / "out").iterdir())
    assert {path.name for path in place.iterdir()} <= {made.name, "out", "out.tar"}
