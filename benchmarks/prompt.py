"""How long a prompt takes to be read and linted: `python -m benchmarks.prompt` prints one line of JSON.

parse_ms   composition, schedule and emphasis
lint_ms    every trap, which parses again

Best of several, in CPU time of this process, so that what else happens on the machine does not count. The text is as
dense as prompts come: a weight, a schedule and an alternation every 60 characters. `worst` is the slowest 64 KB that
is nothing but one sign, and which.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable

from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.lint import lint
from sdterm.core.prompt.networks import extract
from sdterm.core.prompt.schedule import schedule

DENSE = "a (red:1.2) house by the [cat:dog:0.5] sea, [low|high] tide, "
SIGNS = ("(", "[", ")", ":", "|", "([", "[a:", "[a:b:1]", "(BREAK ", "<lora:abc>", " AND ")
SIZES = {"1_KB": 1_024, "64_KB": 65_536}


def parse(text: str) -> None:
    text, _ = extract(text)
    for part in composition(text):
        for entry in schedule(part.text, 1):
            pieces(entry.text)


def milliseconds(work: Callable[[str], object], text: str, repeats: int) -> float:
    """The best of several runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work(text)
        times.append(time.process_time() - start)
    return round(min(times) * 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    result: dict[str, object] = {"python": platform.python_version(), "machine": platform.processor() or "?"}
    for name, size in SIZES.items():
        text = (DENSE * size)[:size]
        result[name] = {"parse_ms": milliseconds(parse, text, repeats), "lint_ms": milliseconds(lint, text, repeats)}
    worst = {sign: milliseconds(lint, (sign * 65_536)[:65_536], 3) for sign in SIGNS}
    slowest = max(worst, key=lambda sign: worst[sign])
    result["worst"] = {"sign": slowest, "lint_ms": worst[slowest]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
