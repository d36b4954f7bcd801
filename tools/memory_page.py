"""Write the tables of docs/memory.md from measurements: `python -m tools.memory_page`. A test compares the two."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "memory.md"
RESULTS = ROOT / "benchmarks" / "results"

_GIB = 1024**3
_WHAT = {
    "auto": "as it is by default: float32 on a CPU",
    "bf16": 'weights and numbers in bfloat16: `precision = "bf16"`',
    "apart": "prompt and negative prompt one after the other: `batch_cond_uncond = false`",
}


def page(text: str) -> str:
    """The page with its tables made again. Each stands between `<!-- NAME -->` and `<!-- end -->`."""
    for name, table in (("cpu", cpu_table), ("gpu", gpu_table)):
        begin, end = f"<!-- {name} -->\n", "\n<!-- end -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n".join(table()) + end + rest.partition(end)[2]
    return text


def latest(name: str, has: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any] | None:
    """The last measurement of a benchmark that has something, if there is one."""
    path = RESULTS / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next(filter(has, map(json.loads, reversed(lines))), None)


def cpu_table() -> Iterator[str]:
    if not (found := latest("memory", lambda line: "auto" in line["plans"])):
        yield "Not measured yet."
        return
    facts, usual = found["machine"], found["plans"]["auto"]
    yield (
        f"SD 1.5 at {found['size']}x{found['size']} on {facts['cores']} cores of an {facts['processor']}, torch "
        f"{facts['torch']}, {facts['date']}{'; ' + facts['note'] if facts['note'] else ''}. Memory is the process's, "
        "without its libraries."
    )
    yield ""
    yield "| plan | | processor seconds a step | of auto's | decoding | peak memory | of auto's |"
    yield "|---|---|---|---|---|---|---|"
    for name, each in found["plans"].items():
        what = _WHAT.get(name) or _told(name)
        if "reason" in each:
            continue
        yield (
            f"| {name} | {what} | {each['step']:.2f} | {each['step'] / usual['step']:.2f} | {each['decode']:.1f} s | "
            f"{each['peak'] / _GIB:.2f} GB | {each['peak'] / usual['peak']:.2f} |"
        )
    if missing := [name for name, each in found["plans"].items() if "reason" in each]:
        yield ""
        yield f"Not measured, since they cannot be used there: {_told(', '.join(missing))}."
    if measured := latest("memory", lambda line: "bf16_over_sdcpp" in line["in_turns"]):
        turns, threads = measured["in_turns"], measured["machine"]["threads"]
        ratio, over = turns["bf16_over_full"], turns["bf16_over_sdcpp"]
        yield ""
        yield (
            f"Taken in turns, {ratio['n']} times, with {threads} threads, a step in bf16 took {ratio['median']:.2f} of "
            f"float32's time ({ratio['min']:.2f} to {ratio['max']:.2f}), and {over['median']:.2f} of "
            f"stable-diffusion.cpp's ({over['min']:.2f} to {over['max']:.2f})."
        )


def gpu_table() -> Iterator[str]:
    if not (found := latest("gpu")):
        yield "No GPU has been measured yet: `python -m benchmarks.gpu` does it."
        return
    facts = found["machine"]
    yield f"{facts['device']}, torch {facts['torch']}, {facts['date']}."
    yield ""
    yield "| image | plan | seconds | peak memory |"
    yield "|---|---|---|---|"
    for case, plans in found["cases"].items():
        for name, each in plans.items():
            if isinstance(each, dict) and "peak" in each and isinstance(each["seconds"], dict) and "over" not in name:
                yield f"| {case} | {name} | {each['seconds']['median']:.2f} | {each['peak'] / _GIB:.2f} GB |"


def _told(name: str) -> str:
    return ", ".join(f"`{word}`" for word in name.split(", "))


def main() -> None:
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
