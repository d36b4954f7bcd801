"""`sdterm prompt`: how a prompt is read."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import click
from rich.cells import cell_len

from sdterm.cli.generate import standard_input
from sdterm.cli.offered import offered
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError, library_of
from sdterm.core.library.recognition import find_checkpoint, recognise_any
from sdterm.core.prompt.analysis import PromptAnalysis, Row, Variant, read_prompt
from sdterm.core.prompt.emphasis import BREAK
from sdterm.core.prompt.lint import Lint
from sdterm.core.prompt.networks import blank, tags
from sdterm.core.prompt.plain import plain_words
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.text import printable
from sdterm.hooks import ModelFamily, Pipeline, PluginError, TokenCount
from sdterm.request import make_request

_MANY = 60  # rows of a kind; what is more is counted
_DEEP = 12  # levels of a tree that are indented
_WIDE = 72  # characters of a text on one line


@click.command(epilog="Example: sdterm prompt 'a [cat:dog:0.5], (red:1.2) house 16:9' --steps 10")
@click.argument("text")
@click.option("--negative", metavar="TEXT", help="Show this negative prompt too.")
@click.option("--steps", metavar="N", help="Sampling steps [20].")
@click.option("--sampler", metavar="NAME", help="One with two calls a step counts calls [DPM++ 2M].")
@click.option("--model", metavar="NAME", help="Whose tokens are counted; see `sdterm models`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def prompt(context: click.Context, /, text: str, as_json: bool, model: str | None, **given: Any) -> None:
    """Show how TEXT ("-" reads it from standard input) is read: its tree, the text of every step, weights, tokens, and
    what does not do what it looks like. Nothing is generated.
    """
    settings = settings_of(context)
    negative = given.pop("negative")
    run = {name: value for name, value in given.items() if value is not None}
    # Any text can be read, so that a request refuses at most the numbers and names beside it.
    request = make_request(**settings.job_fields() | run | {"prompt": "a"})
    sampler = offered(settings).names().sampler(request.sampler)
    library = library_of(settings)
    family, checkpoint = _drawn_by(library, model) or (None, None)
    if isinstance(family, Pipeline) and checkpoint:
        _show_plain(partial(_plain, family, checkpoint, library), text, negative, as_json)
        return
    read = partial(
        read_prompt,
        calls=request.steps * sampler.calls_per_step,
        networks={kind.tag: library.called(kind.id) for kind in MODEL_KINDS if kind.tag},
        embeddings=library.names("embedding"),
        family=family if isinstance(family, ModelFamily) and family.tokenize else None,
    )
    readings = {"prompt": read(_characters(standard_input() if text == "-" else text))}
    if negative is not None:
        readings["negative_prompt"] = read(_characters(negative), negative=True)
    if as_json:
        print_json(json.dumps({name: asdict(reading) for name, reading in readings.items()}, indent=1))
        return
    unit = "step" if sampler.calls_per_step == 1 else "call"
    for name, reading in readings.items():
        for line in _lines(name.replace("_", " "), reading, unit):
            click.echo(printable(line, limit=1000))


def _characters(text: str) -> str:
    """The text with a question mark for each byte of an argument that is no character: tokenizers refuse those."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _drawn_by(library: Library, model: str | None) -> tuple[ModelFamily | Pipeline, CheckpointFile] | None:
    """What of sdterm's own draws with the model; None if nothing does."""
    try:
        plugins = load_plugins(None, third_party=False)
        checkpoint = find_checkpoint(model, library, plugins)
        family, match = recognise_any(checkpoint, plugins)
    except (ModelFileError, PluginError):
        return None
    return None if match.refusal else (family, checkpoint)


@dataclass(frozen=True)
class _Plain:
    """A prompt of a model that reads it as plain words."""

    text: str
    tokens: tuple[TokenCount, ...]
    lint: tuple[Lint, ...]


def _plain(
    pipeline: Pipeline, checkpoint: CheckpointFile, library: Library, text: str, *, negative: bool = False
) -> _Plain:
    called = {kind.tag: library.called(kind.id) for kind in MODEL_KINDS if kind.tag}
    counts = tuple(pipeline.count(checkpoint, blank(text, tags(text)))) if pipeline.count else ()
    return _Plain(text, counts, plain_words(text, negative=negative, networks=called, counts=counts))


def _show_plain(read: Callable[..., _Plain], text: str, negative: str | None, as_json: bool) -> None:
    readings = {"prompt": read(_characters(standard_input() if text == "-" else text))}
    if negative is not None:
        readings["negative_prompt"] = read(_characters(negative), negative=True)
    if as_json:
        print_json(json.dumps({name: asdict(reading) for name, reading in readings.items()}, indent=1))
        return
    for name, reading in readings.items():
        for line in _plain_lines(name.replace("_", " "), reading):
            click.echo(printable(line, limit=1000))


def _plain_lines(title: str, reading: _Plain) -> Iterator[str]:
    yield f"{title}:"
    for each in reading.tokens:
        yield f"  {each.encoder}: {each.tokens} tokens of {each.room}"
    yield from _few(chain.from_iterable(_lint(found, reading.text) for found in reading.lint))


def _lines(title: str, reading: PromptAnalysis, unit: str) -> Iterator[str]:
    """The report, line by line."""
    yield f"{title}:"
    for tag in reading.networks[:_MANY]:
        yield f"  network {tag.kind}: {', '.join(tag.args)}"
    for number, part in enumerate(reading.parts[:_MANY], 1):
        if len(reading.parts) > 1 or part.weight != 1:
            yield f"  part {number} of {len(reading.parts)}, weight {part.weight:g}: {_short(part.text)}"
        if len(part.tree) > 1 or any(row.kind != "text" for row in part.tree):
            yield "  tree:"
            yield from _few(_row(row, part.text) for row in part.tree)
        yield "  schedule:"
        yield from _few(chain.from_iterable(_variant(variant, unit) for variant in part.schedule))
    yield from _few(chain.from_iterable(_lint(found, reading.text) for found in reading.lint))


def _few(lines: Iterable[str]) -> Iterator[str]:
    lines = iter(lines)
    yield from islice(lines, _MANY)
    if more := sum(1 for _ in lines):
        yield f"    … and {more:,} lines more; --json has all."


def _row(row: Row, text: str) -> str:
    words = {
        "text": _short(text[slice(*row.span)]),
        "scheduled": f"at {row.when}",
        "before": "from",
        "after": "to",
        "alternate": "in turn",
        "option": "-",
    }
    return f"    {'  ' * min(row.depth, _DEEP)}{words[row.kind]}"


def _variant(variant: Variant, unit: str) -> Iterator[str]:
    when = f"{unit} {variant.first}" if variant.first == variant.last else f"{unit}s {variant.first}-{variant.last}"
    counts = " + ".join(f"{chunk.count}/{len(chunk.tokens) - 2}" for chunk in variant.chunks)
    yield f"    {when}: {_short(variant.text)}" + (f"  ({counts} tokens)" if counts else "")
    if len(variant.pieces) > 1 or variant.pieces[0].weight != 1:
        for piece in variant.pieces:
            ends = piece.text == "BREAK" and piece.weight == BREAK
            yield f"      {'-' if ends else format(piece.weight, '.4g'):<6} {_short(piece.text)}"
    if variant.embeddings:
        yield f"      embeddings: {', '.join(variant.embeddings)}"


def _lint(found: Lint, text: str) -> Iterator[str]:
    """What is wrong, the line with a caret below the place, and the fix."""
    start, end = found.span
    first = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    left = max(first, start - _WIDE // 2)
    shown = printable(text[left : min(line_end, left + _WIDE)])
    marked = printable(text[start : max(start + 1, min(end, line_end, left + _WIDE))])
    before = cell_len(printable(text[left:start]))
    yield f"  {text.count(chr(10), 0, start) + 1}:{start - first + 1}: {found.message}"
    yield f"    {shown}"
    yield f"    {' ' * before}{'^' * max(1, cell_len(marked))}"
    if found.fix is not None:
        yield f"    instead: {found.fix}" if found.fix else "    leave it out"


def _short(text: str) -> str:
    """In quotes, so that spaces show, and on one line."""
    return printable(f'"{text}"' if len(text) <= _WIDE else f'"{text[:_WIDE]}…"')
