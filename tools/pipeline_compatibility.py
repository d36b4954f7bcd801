"""The section of docs/compatibility.md about diffusers' pipelines, from what the tests of each recorded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

TEST = "tests/pipelines/test_matrix.py"

HEADING = "## Pipelines of diffusers"

_WHAT = """\
Each was built small from its own configuration, with random weights and a tokenizer of its class, and saved as a
folder. *Image*: sdterm's pixels equal those of the pipeline's own call with the same generator. *Resumed*: the tape
was cut there, and the image is the same. *Culled*: of three images that were paused one was let go, and the others
are what they are alone. *Cancelled*: the next image is as if nothing had been. *Infotext*: the image generated from it
is the same. *LoRA*: pixels equal the pipeline's own with it, and those of before without it."""

_NOT_BUILT = {
    "GLM-Image": "a language model of its own writes the image's tokens first, with the process's random numbers",
    "HiDream-I1": "its fourth text encoder, a Llama of 8 billion weights, is not in its folder",
    "Kandinsky 2.2, Stable Cascade": "two pipelines in two folders; sdterm says so and does not generate with them",
    "what makes videos, sound or text": "sdterm says so and does not generate with them",
}


def section(cases: Iterable[tuple[bool, Mapping[str, str]]]) -> Iterator[str]:
    """Its lines. cases: whether each test passed, and what it recorded."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for passed, said in cases:
        if "pipeline" in said:
            found[said["pipeline"]][said["what"]] = said["said"] if passed else "failed"
    columns = list(dict.fromkeys(what for row in found.values() for what in row))
    yield from (HEADING, "", *_WHAT.splitlines(), "")
    yield f"| pipeline | {' | '.join(columns)} |"
    yield f"|{'---|' * (len(columns) + 1)}"
    yield from (f"| {name} | {' | '.join(row.get(each, '') for each in columns)} |" for name, row in found.items())
    yield from ("", "Not built small:", "", "| pipeline | because |", "|---|---|")
    yield from (f"| {name} | {why} |" for name, why in _NOT_BUILT.items())
    yield ""
