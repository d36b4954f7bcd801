"""How good the planner is, and what a step down the ladder costs: `python -m benchmarks.planning` prints one line of
JSON. All of it is drawn on the CPU; seconds are the processor's, which other programs change little.

prediction  the most memory that pictures of new sizes took, over what was predicted before they were drawn, after
            pictures of three other sizes had been measured; on a CPU, of the whole process
ladder      steps that a job takes longer for each time it runs out of memory while sampling, and goes on lighter, than
            one that is lighter from the first step on; of the demo model, eight images at once
"""

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine import machine, summary
from benchmarks.memory import resident

LEARNED = ((256, 256), (320, 448), (512, 512))
"""Sizes that are measured first: width, height."""
NEW = tuple((width, height) for width in (192, 256, 320, 384, 448) for height in (224, 288, 416, 480))
"""Sizes that are predicted."""
STEPS, PAIRS, SIZE = 8, 7, 128


def prediction(checkpoint: Path, folder: Path, steps: int = 1) -> dict[str, Any]:
    """Measured over predicted."""
    from sdterm import Engine, load_plugins
    from sdterm.core.library.checkpoints import Library
    from sdterm.events import Done
    from sdterm.request import make_request

    engine, plugins = Engine(library=Library(folder, chosen=checkpoint), device="cpu"), load_plugins()

    def request(width: int, height: int) -> Any:
        return make_request(
            prompt="a red circle", seed=1, steps=steps, width=width, height=height, precision="bf16", sampler="Euler"
        )

    def peak(width: int, height: int) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here; see proc(5)
        *_, last = engine.run(request(width, height), plugins)
        assert isinstance(last, Done), last
        return resident(peak=True)

    for size in LEARNED:
        peak(*size)
    found: list[dict[str, Any]] = []
    for width, height in NEW:
        predicted = engine.forecast(request(width, height), plugins).found[0]
        assert predicted.measured
        found.append({"size": f"{width}x{height}", "predicted": predicted.peak, "peak": peak(width, height)})
    ratios = [one["peak"] / one["predicted"] for one in found]
    return {
        "over_predicted": summary(ratios),
        "within_15_percent": sum(abs(ratio - 1) <= 0.15 for ratio in ratios),
        "smallest_peak": min(one["peak"] for one in found),
        "each": found,
    }


def ladder(folder: Path) -> dict[str, Any]:
    """Longer by so many steps, each time."""
    from sdterm import Engine, load_plugins
    from sdterm.core.library.checkpoints import Library
    from sdterm.core.settings.paths import EMBEDDED_MODEL
    from sdterm.events import Done, Failed, Step, SteppedDown
    from sdterm.request import make_request

    plugins = load_plugins()
    asked = {"prompt": "sunset", "seed": 1, "steps": STEPS, "width": SIZE, "height": SIZE, "batch_size": 8}
    request = make_request(**asked, sampler="Euler")
    lighter = request.model_copy(update={"rungs": ("lean-attention", "apart")})  # the first two for sampling

    def drawn(engine: Engine, asked: Any) -> tuple[float, float, list[str], Any]:
        began, at, rungs = time.process_time(), [], []
        for event in engine.run(asked, plugins):
            match event:
                case Step():
                    at.append(time.process_time())
                case SteppedDown():
                    rungs.append(event.rung)
                case Failed():
                    raise SystemExit(event.message)
        assert isinstance(event, Done), event
        return time.process_time() - began, median(b - a for a, b in pairwise(at)), rungs, event

    def limited(amount: str, where: str) -> Engine:
        return Engine(library=Library(folder / where, chosen=EMBEDDED_MODEL), device="cpu", limit_memory=amount)

    def most(asked: Any) -> int:
        """Bytes of tensors that sampling takes."""
        engine = limited("1TB", "peaks")
        drawn(engine, asked)
        return max(one.peak for one in engine._meter.measurements if one.stage == "sample")

    heavy = most(request)
    (folder / "peaks" / "cache" / "memory.jsonl").unlink()
    light = most(lighter)
    amount = f"{(heavy + light) / 2 / 1e6:.0f}MB"
    longer = []
    for turn in range(PAIRS):
        fresh = limited(amount, f"turn-{turn}")  # knows nothing of earlier peaks, so that memory really runs out
        drawn(fresh, lighter.model_copy(update={"width": 64, "height": 64}))  # loads the model
        (folder / f"turn-{turn}" / "cache" / "memory.jsonl").unlink(missing_ok=True)
        usual, step, none, _ = drawn(fresh, lighter)
        assert not none, none
        (folder / f"turn-{turn}" / "cache" / "memory.jsonl").unlink(missing_ok=True)
        slower, _, rungs, _ = drawn(fresh, request)
        assert rungs == [*lighter.rungs], rungs
        longer.append((slower - usual) / step / len(lighter.rungs))
    return {"steps_longer_each": summary(longer), "rungs": lighter.rungs, "limit": amount, "steps": STEPS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("demo", "sd15"), default="sd15", help="random weights [sd15]")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    from sdterm.core.settings.paths import EMBEDDED_MODEL
    from tools import full_size

    facts = {**machine(), "date": datetime.now(UTC).date().isoformat(), "note": given.note}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint = EMBEDDED_MODEL if given.model == "demo" else full_size.write(given.model, folder)
        found = {
            "ladder": ladder(folder / "ladder"),
            "prediction": prediction(checkpoint, folder / "prediction"),
        }
    print(json.dumps({"benchmark": "planning", "model": given.model, "machine": facts, **found}))


if __name__ == "__main__":
    main()
