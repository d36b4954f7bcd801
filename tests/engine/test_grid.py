"""The grid of a job: laid out as A1111 does, made of the images' own pixels, never in the way of the images."""

from pathlib import Path

import numpy as np
import pytest

from sdterm import Engine, PluginSet, load_plugins
from sdterm.engine.grid import image_grid, layout
from sdterm.events import Done, Event, Grid, Image, Warning
from tests.engine.conftest import images, request
from tests.engine.test_tape import pixels


@pytest.mark.parametrize(
    ("count", "rows", "columns"),
    [
        (2, 1, 2),
        (3, 2, 2),
        (4, 2, 2),
        (5, 2, 3),
        (6, 2, 3),
        (7, 3, 3),
        (8, 3, 3),
        (12, 3, 4),
        (13, 4, 4),
        (100, 10, 10),
    ],
)
def test_the_layout_is_a1111s(count: int, rows: int, columns: int) -> None:
    """round(sqrt(n)) rows, Python's rounding; as many columns as it takes."""
    assert layout(count) == (rows, columns)


def test_smaller_images_stand_in_the_middle_of_cells_as_large_as_the_largest() -> None:
    one, two, three = (np.full((*size, 3), value, np.uint8) for size, value in (((4, 2), 1), ((2, 6), 2), ((4, 6), 3)))
    assert image_grid([one, two, three])[..., 0].tolist() == [
        [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 2, 2, 2, 2, 2, 2],
        [0, 0, 1, 1, 0, 0, 2, 2, 2, 2, 2, 2],
        [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        *[[3] * 6 + [0] * 6] * 4,
    ]


def grids(events: list[Event]) -> list[Grid]:
    return [event for event in events if isinstance(event, Grid)]


def test_a_grid_shows_every_image_of_the_job_and_carries_the_first_ones_infotext(
    engine: Engine, plugins: PluginSet
) -> None:
    events = list(engine.run(request(steps=2, batch_size=2, batch_count=2, width=72, grid=True), plugins))
    one, two, three, four = images(events)
    assert isinstance(events[-1], Done) and events[-2] == grids(events)[0], "after the images"
    (grid,) = grids(events)
    rows = [np.hstack([pixels(left.data), pixels(right.data)]) for left, right in ((one, two), (three, four))]
    assert np.array_equal(pixels(grid.data), np.vstack(rows))
    assert (grid.width, grid.height, grid.suffix, grid.infotext) == (144, 128, ".png", one.infotext)


def test_there_is_no_grid_of_one_image_or_where_nobody_asked(engine: Engine, plugins: PluginSet) -> None:
    assert not grids(list(engine.run(request(steps=1, grid=True), plugins)))
    assert not grids(list(engine.run(request(steps=1, batch_size=2), plugins)))


def test_a_resumed_job_whose_images_were_delivered_has_no_grid_and_says_so(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    asked = request(steps=2, batch_count=3, grid=True)
    events = engine.run(asked, plugins, tape=tmp_path / "tape")
    while not isinstance(next(events), Image):
        pass
    next(events)  # whoever reads on has the image
    events.close()
    resumed = list(engine.run(asked, plugins, tape=tmp_path / "tape"))
    assert [image.index for image in images(resumed)] == [1, 2] and not grids(resumed)
    (warning,) = [event for event in resumed if isinstance(event, Warning)]
    assert warning.code == "grid_skipped"
    assert warning.message == "No grid was made: 1 of the 3 images were finished in an earlier run."


def test_asking_for_a_grid_does_not_start_a_tape_again(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    list(engine.run(request(steps=1, batch_size=2), plugins, tape=tmp_path / "tape"))
    again = list(engine.run(request(steps=1, batch_size=2, grid=True), plugins, tape=tmp_path / "tape"))
    assert not images(again), "all are there"


def test_a_grid_that_its_format_cannot_hold_is_a_png(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "narrow.py").write_text(
        "from sdterm.hooks import OutputSaver, PluginError, hookimpl\n"
        "def encode(image, infotext):\n    if image.shape[1] > 64:\n        raise PluginError('It is too wide.')\n"
        "    return image.tobytes()\n"
        "@hookimpl\ndef sdterm_output_savers():\n    return [OutputSaver('narrow', 'Narrow', '.n', encode)]\n"
    )
    asked = request(steps=1, batch_size=2, grid=True, format="narrow")
    *_, warning, grid, done = engine.run(asked, load_plugins(tmp_path))
    assert isinstance(warning, Warning) and warning.message == "It is too wide. The image is saved as PNG."
    assert isinstance(grid, Grid) and (grid.suffix, grid.width) == (".png", 128)
    assert isinstance(done, Done)


def test_a_grid_that_would_fill_the_memory_is_left_out_before_anything_is_drawn(
    engine: Engine, plugins: PluginSet
) -> None:
    run = engine.run(request(width=2048, height=2048, batch_count=64, grid=True), plugins)
    warning = next(event for event in run if isinstance(event, Warning))
    run.close()
    assert warning.message == "No grid was made: it would have 268 megapixels; the limit is 200."
