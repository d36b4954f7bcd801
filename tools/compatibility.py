"""Writes docs/compatibility.md from a run of the golden tests: `python -m tools.compatibility [REPORT.xml…]`.

Without a report the tests are run first, the heavy ones too; several are those of tests that ran apart. Every number on
the page is a property that a test recorded next to its assertion.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sdterm import load_plugins
from sdterm.core.infotext.keys import KEYS, NOT_HONOURED, option_key
from sdterm.hooks import MemoryOptimizer, Sampler, Scheduler
from sdterm.version import __version__
from tools import api_compatibility, pipeline_compatibility

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
TESTS = (
    "tests/core/prompt/test_prompt.py",
    "tests/engine/test_conditioning.py",
    "tests/engine/test_golden.py",
    "tests/engine/test_hires.py",
    "tests/engine/test_from_infotext.py",
    "tests/engine/test_networks.py::test_pictures_and_hashes_are_a1111s",
    "tests/plugins/test_sd_families.py::test_a_picture_is_a1111s",
    "tests/plugins/test_samplers.py",
    "tests/plugins/test_schedulers.py",
    "tests/plugins/upscalers/test_esrgan.py",
    "tests/host/sdapi/test_app.py::test_a_recorded_body_gets_a1111s_answer",
    "tests/host/sdapi/test_img2img.py",
    "tests/host/sdapi/test_extras.py::test_a_recorded_body_gets_a1111s_answer",
    pipeline_compatibility.TEST,
)
"""In the order of the page."""

FEATURES = {
    "plain text": r"^[^()\[\]<>\\:|]*$",
    "`(more)`": r"\((?![^()]*:)",
    "`[less]`": r"\[[^\[\]:|]+\]",
    "`(exactly:1.3)`": r"\([^()]*:\s*[-+]?[.\d]+\s*\)",
    "escapes": r"\\\\",
    "`BREAK`": r"\bBREAK\b",
    "`AND`": r"\bAND\b",
    "`[from:to:when]`": r"\[[^\[\]]*:[^\[\]]*:\s*[-+.\d]+\s*\]",
    "`[to:when]`": r"\[[^\[\]:]*:\s*[-+.\d]+\s*\]",
    "`[a\\|b]`": r"\[[^\[\]]*\|",
    "nested brackets": r"[(\[][^()\[\]]*[(\[]",
    "brackets without a partner": r"^[^()]*\)|\([^()]*$|^[^\[\]]*\]|\[[^\[\]]*$",
    "network tags": r"<\w+:",
    "more than 75 tokens": r"(?s)^.{400,}",
}


@dataclass(frozen=True)
class Case:
    """One test that ran, with what it recorded."""

    test: str
    passed: bool
    said: dict[str, str]


def read_reports(paths: Iterable[Path]) -> list[Case]:
    """What of the reports is about TESTS, in their order; of a test that ran twice, the later run."""
    cases: dict[str, Case] = {}
    for element in (found for path in paths for found in ElementTree.parse(path).getroot().iter("testcase")):
        test = f"{element.get('classname', '').replace('.', '/')}.py::{element.get('name', '')}"
        if element.find("skipped") is not None or _place(test) is None:
            continue
        said = {entry.get("name", ""): entry.get("value", "") for entry in element.iter("property")}
        passed = element.find("failure") is None and element.find("error") is None
        cases[test] = Case(test, passed, said)
    return sorted(cases.values(), key=lambda case: _place(case.test) or 0)


def _place(test: str) -> int | None:
    """Which of TESTS a test belongs to."""
    name = test.partition("[")[0]
    return next((n for n, each in enumerate(TESTS) if name == each or name.startswith(f"{each}::")), None)


def page(cases: list[Case]) -> str:
    """The whole page."""
    passed = sum(case.passed for case in cases)
    return "\n".join(
        [
            "# Compatibility with AUTOMATIC1111",
            "",
            f"What sdterm {__version__} was measured against: AUTOMATIC1111 stable-diffusion-webui 1.9.4 on a CPU in",
            "float32, on a tiny checkpoint in SD 1.5's layout, and k-diffusion. This page is written by",
            f"`python -m tools.compatibility` from a run of the golden tests: {passed} of {len(cases)} passed.",
            "",
            "## Samplers and schedules",
            "",
            "PSNR of the image against A1111's, in dB; = is the identical image. 10 steps, 64x64, CFG 7.",
            "",
            *samplers(cases),
            "",
            "Each sampler that k-diffusion has is also compared with its function there. Schedules, those that 1.10",
            "added too, are compared sigma by sigma:",
            "",
            *schedules(cases),
            "",
            "## Other runs",
            "",
            "The error is the largest difference of the final latents, relative to their largest value, where A1111's",
            "are known. Of a run of several pictures the worst counts.",
            "",
            *runs(cases),
            "### What is not the same, and why",
            "",
            *table(["in A1111", "in sdterm", "why"], OTHERWISE),
            "",
            "## Prompt language",
            "",
            "Prompts that have a feature, the tests of A1111's parsers and text vectors with them that passed, and the",
            "largest relative error of the vectors.",
            "",
            *prompts(cases),
            "",
            "## Infotext",
            "",
            *keys(),
            "",
            *pipeline_compatibility.section((case.passed, case.said) for case in cases),
            *api_compatibility.section(),
        ]
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def decibels(case: Case) -> str:
    if not case.passed:
        return "failed"
    return "=" if case.said["psnr"] == "inf" else f"{float(case.said['psnr']):.0f}"


def samplers(cases: list[Case]) -> Iterator[str]:
    found = {case.said["case"]: decibels(case) for case in cases if "|" in case.said.get("case", "")}
    plugins = load_plugins()
    schedules = ["Automatic", *(s.label for s in plugins.all(Scheduler) if any(f"|{s.label}" in run for run in found))]
    traced = any("dpm_adaptive_takes_a1111s_path" in case.test and case.passed for case in cases)
    cfgpp = any("ddim_cfgpp" in case.test and case.passed for case in cases)
    notes = {
        "DPM adaptive": "follows A1111's own path, call by call" if traced else "failed",
        "DDIM CFG++": "A1111 1.10; compared with the paper's formula" if cfgpp else "failed",
    }

    def row(sampler: Sampler) -> list[str]:
        if sampler.label in notes:
            return [sampler.label, notes[sampler.label], *[""] * (len(schedules) - 1)]
        missing = "no choice" if sampler.grid == "own" else ""
        return [sampler.label, *(found.get(f"{sampler.label}|{schedule}", missing) for schedule in schedules)]

    yield from table(["sampler", *schedules], map(row, plugins.all(Sampler)))


def schedules(cases: list[Case]) -> Iterator[str]:
    counts: defaultdict[str, list[str]] = defaultdict(list)
    for case in cases:
        if match := re.search(r"test_sigmas_are_those_of_a1111_1_10\[(.+)/(\d+)\]", case.test):
            counts[match[1]].append(match[2] if case.passed else f"{match[2]} failed")
    rows = ([name, ", ".join(sorted(steps, key=lambda n: int(n.split()[0])))] for name, steps in counts.items())
    yield from table(["schedule", "equal at steps"], rows)


GROUPS = {
    "": "Sizes, step counts, seeds, batches, variations, prompts",
    "passes ": "Hires fix and refiners",
    "img2img ": "img2img and inpainting, by the HTTP API",
    "upscale ": "Upscalers",
    "extras ": "Extras, by the HTTP API",
    "networks ": "LoRA and its kin, embeddings, hypernetworks",
    "narrow-": "SDXL, its refiner and SD 2, made narrow",
    "txt2img ": "Options and odd requests, by the HTTP API",
}
"""What the names of runs begin with, and the heading above them."""


OTHERWISE = (
    (
        "`no_dpmpp_sde_batch_determinism`",
        "as without it",
        "its noise comes from a generator without a seed: A1111 does not get its own picture again, either",
    ),
    (
        "img2img with a sampler of k-diffusion, after a request with `Zero Terminal SNR`",
        "the model's own noise levels",
        "A1111 reads the levels that the request before left",
    ),
    (
        "an inpainting model, hires fix with a latent upscaler, the mask's weight 1: an error",
        "the picture",
        "A1111 leaves the mask at the first pass's size",
    ),
    ("a clip skip beyond the text encoder's layers: an error", "the picture", "the state before all layers is taken"),
    ("extras at scale 1 with an upscaler's network", "it runs once, as in A1111 1.10", "1.9 runs it three times"),
)
"""Runs of A1111 that are known and cannot or should not be had again."""


def runs(cases: list[Case]) -> Iterator[str]:
    found: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if "|" not in case.said.get("case", "|"):
            found[max((g for g in GROUPS if case.said["case"].startswith(g)), key=len)].append(case)
    for group, title in GROUPS.items():
        rows = [[_name(case, group), decibels(case), _latents(case)] for case in found[group]]
        width = 3 if any(latents for *_, latents in rows) else 2
        if rows:
            yield from (f"### {title}", "")
            yield from table(["run", "PSNR", "latents"][:width], (row[:width] for row in rows))
            yield ""


def _name(case: Case, group: str) -> str:
    name = case.said["case"].removeprefix(group if group.endswith(" ") else "")
    return re.sub(r"^extras/", "", re.sub(r"^dev", "demo model ", name))


def _latents(case: Case) -> str:
    return f"{float(case.said['latent_error']):.0e}" if "latent_error" in case.said else ""


def prompts(cases: list[Case]) -> Iterator[str]:
    by_prompt: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if "prompt" in case.said:
            by_prompt[case.said["prompt"]].append(case)

    def row(feature: str, pattern: str) -> list[str]:
        having = {prompt: tests for prompt, tests in by_prompt.items() if re.search(pattern, prompt)}
        tests = [case for cases_of in having.values() for case in cases_of]
        errors = [float(case.said["vector_error"]) for case in tests if "vector_error" in case.said]
        passed = f"{sum(case.passed for case in tests)} of {len(tests)}"
        return [feature, str(len(having)), passed, f"{max(errors):.0e}" if errors else ""]

    yield from table(["feature", "prompts", "tests passed", "vectors"], (row(*item) for item in FEATURES.items()))


def keys() -> Iterator[str]:
    """Every key of A1111: written when it matters, read, and whether a pasted infotext restores it."""
    yes, no = "yes", "no"
    plugins = load_plugins()
    owners: list[Sampler | Scheduler] = [*plugins.all(Sampler), *plugins.all(Scheduler)]
    options = {option_key(option): owner.label for owner in owners for option in owner.options}
    rows = [[name, yes, yes, yes] for name in KEYS]
    rows += [[name, yes, yes, "yes, by hash or name"] for name in ("Model hash", "Model")]
    rows += [[f"{name} (options of samplers and schedules)", yes, yes, yes] for name in options]
    rows += [["Version", yes, yes, "old behaviour of versions before 1.8"]]
    rows += [["Lora hashes", yes, yes, "a LoRA of another name is found by it"], ["TI hashes", yes, yes, "by name"]]
    optimizers = {option.infotext for optimizer in plugins.all(MemoryOptimizer) for option in optimizer.options}
    rows += [[name, yes, yes, yes] for name in NOT_HONOURED if name in optimizers]
    rows += [[name, no, yes, "no; named as not reproduced"] for name in NOT_HONOURED if name not in optimizers]
    rows += [["ControlNet …, ADetailer …", no, yes, "no; named as not reproduced"]]
    rows += [["unknown keys", "written back", yes, "kept as they are"]]
    yield from table(["key", "written", "read", "restored"], rows)


def main() -> None:
    if len(sys.argv) > 1:
        PAGE.write_text(page(read_reports(map(Path, sys.argv[1:]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--all", f"--junitxml={report}", *TESTS], cwd=ROOT, check=False
        )
        PAGE.write_text(page(read_reports([report])))


if __name__ == "__main__":
    main()
