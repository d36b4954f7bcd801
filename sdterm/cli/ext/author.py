"""`sdterm ext new`, `check`, `test`, `trace`: for who writes extensions."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sdterm.cli.errors import EXIT_FAILED, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.extensions import ExtensionError
from sdterm.core.extensions.author.template import TEMPLATES, begin
from sdterm.core.extensions.check import check as check_extension
from sdterm.core.extensions.check import errors
from sdterm.core.extensions.kinds import Descriptor, kind_of
from sdterm.core.text import printable
from sdterm.messages import message, sentences
from sdterm.tui.language import tr


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(TEMPLATES), default="sampler", show_default=True, help="What it offers.")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where to put it [extensions/].")
@flag_options
@click.pass_context
def new(context: click.Context, name: str, kind: str, folder: Path | None) -> None:
    """Write the extension NAME to start from: a folder that works and has a test."""
    place = begin(name, kind, folder or settings_of(context).root / "extensions")
    click.echo(printable(str(place), limit=4096))
    say(
        message(
            "It works as it is. Change it; `sdterm ext check {name}` and `sdterm ext test {name}` look at it.",
            name=place.name,
        )
    )


@click.command()
@click.argument("name")
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option("--import", "imported", is_flag=True, help="Also load it, in a process of its own.")
@flag_options
@click.pass_context
def check(context: click.Context, name: str, strict: bool, imported: bool) -> int:
    """Look for mistakes in the extension NAME (or at a path), without running it."""
    path = _found(context, name)
    findings = check_extension(path)
    for finding in findings:
        click.echo(printable(str(finding), limit=1000))
    wrong = findings if strict else list(errors(findings))
    if imported and not wrong and (path.is_file() or (path / "__init__.py").exists()) and (said := _loading(path)):
        click.echo(printable(said, limit=1000))
        return EXIT_FAILED
    if not findings:
        click.echo(tr("Nothing is wrong, as far as can be seen."))
    return EXIT_FAILED if wrong else 0


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
@flag_options
@click.pass_context
def test(context: click.Context, name: str, pytest_args: tuple[str, ...]) -> int:
    """Run the tests of the extension NAME (or at a path). What follows goes to pytest."""
    path = _found(context, name)
    tests = path / "tests"
    if not tests.is_dir():
        raise ExtensionError(
            message("{name} has no folder tests/. `sdterm ext new` shows what one looks like.", name=path.name)
        )
    if importlib.util.find_spec("pytest") is None:
        raise ExtensionError(message("The tests are run by pytest, which is not installed: pip install pytest"))
    command = [sys.executable, "-P", "-m", "pytest", "--import-mode=importlib", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run([*command, f"--rootdir={path}", str(tests), *pytest_args], cwd=path, check=False)
    return EXIT_FAILED if done.returncode else 0


@click.command()
@click.argument("name")
@click.option("--steps", default=4, show_default=True, help="Steps of the picture that is drawn.")
@flag_options
@click.pass_context
def trace(context: click.Context, name: str, steps: int) -> int:
    """Draw a small picture with all that the extension NAME offers, and show each call: time, what goes in, what
    comes out."""
    from sdterm import Engine, load_plugins
    from sdterm.core.extensions.author.trace import Call, traced
    from sdterm.core.library.checkpoints import Library
    from sdterm.core.settings.paths import EMBEDDED_MODEL
    from sdterm.events import Done, Failed
    from sdterm.request import GenerationRequest

    path = _found(context, name)
    plugins = load_plugins(path.parent)
    mine = next((plugin for plugin in plugins.plugins if Path(plugin.source.location) == path), None)
    if mine is None or mine.error:
        raise ExtensionError(
            message("{name} is not loaded: {why}.", name=path.name, why=mine.error)
            if mine
            else message("{name} is not loaded.", name=path.name)
        )
    rows: list[Call] = []
    asked = GenerationRequest.model_validate(
        {"prompt": "red house, lake", "seed": 1, "width": 64, "height": 64, "steps": steps} | _all_of_it(mine.gives)
    )
    library = Library(path.parent, chosen=EMBEDDED_MODEL)
    events = [*Engine(library=library).run(asked, traced(plugins, mine.source.slug, rows.append))]
    for row in rows:
        said = f"{row.label:<20} {row.function:<12} {1000 * row.seconds:8.1f} ms  {row.given} -> {row.gave}"
        click.echo(printable(said, limit=300))
    if isinstance(events[-1], Failed):
        say(sentences(events[-1].message, events[-1].advice))
    return 0 if isinstance(events[-1], Done) else EXIT_FAILED


def _all_of_it(gives: Iterable[Descriptor]) -> dict[str, Any]:
    """The fields of a request that asks for the first of each kind."""
    asked: dict[str, Any] = {}
    for descriptor in gives:
        kind = kind_of(type(descriptor))
        if kind.field:
            asked.setdefault(kind.field, [descriptor.id] if kind.several else descriptor.id)
    return asked


def _found(context: click.Context, name: str) -> Path:
    """An extension by its path, or by its name among those in `extensions/`. Raises ExtensionError."""
    folder = settings_of(context).root / "extensions"
    places = [Path(name), folder / name, folder / f"{name}.py"]
    for place in places if os.sep in name or name in (".", "..") else places[1:] + places[:1]:
        if place.is_dir() or (place.suffix == ".py" and place.is_file()):
            return place.resolve()
    raise ExtensionError(
        message(
            "There is no extension '{name}', neither as a path nor in {folder}.", name=printable(name), folder=folder
        )
    )


def _loading(path: Path) -> str:
    """Why it cannot be loaded; empty if it can. Another process tries."""
    from sdterm.core.extensions.discovery import built_ins
    from sdterm.core.extensions.probe import ProbeError, offered, question
    from sdterm.core.extensions.source import Source, digest

    sources = [*built_ins(), Source(path.stem, "extension", str(path), digest(path))]
    command = [sys.executable, "-P", "-m", "sdterm.core.extensions.probe"]
    done = subprocess.run(command, input=question(sources), stdout=subprocess.PIPE, check=False)
    try:
        tried = offered(done.stdout)
    except ProbeError as error:
        return f"{path.name}: {error}"
    return next((f"{path.name}: {entry.error}" for entry in tried.plugins if entry.error), "")
