"""An infotext that A1111 wrote draws the picture that A1111 made."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdterm import Engine, PluginSet
from sdterm.core.comparison import compare
from sdterm.core.infotext.files import read_pixels
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import find_model, read
from sdterm.events import Image
from sdterm.request import make_request

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "demo_cases.json").read_text())
PICTURES = np.load(GOLDEN / "demo_images.npz")


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["id"], marks=[pytest.mark.heavy] * (number % 3 > 0))
        for number, case in enumerate(CASES)
    ],
)
def test_a_pasted_infotext_gives_the_same_picture(
    case: dict[str, str], engine: Engine, plugins: PluginSet, record_property: Callable[[str, object], None]
) -> None:
    reading = read(parse(case["infotext"]), plugins)
    model, missing = find_model(reading, engine.library)
    assert (reading.warning, model, missing) == (None, "sdterm-demo", "")
    (drawn,) = (e for e in engine.run(make_request(**reading.fields, model=model), plugins) if isinstance(e, Image))
    difference = compare(read_pixels(drawn.data), PICTURES[case["id"]])
    record_property("case", case["id"])
    record_property("psnr", difference.psnr)
    assert difference.psnr >= 45, difference
    assert read(parse(drawn.infotext), plugins).fields == reading.fields
