"""Pictures of one job on one line."""

import pytest

from sdterm.api import Picture
from sdterm.tui.batches import lines


def picture(number: int, job: int | None) -> Picture:
    return Picture(id=number, job=job, number=0, path="a.png", width=8, height=8, infotext="", saved=0.0)


PICTURES = [picture(7, 3), picture(6, 2), picture(5, 2), picture(4, 2), picture(3, None), picture(2, None)]


def test_neighbours_of_a_job_fold_and_those_of_none_do_not() -> None:
    folded = lines(PICTURES, lambda job: True)
    assert [[p.id for p in line.pictures] for line in folded] == [[7], [6, 5, 4], [3], [2]]
    assert [line.is_folded for line in folded] == [False, True, False, False]


@pytest.mark.heavy
def test_an_open_batch_shows_where_it_begins() -> None:
    opened = lines(PICTURES, lambda job: False)
    assert [line.picture.id for line in opened if line.opens] == [6] and len(opened) == 6
