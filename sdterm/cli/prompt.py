"""`sdterm prompt`: what a prompt is read as, and what in it may not do what it seems to."""

import dataclasses
import json
import sys
from collections.abc import Iterator

import click

from sdterm.cli.generate import library_of, standard_input
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.config import Settings
from sdterm.core.library import Library, ModelFileError
from sdterm.core.names import UnknownNameError, printable
from sdterm.core.plan import recognise, transformed
from sdterm.core.prompt.analysis import Analysis, analyse, outline
from sdterm.core.prompt.lint import Finding
from sdterm.core.prompt.schedule import parse
from sdterm.core.registry import PluginSet, load_plugins
from sdterm.hooks import ModelFamily, PluginError, PromptContext, PromptText

_NETWORKS = ("Lora", "LyCORIS", "hypernetworks")  # folders of models/
_WIDTH = 200  # characters of a line of a prompt


@click.command()
@click.argument("text")
@click.option("--negative", is_flag=True, help="TEXT is a negative prompt.")
@click.option("--steps", type=click.IntRange(1, 1000), default=20, metavar="N", help="Sampling steps [20].")
@click.option("--sampler", default="DPM++ 2M", metavar="NAME", help="Some call the network twice a step [DPM++ 2M].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def prompt(context: click.Context, text: str, negative: bool, steps: int, sampler: str, as_json: bool) -> None:
    """Show what TEXT ("-" reads it from standard input) is read as: its tree, its tokens, its text over the steps; and
    what in it may not do what it seems to, with a fix."""
    settings = settings_of(context)
    plugins = load_plugins(settings.root / "extensions", third_party=settings["extensions"])
    calls = steps * plugins.sampler(sampler).calls_per_step
    family = _family(library_of(settings), plugins)
    given = standard_input() if text == "-" else text
    analysis = analyse(
        _transformed(given, negative, plugins),
        calls,
        negative=negative,
        tokenize=family.tokenize if family else None,
        rules=family.tokens if family else None,
        networks=_network_names(settings),
    )
    if as_json:
        click.echo(json.dumps(_as_dict(analysis), ensure_ascii=False, indent=1))
        return
    for line in _lines(analysis, calls):
        click.echo(line)


def _family(library: Library, plugins: PluginSet) -> ModelFamily | None:
    """Of the model that would draw; None where there is none that is known."""
    try:
        return recognise(library.find(None), plugins)[0]
    except (ModelFileError, UnknownNameError, PluginError):
        return None


def _transformed(text: str, negative: bool, plugins: PluginSet) -> str:
    """Without comments, as the prompt transforms leave it; as it stands where one of them refuses it."""
    try:
        both = PromptText("", text) if negative else PromptText(text)
        read = transformed(both, 0, 0, plugins, PromptContext())
    except (PluginError, ValueError):
        return text
    return read.negative if negative else read.positive


def _network_names(settings: Settings) -> set[str]:
    folders = [settings.root / "models" / name for name in _NETWORKS]
    return {path.stem for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()}


def _as_dict(analysis: Analysis) -> dict[str, object]:
    return {
        "text": analysis.text,
        "networks": [dataclasses.asdict(tag) for tag in analysis.networks],
        "parts": [
            {
                "text": part.text,
                "weight": part.weight,
                "tree": [line for _, line in outline(parse(part.text).items)],
                "schedule": [dataclasses.asdict(stretch) for stretch in stretches],
            }
            for part, stretches in analysis.parts
        ],
        "lint": [dataclasses.asdict(finding) for finding in analysis.findings],
    }


def _lines(analysis: Analysis, calls: int) -> Iterator[str]:
    for tag in analysis.networks:
        yield _bold("Network ") + _shown(":".join((tag.kind, *tag.args)))
    for number, (part, stretches) in enumerate(analysis.parts, start=1):
        if len(analysis.parts) > 1 or part.weight != 1:
            yield _bold(f"Prompt {number}, weight {part.weight:g}")
        tree = list(outline(parse(part.text).items))
        if len(tree) > 1:
            yield _bold("Tree")
            yield from (_shown("  " * (indent + 1) + line) for indent, line in tree[:100])
        yield _bold(f"Text over {calls} network calls" if len(stretches) > 1 else "Text")
        for stretch in stretches:
            calls_of = f"{stretch.first}-{stretch.last}: " if len(stretches) > 1 else ""
            yield _shown(f"  {calls_of}{stretch.text}")
            weights = [f"{_short(piece.text)!r} {piece.weight:g}" for piece in stretch.pieces if piece.weight != 1]
            if weights:
                yield _shown("    weights: " + ", ".join(weights[:20]))
            if stretch.chunks:
                yield "    tokens: " + " + ".join(f"{count}/75" for count in stretch.chunks)
    for finding in analysis.findings:
        yield ""
        yield from _finding(analysis.text, finding)


def _finding(text: str, finding: Finding) -> Iterator[str]:
    """The line of the prompt with carets under the place, what is meant, and what could stand there."""
    start, end = finding.span
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    window = max(line_start, start - _WIDTH // 4)
    shown = printable(text[window:line_end].replace("\t", " "), _WIDTH)
    carets = "^" * max(1, min(end, line_end, window + len(shown)) - start)
    line = text.count("\n", 0, start) + 1
    yield _bold(f"Line {line}, character {start - line_start + 1}: ") + _shown(finding.message)
    yield f"  {shown}"
    yield "  " + " " * (start - window) + carets
    if finding.fix is not None:
        yield _shown(f"  write: {finding.fix}" if finding.fix else "  take it out")


def _shown(text: str) -> str:
    return printable(text.replace("\n", "⏎"), 2000)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _bold(text: str) -> str:
    return click.style(text, bold=True) if sys.stdout.isatty() else text
