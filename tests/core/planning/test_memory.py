"""What a job is predicted to need, from what others needed."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdterm import load_plugins
from sdterm.core.planning.choices import Chosen, options_of
from sdterm.core.planning.ladder import How
from sdterm.core.planning.memory import (
    Drawing,
    Measured,
    Measurements,
    Place,
    all_tried,
    fitting,
    forecasts,
    largest,
    line,
)
from sdterm.hooks import MemoryOptimizer

GB = 1024**3
OFFERED = [each for each in load_plugins().all(MemoryOptimizer) if each.rung in ("vae-tiling", "lean-attention")]
SDPA = next(each for each in load_plugins().all(MemoryOptimizer) if each.id == "sdpa")
HERE = Place("card", "sd1", "float16")


def how(batch: int = 1) -> How:
    return How((Chosen(SDPA, options_of(SDPA, {})),), apart=False, batch=batch)


def drawing(side: int, images: int = 1) -> Drawing:
    return Drawing({"unet": 2 * GB, "vae": GB // 8}, 2, [(side * side, 20)], images, guided=True)


def needed(stage: str, size: int, more: float, seconds: float = 1.0) -> Measured:
    """Of weights of 2 GB."""
    return Measured(HERE.device, HERE.family, HERE.precision, "", stage, size, 2 * GB, int((2 + more) * GB), seconds)


def test_between_sizes_that_were_measured_the_need_is_a_line() -> None:
    small, large = 512 * 512, 1024 * 1024
    known = [
        *(needed("sample", 2 * size, more) for size, more in ((small, 0.5), (large, 2.0))),
        *(needed("decode", size, more) for size, more in ((small, 1.0), (large, 4.0))),
    ]
    (first, *_) = forecasts(drawing(768), how(), known, [])
    assert first.measured
    assert first.needs["sample"] / GB == pytest.approx(2 + 0.5 + 1.5 * (768**2 - small) / (large - small), rel=1e-6)
    assert first.needs["decode"] / GB == pytest.approx(2 + 1 + 3 * (768**2 - small) / (large - small), rel=1e-6)
    assert first.seconds == pytest.approx(20 + 1)


def test_one_size_is_enough_for_others_in_proportion() -> None:
    known = [needed("sample", 2 * 512 * 512, 0.5), needed("decode", 512 * 512, 1.0)]
    (first, *_) = forecasts(drawing(1024), how(), known, [])
    assert (first.needs["sample"], first.needs["decode"]) == (4 * GB, 6 * GB)


def test_the_fastest_plan_that_fits_is_taken_and_said() -> None:
    known = [needed("sample", 2 * 4 * 512 * 512, 6.0), needed("decode", 512 * 512, 1.0)]
    found = forecasts(drawing(512, images=4), how(4), known, OFFERED)
    assert [each.how.rungs for each in found][:1] == [()]
    assert not fitting([found[0]], int(5.5 * GB))
    found = forecasts(drawing(512, images=4), how(4), known, [each for each in OFFERED if each.rung == "vae-tiling"])
    chosen = fitting(found, int(5.5 * GB))
    assert chosen and chosen.how.rungs == ("apart",)
    assert line(chosen, 8 * GB) == "Fits with prompt and negative prompt separately: about 5.0 of 8.0 GB."


def test_each_step_helps_the_stage_that_needs_the_most() -> None:
    known = [needed("sample", 2 * 1024**2, 1.0), needed("decode", 1024**2, 4.0)]
    found = forecasts(drawing(1024), how(), known, OFFERED)
    assert found[1].how.rungs == ("vae-tiling",)
    assert found[1].needs["decode"] == 3 * GB, "a tile is a quarter of it"
    exact = forecasts(drawing(1024), how(), known, OFFERED, "exact")
    assert not any("vae-tiling" in each.how.rungs for each in exact)


def test_what_cannot_fit_is_told_how_large_it_may_be() -> None:
    known = [needed("sample", 2 * 1024**2, 4.0), needed("decode", 1024**2, 4.0)]
    assert largest(drawing(1024), how(), known, [], 4 * GB) == pytest.approx(0.5, abs=0.01)
    assert largest(drawing(1024), how(), known, [], GB) < 0.01


def test_nothing_is_called_impossible_before_each_step_was_tried() -> None:
    known = [needed("sample", 10, 1.0)]
    assert not all_tried(known, OFFERED)
    tried = [replace(known[0], optimizers="+".join(each.id for each in OFFERED))]
    assert all_tried(known + tried, OFFERED)


def test_measurements_are_kept_once_each_by_any_process(tmp_path: Path) -> None:
    mine, yours = Measurements(tmp_path), Measurements(tmp_path)
    mine.add(needed("sample", 10, 1.0))
    yours.add(needed("sample", 10, 3.0))
    yours.add(needed("sample", 10, 3.01))
    mine.add(needed("decode", 10, 1.0))
    (tmp_path / "cache" / "memory.jsonl").open("a").write('{"device": 1}\nhalf a li')
    assert [(one.stage, one.peak / GB) for one in mine.at(HERE)] == [("sample", 5.0), ("decode", 3.0)]
    assert mine.at(Place("another card", "sd1", "float16")) == []
