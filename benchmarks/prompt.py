"""How long a prompt takes to be read and linted: `python -m benchmarks.prompt` prints one line of JSON.

parse_ms   composition, schedule and emphasis
lint_ms    every trap, which parses again
mark_ms    the spans that the editor colours
tags_ms    completing a word from a list of 150,000 tags, the slowest of a few words

Best of several, in CPU time of this process, so that what else happens on the machine does not count. The text is as
dense as prompts come: a weight, a schedule and an alternation every 60 characters. `worst` is the slowest 64 KB that
is nothing but one sign, and which.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable

from sdterm.core.prompt.completion import Tag, Tags
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.highlight import highlight
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


def many_tags() -> tuple[Tags, tuple[str, ...]]:
    """A list as long as danbooru's, and words to complete from it."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(4000)]
    tags = Tags(Tag("_".join(chance.choices(words, k=3)), n, (chance.choice(words) + "女",)) for n in range(150_000))
    return tags, ("a", "lon", words[0], "女", "女x", "zzzzz")


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
        works: dict[str, Callable[[str], object]] = {"parse_ms": parse, "lint_ms": lint, "mark_ms": highlight}
        result[name] = {of: milliseconds(work, text, repeats) for of, work in works.items()}
    tags, words = many_tags()
    result["tags_ms"] = max(milliseconds(tags.complete, word, repeats) for word in words)
    worst = {sign: milliseconds(lint, (sign * 65_536)[:65_536], 3) for sign in SIGNS}
    slowest = max(worst, key=lambda sign: worst[sign])
    result["worst"] = {"sign": slowest, "lint_ms": worst[slowest]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
