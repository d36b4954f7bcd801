"""Pictures in other orders, page by page."""

import asyncio

import pytest

from sdterm.host.gallery_order import KEYS, OrderError, parse
from sdterm.host.services import HostServices
from tests.host.conftest import submission
from tests.host.test_pictures import image

INFOTEXTS = (
    "b\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Model: one",
    "A\nSteps: 5, Sampler: DPM++ 2M, CFG scale: 7, Seed: 2, Size: 64x64, Model: two",
    "no parameters",
    "c\nSteps: 20, Sampler: Heun, CFG scale: 4, Seed: 3, Size: 64x64, Model: one",
)


@pytest.fixture
def filled(services: HostServices) -> HostServices:
    job = services.jobs.submit(submission(), services.saving())
    for index, text in enumerate(INFOTEXTS):
        path = services.run_folder.folder / f"{index}.png"
        services.pictures.reserve(job, image(path, index=index, infotext=text), path)
        services.pictures.commit(job, image(path, index=index, infotext=text))
    return services


def numbers(services: HostServices, order: str, limit: int = 50, query: str = "") -> list[int]:
    """Which of the job's images, over all pages."""
    found: list[int] = []
    cursor = None
    while True:
        page = asyncio.run(services.pictures.page(query, limit, cursor, order=order))
        found += [picture.number for picture in page.pictures]
        if not (cursor := page.next):
            return found


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("-number", [3, 2, 1, 0]),
        ("number", [0, 1, 2, 3]),
        ("steps", [1, 3, 0, 2]),
        ("-steps", [3, 0, 1, 2]),
        ("sampler", [1, 0, 3, 2]),
        ("-model", [1, 3, 0, 2]),
        ("seed", [0, 1, 2, 3]),
        ("prompt", [1, 0, 3, 2]),
        ("-size", [3, 2, 1, 0]),
    ],
)
def test_pictures_come_in_the_order_asked_for_whatever_the_page(
    filled: HostServices, order: str, expected: list[int]
) -> None:
    for limit in (1, 2, 3, 50):
        assert numbers(filled, order, limit) == expected, f"{limit} a page"


@pytest.mark.parametrize("name", KEYS)
def test_no_picture_is_lost_between_pages(filled: HostServices, name: str) -> None:
    for order in (name, f"-{name}"):
        assert sorted(numbers(filled, order, 1)) == [0, 1, 2, 3]
        assert sorted(numbers(filled, order, 1, "steps>=20")) == [0, 3]


def test_an_order_that_is_none_is_told_and_the_nearest_named() -> None:
    with pytest.raises(OrderError, match="Did you mean 'seed'"):
        parse("sed")
