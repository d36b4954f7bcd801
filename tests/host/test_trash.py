"""Deleting pictures and bringing them back: no file is lost or replaced, whatever happens in between."""

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2 as httpx
import pytest

from sdterm.client import RefusedError
from sdterm.core.output.found import image_files
from sdterm.core.settings.rundir import run_folder_of
from sdterm.events import PictureDeleted, PictureRestored
from sdterm.host.pictures import UnknownPictureError
from sdterm.host.services import HostServices
from sdterm.host.trash import FOLDER, TrashError
from tests.host.conftest import StartHost, submission
from tests.host.running import Running, wait_until
from tests.host.test_pictures import image, page

TEXT = "an owl, night\nSteps: 2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the picture is, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "a.png"


@pytest.fixture
def picture(services: HostServices, path: Path) -> int:
    """One that is saved, with its text beside it."""
    job = services.jobs.submit(submission(), services.saving())
    services.pictures.reserve(job, image(path), path)
    path.write_bytes(b"pixels")
    path.with_suffix(".txt").write_text(TEXT + "\n")
    services.pictures.commit(job, image(path))
    return page(services.pictures, "", 1, None).pictures[0].id


def listed(services: HostServices) -> list[tuple[int, str, bool]]:
    return [(found.id, found.path, found.missing) for found in page(services.pictures, "", 9, None).pictures]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_picture_and_its_text_leave_and_come_back(services: HostServices, picture: int, path: Path) -> None:
    asyncio.run(services.trash.delete(picture))
    assert listed(services) == [] and page(services.pictures, "owl", 1, None).total == 0
    assert files(path.parent) == {
        f"{FOLDER}/{picture}-a.png": b"pixels",
        f"{FOLDER}/{picture}-a.txt": f"{TEXT}\n".encode(),
    }
    assert [*image_files(path.parent)] == [], "a search for pictures does not list it again"
    asyncio.run(services.trash.restore(picture))
    assert listed(services) == [(picture, str(path), False)]
    assert files(path.parent) == {"a.png": b"pixels", "a.txt": f"{TEXT}\n".encode()}
    assert not (path.parent / FOLDER).exists(), "an empty trash is no folder"


def test_a_deleted_image_of_a_job_is_not_drawn_again(services: HostServices, picture: int, path: Path) -> None:
    asyncio.run(services.trash.delete(picture))
    assert services.pictures.saved(1, image(path)) and services.jobs.job(1).done == 1


def test_a_text_of_somebody_else_stays(services: HostServices, picture: int, path: Path) -> None:
    path.with_suffix(".txt").write_text("my notes")
    asyncio.run(services.trash.delete(picture))
    assert path.with_suffix(".txt").read_text() == "my notes"
    asyncio.run(services.trash.restore(picture))
    assert files(path.parent) == {"a.png": b"pixels", "a.txt": b"my notes"}


def test_a_name_that_was_taken_meanwhile_is_not_taken_back(services: HostServices, picture: int, path: Path) -> None:
    asyncio.run(services.trash.delete(picture))
    path.write_bytes(b"another")
    (path.parent / "a-2.png").write_bytes(b"a third")
    asyncio.run(services.trash.restore(picture))
    assert listed(services) == [(picture, str(path.with_name("a-3.png")), False)]
    assert path.read_bytes() == b"another" and path.with_name("a-3.png").read_bytes() == b"pixels"


def test_what_lies_in_the_trash_under_that_name_stays_too(services: HostServices, picture: int, path: Path) -> None:
    (path.parent / FOLDER).mkdir()
    (path.parent / FOLDER / f"{picture}-a.png").write_bytes(b"of a database that was lost")
    asyncio.run(services.trash.delete(picture))
    assert {*files(path.parent / FOLDER).values()} == {b"of a database that was lost", b"pixels", f"{TEXT}\n".encode()}


def test_a_picture_without_a_file_leaves_and_comes_back_as_it_was(
    services: HostServices, picture: int, path: Path
) -> None:
    path.unlink()
    asyncio.run(services.trash.delete(picture))
    assert listed(services) == []
    asyncio.run(services.trash.restore(picture))
    assert [(number, missing) for number, _, missing in listed(services)] == [(picture, True)]


def test_an_emptied_trash_gives_back_a_picture_that_is_missing_and_nobody_elses(
    services: HostServices, picture: int, path: Path
) -> None:
    asyncio.run(services.trash.delete(picture))
    (path.parent / FOLDER / f"{picture}-a.png").unlink()
    path.write_bytes(b"another")
    asyncio.run(services.trash.restore(picture))
    ((_, where, missing),) = listed(services)
    assert missing and where != str(path) and path.read_bytes() == b"another"


def test_a_trash_that_cannot_be_is_a_sentence_and_changes_nothing(
    services: HostServices, picture: int, path: Path
) -> None:
    (path.parent / FOLDER).write_text("a file, no folder")
    before = files(path.parent)
    with pytest.raises(TrashError, match=r"cannot be moved to .*: .* Nothing was changed\."):
        asyncio.run(services.trash.delete(picture))
    assert listed(services) == [(picture, str(path), False)] and files(path.parent) == before


def test_nothing_moves_to_another_disk(services: HostServices, picture: int, path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == path.stat().st_dev:
        pytest.skip("there is no other disk")
    with TemporaryDirectory(dir=memory) as other:
        (path.parent / FOLDER).symlink_to(other)
        with pytest.raises(TrashError, match="Nothing was changed"):
            asyncio.run(services.trash.delete(picture))
        assert [*Path(other).iterdir()] == []
    assert listed(services) == [(picture, str(path), False)] and path.read_bytes() == b"pixels"


@pytest.mark.parametrize(
    ("at_path", "in_trash", "is_deleted"),
    [
        (b"pixels", None, False),  # it ended before the move
        (None, b"pixels", True),  # after it
        (b"pixels", b"pixels", True),  # between the two names of one file
        (b"pixels", b"", False),  # where there are no hard links: between taking a name and giving it
        (b"", b"pixels", True),  # the same, on the way back
        (None, None, False),  # it had no file
    ],
)
def test_a_host_that_died_while_a_file_moved_goes_by_where_it_lies(
    services: HostServices,
    picture: int,
    path: Path,
    at_path: bytes | None,
    in_trash: bytes | None,
    is_deleted: bool,
) -> None:
    trash = path.parent / FOLDER / "t.png"
    trash.parent.mkdir()
    path.unlink()
    for file, content in ((path, at_path), (trash, in_trash)):
        if content is not None:
            file.write_bytes(content)
    if at_path and in_trash:
        trash.unlink()
        os.link(path, trash)
    with services.database.transaction():
        services.database.execute("UPDATE pictures SET trash = ?, trashed = NULL WHERE id = ?", str(trash), picture)
    asyncio.run(services.trash.recover())
    assert bool(listed(services)) == (not is_deleted)
    left = [content for content in files(path.parent).values() if content != f"{TEXT}\n".encode()]
    assert left == ([b"pixels"] if at_path or in_trash else []), "one file, and no name besides"
    text = trash if is_deleted else path
    assert text.with_suffix(".txt").exists(), "the text is where the picture is"
    asyncio.run(services.trash.restore(picture))
    assert listed(services)[0][1] == str(path)


@pytest.mark.heavy
def test_a_host_that_starts_finishes_what_the_last_one_began(start_host: StartHost, tmp_path: Path) -> None:
    host = start_host(tmp_path, device="cpu")
    job = host.submit(submission(prompt="a house", steps=1, width=64, height=64))
    wait_until(lambda: host.job(job.id).state == "done")
    (picture,) = host.pictures().pictures
    host.stop()
    trash = Path(picture.path).parent / FOLDER / "t.png"
    with contextlib.closing(sqlite3.connect(run_folder_of(tmp_path).database)) as database, database:
        database.execute("UPDATE pictures SET trash = ?", (str(trash),))  # and then it died
    again = start_host(tmp_path, device="cpu")
    wait_until(lambda: again.pictures().total == 1)
    assert again.restore_picture(picture.id) == picture and Path(picture.path).is_file()


def test_over_http(drawing_host: Running) -> None:
    host = drawing_host.client
    before, job = host.pictures().total, drawing_host.submit(steps=1, width=64, height=64)
    drawing_host.events(job)
    (picture,) = host.pictures(job=job).pictures
    after = host.health().last_event
    host.delete_picture(picture.id)
    assert host.pictures().total == before and not Path(picture.path).exists()
    for gone in (host.picture, host.file, host.thumbnail, host.delete_picture):
        with pytest.raises(RefusedError, match="is deleted") as refused:
            gone(picture.id)
        assert refused.value.code == "unknown_picture"
    assert host.restore_picture(picture.id) == picture == host.restore_picture(picture.id)
    assert Path(picture.path).is_file()
    events = host.events(after=after)
    assert [next(events).event for _ in range(2)] == [
        PictureDeleted(picture=picture.id),
        PictureRestored(picture=picture.id),
    ]
    transport = httpx.HTTPTransport(uds=str(run_folder_of(drawing_host.settings.root).socket))
    with httpx.Client(transport=transport, base_url="http://sdterm/v1", timeout=60) as http:
        for method, address, status in (
            ("DELETE", "pictures/9999", 404),
            ("POST", "pictures/9999/restore", 404),
            ("DELETE", "pictures/none", 422),
            ("DELETE", f"pictures/{picture.id}?force=1", 422),
        ):
            assert http.request(method, address).status_code == status, address


def test_the_trash_is_listed_and_emptied_for_good(services: HostServices, picture: int, path: Path) -> None:
    asyncio.run(services.trash.delete(picture))
    (found,) = asyncio.run(services.trash.listed())
    assert (found.picture, found.path, found.size) == (picture, str(path), len(b"pixels"))
    others = path.parent / FOLDER / "somebody's.txt"
    others.write_text("stays")
    assert asyncio.run(services.trash.empty(before=found.deleted)) == 0, "nothing is older"
    assert asyncio.run(services.empty_trash(1)) == 0 and asyncio.run(services.empty_trash(0)) == 1
    assert files(path.parent) == {f"{FOLDER}/{others.name}": b"stays"}
    assert asyncio.run(services.trash.listed()) == [] and asyncio.run(services.trash.empty()) == 0
    with pytest.raises(UnknownPictureError, match="permanently deleted: the trash was emptied"):
        asyncio.run(services.trash.restore(picture))
    assert services.pictures.saved(1, image(path)), "it is not drawn again"


def test_what_is_older_than_the_setting_goes_when_the_host_starts(services: HostServices, picture: int) -> None:
    asyncio.run(services.trash.delete(picture))
    with services.database.transaction():
        services.database.execute("UPDATE pictures SET trashed = trashed - 29 * 86400")
    asyncio.run(services.look_after_trash())
    assert len(asyncio.run(services.trash.listed())) == 1
    with services.database.transaction():
        services.database.execute("UPDATE pictures SET trashed = trashed - 2 * 86400")
    asyncio.run(services.look_after_trash())
    assert asyncio.run(services.trash.listed()) == []


def test_a_file_that_cannot_be_deleted_is_named_and_stays_in_the_trash(
    services: HostServices, picture: int, path: Path
) -> None:
    asyncio.run(services.trash.delete(picture))
    file = path.parent / FOLDER / f"{picture}-a.png"
    file.unlink()
    file.mkdir()
    with pytest.raises(TrashError, match=r"a\.png cannot be deleted: Is a directory\. 0 of 1 images"):
        asyncio.run(services.trash.empty())
    assert len(asyncio.run(services.trash.listed())) == 1


@pytest.mark.parametrize("letter", ["a", "ä", "猫"])
def test_no_name_in_the_trash_is_too_long(services: HostServices, tmp_path: Path, letter: str) -> None:
    longest = letter * (251 // len(letter.encode()))
    path = tmp_path / f"{longest}.png"
    job = services.jobs.submit(submission(), services.saving())
    services.pictures.reserve(job, image(path), path)
    path.write_bytes(b"pixels")
    path.with_suffix(".txt").write_text(TEXT + "\n")
    services.pictures.commit(job, image(path))
    picture = page(services.pictures, "", 1, None).pictures[0].id
    asyncio.run(services.trash.delete(picture))
    assert all(len(os.fsencode(file.name)) <= 255 for file in tmp_path.rglob("*"))
    assert sorted(files(tmp_path / FOLDER).values()) == [f"{TEXT}\n".encode(), b"pixels"]
    path.write_bytes(b"another's")
    asyncio.run(services.trash.restore(picture))
    (back,) = [found for found in listed(services) if found[0] == picture]
    assert Path(back[1]).read_bytes() == b"pixels" and path.read_bytes() == b"another's"
