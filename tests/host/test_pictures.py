"""The index of images: each one once, whatever happens between its name and its row."""

import asyncio
from pathlib import Path

import pytest

from sdterm.api import FieldError, PicturePage, picture_event
from sdterm.events import SIDE_KINDS, AnyPicture, Grid, Image, SideImage, kind_of
from sdterm.host import database
from sdterm.host.gallery_order import NEWEST
from sdterm.host.pictures import Pictures, UnknownPictureError
from sdterm.host.services import HostServices
from tests.host.conftest import submission


def image(path: Path, data: bytes = b"pixels", index: int = 0, infotext: str = "an owl, night\nSteps: 2") -> Image:
    return Image(
        index=index,
        seed=2**63 + index,
        width=64,
        height=64,
        infotext=infotext,
        suffix=".png",
        data=data,
        path=str(path),
    )


def page(pictures: Pictures, query: str, limit: int, cursor: str | None, order: str = NEWEST) -> PicturePage:
    return asyncio.run(pictures.page(query, limit, cursor, order=order))


@pytest.fixture
def job(services: HostServices) -> int:
    return services.jobs.submit(submission(), services.saving())


def test_a_file_that_got_its_name_before_the_host_died_is_found_again(
    services: HostServices, job: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    services.pictures.reserve(job, image(path), path)
    path.write_bytes(b"pixels")
    before = services.log.last
    asyncio.run(services.pictures.recover(job))
    (picture,) = page(services.pictures, "", 10, None).pictures
    assert (picture.path, picture.number, picture.seed, picture.missing) == (str(path), 0, 2**63, False)
    assert services.jobs.job(job).done == 1 and services.log.last == before + 1, "and everyone is told"
    asyncio.run(services.pictures.recover(job))
    assert services.jobs.job(job).done == 1


@pytest.mark.parametrize("content", [None, b"", b"somebody else's"])
def test_a_name_without_the_image_is_given_up_and_what_lies_there_stays(
    services: HostServices, job: int, tmp_path: Path, content: bytes | None
) -> None:
    path, beside = tmp_path / "a.png", tmp_path / "a.txt"
    beside.write_text("an owl, night\nSteps: 2\n")
    services.pictures.reserve(job, image(path), path)
    if content is not None:
        path.write_bytes(content)
    asyncio.run(services.pictures.recover(job))
    assert not services.pictures.saved(job, image(path)) and page(services.pictures, "", 10, None).pictures == ()
    assert (path.read_bytes() if path.exists() else None) == content
    assert beside.exists() == (content is not None), "a text beside no picture goes with it"


def test_an_image_that_is_being_written_for_another_job_is_left_alone(
    services: HostServices, job: int, tmp_path: Path
) -> None:
    other = services.jobs.submit(submission(), services.saving())
    services.pictures.reserve(other, image(tmp_path / "b.png"), tmp_path / "b.png")
    asyncio.run(services.pictures.recover(job))
    services.pictures.commit(other, image(tmp_path / "b.png"))
    assert services.pictures.saved(other, image(tmp_path / "b.png"))


def test_what_comes_with_an_image_is_of_another_kind_and_counts_as_none(
    services: HostServices, job: int, tmp_path: Path
) -> None:
    events: list[AnyPicture] = [image(tmp_path / "image")]
    facts = events[0].model_dump(exclude={"path", "event", "kind"}) | {"data": b"pixels"}
    events += [SideImage(**facts, kind=kind, path=str(tmp_path / kind)) for kind in SIDE_KINDS]
    events.append(Grid(**facts, path=str(tmp_path / "grid")))
    for event in events:
        path = tmp_path / kind_of(event)
        services.pictures.reserve(job, event, path)
        path.write_bytes(b"pixels")
    services.pictures.commit(job, events[1])
    asyncio.run(services.pictures.recover(job))  # as after a crash
    kept = page(services.pictures, "", 9, None).pictures
    assert {picture.kind: (picture.number, Path(picture.path).name) for picture in kept} == {
        kind_of(event): (0, kind_of(event)) for event in events
    }
    assert services.jobs.job(job).done == 1
    assert services.jobs.saved(job) == [(0, str(tmp_path / "image"))]
    in_order = page(services.pictures, "", 9, None, order="kind").pictures
    names = ["side_image", "grid", "image", "side_image", "side_image"]
    assert [picture_event(picture).event for picture in in_order] == names
    for query, kinds in {
        "kind:image": {"image"},
        "kind:MASK": {"mask"},
        'kind:"mask composite"': {"mask composite"},
        "kind:before-hires": {"before hires"},
        "-kind:grid -kind:image owl": {*SIDE_KINDS},
        "kind:upscaled": set(),
    }.items():
        assert {picture.kind for picture in page(services.pictures, query, 9, None).pictures} == kinds, query
    with pytest.raises(FieldError, match="kind:cat is none of image, upscaled, grid, before hires"):
        page(services.pictures, "kind:cat", 9, None)


def test_words_are_found_in_any_order_as_beginnings_and_hostile_queries_find_nothing(
    services: HostServices, job: int, tmp_path: Path
) -> None:
    for index, text in enumerate(["a red house, lake", "a blue house", "夜の湖, 猫"]):
        path = tmp_path / f"{index}.png"
        services.pictures.reserve(job, image(path, index=index, infotext=text), path)
        services.pictures.commit(job, image(path, index=index, infotext=text))

    def found(query: str) -> list[int]:
        return [picture.number for picture in page(services.pictures, query, 10, None).pictures]

    assert found("house") == [1, 0] and found("lake RED") == [0] and found("hou blu") == [1] and found("夜の湖") == [2]
    assert found('"house, lake"') == [0] and found('"lake house"') == [] and found("'red_house") == [0]
    assert found("castle") == [] and found('"') == [2, 1, 0] and found('"infotext:red" OR NEAR(a b) -house*') == []


def test_pages_go_back_in_time_and_end(services: HostServices, job: int, tmp_path: Path) -> None:
    for index in range(7):
        path = tmp_path / f"{index}.png"
        services.pictures.reserve(job, image(path, index=index), path)
        services.pictures.commit(job, image(path, index=index))
    seen, cursor = [], None
    while True:
        found = page(services.pictures, "owl", 3, cursor)
        seen += [picture.number for picture in found.pictures]
        if not (cursor := found.next):
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]
    with pytest.raises(UnknownPictureError):
        asyncio.run(services.pictures.get(99))


INFOTEXT = "a {word} house, lake\nSteps: {steps}, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 64x64, Model: demo"


def fill(services: HostServices, job: int, number: int) -> None:
    """So many more pictures, saved, as `reserve` and `commit` leave them."""
    first = len(services.database.rows("SELECT 1 FROM pictures"))
    with services.database.transaction():
        for index in range(first, first + number):
            text = INFOTEXT.format(word="red" if index % 2 else "blue", steps=index % 50)
            path = services.run_folder.folder / f"{index}.png"
            services.pictures.reserve(job, image(path, index=index, infotext=text), path)
            services.pictures.commit(job, image(path, index=index, infotext=text))


@pytest.mark.heavy
def test_ten_thousand_pictures_are_filtered_within_few_ms(services: HostServices, job: int) -> None:
    """In steps of SQLite's machine, of which it does some fifty million a second."""
    count, steps = 10_000, 0
    fill(services, job, count)

    def tick() -> None:
        nonlocal steps
        steps += 100

    def cost(query: str, cursor: str | None = None, order: str = "-number") -> int:
        nonlocal steps
        steps = 0
        services.database._connection.set_progress_handler(tick, 100)
        asyncio.run(services.pictures.page(query, 50, cursor, order=order))
        services.database._connection.set_progress_handler(None, 0)
        return steps

    assert page(services.pictures, "", 1, None).total == count
    assert page(services.pictures, "red steps>=48", 1, None).total == count // 50
    costs = {query: cost(query) for query in ("", "sampler:euler", "steps>=20", "steps>90", "-seed:7", "red", "castle")}
    assert max(costs.values()) < 10 * count, costs
    assert cost("sampler:euler", "9000") < 10_000, "a page after the first counts nothing"
    orders = {order: cost("", order=order) for order in ("seed", "-steps", "sampler", "prompt")}
    assert max(orders.values()) < 60 * count, orders


def test_a_filter_of_as_many_words_as_fit_is_answered(services: HostServices, job: int) -> None:
    fill(services, job, 3)
    assert page(services.pictures, "h " * 500, 9, None).total == 3
    assert page(services.pictures, "-steps:9 " * 111, 9, None).total == 3


def test_a_filter_finds_what_an_older_sdterm_saved(
    services: HostServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", database.MIGRATIONS[:1])
        old = database.Database(tmp_path / "old.db")
    columns = "job, number, path, digest, saved, seed, width, height, infotext"
    text = INFOTEXT.format(word="red", steps=28)
    with old.transaction():
        old.execute(
            "INSERT INTO jobs (state, position, request, saving, prompt, images, created)"
            " VALUES ('queued', 1, '', '', '', 1, 1)"
        )
        old.execute(f"INSERT INTO pictures ({columns}) VALUES (1, 0, 'a.png', '', 5, '3', 64, 64, ?)", text)
        old.execute(f"INSERT INTO pictures ({columns}) VALUES (1, -1, 'b.png', '', 6, NULL, 64, 64, 'no parameters')")
    old.close()
    migrated = database.Database(tmp_path / "old.db")
    pictures = Pictures(migrated, services.log, lambda: 0.0)
    for query, kinds in {
        "sampler:euler steps:28 cfg>6": ["image"],
        "-model:demo": ["grid"],
        "clip:1 saved": [],
    }.items():
        assert [picture.kind for picture in page(pictures, query, 9, None).pictures] == kinds, query
    migrated.close()
