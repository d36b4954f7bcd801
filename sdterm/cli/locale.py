"""`sdterm locale`: translations of the workstation."""

import json
from pathlib import Path

import click

from sdterm.cli.errors import EXIT_USAGE, UsageError, say
from sdterm.cli.offered import offered
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.catalogue import CatalogueError
from sdterm.core.files import write_atomically
from sdterm.core.languages.translations import (
    LanguageFile,
    LanguageSource,
    language_sources,
    languages,
    packs_of,
    read_files,
    read_messages,
)
from sdterm.core.text import printable
from sdterm.messages import message
from sdterm.tui.language import tr

_WRONG = ("missing", "plural forms", "names differ")
_SHOWN = 20  # texts of a kind; --json has all


@click.group()
def locale() -> None:
    """List and check translations of the workstation, and begin new ones."""


@locale.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def show(context: click.Context, as_json: bool) -> None:
    """List the languages, and the files and plugins that have them. The setting `language` chooses one."""
    places = _places(context)
    found = {name: read_files(name, places) for name in languages(places)}
    if as_json:
        print_json(json.dumps({name: [_fields(file) for file in files] for name, files in found.items()}))
        return
    for name, files in found.items():
        click.echo(f"{name}")
        for file in files:
            where = str(file.path) if file.path else f"the plugin {file.plugin}"
            said = printable(file.fault, 500) or f"{len(file.messages)} texts: {printable(where, 500)}"
            click.echo(f"  {said}")


def _fields(file: LanguageFile) -> dict[str, object]:
    path = str(file.path) if file.path else None
    return {"path": path, "plugin": file.plugin, "texts": len(file.messages), "fault": file.fault or None}


def _places(context: click.Context) -> list[LanguageSource]:
    """Where translations are. What plugins bring is left out, with the reason, where they cannot be listed."""
    settings = settings_of(context)
    try:
        return language_sources(settings, packs_of(offered(settings)))
    except CatalogueError as error:
        say(str(error))
        return language_sources(settings)


@locale.command()
@click.argument("language", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def check(context: click.Context, language: str | None, as_json: bool) -> None:
    """Tell how much of LANGUAGE (or of all) is translated. Exit code 2 if anything is missing or wrong."""
    from sdterm.tui.texts import faults, messages

    places = _places(context)
    found = {}
    for name in [language] if language else languages(places):
        found[name] = faults(read_messages(name, places), name)
    total = len(messages())
    if as_json:
        print_json(json.dumps({name: {"texts": total, **wrong} for name, wrong in found.items()}, ensure_ascii=False))
    else:
        for name, wrong in found.items():
            done = total - len(wrong["missing"])
            click.echo(
                tr(
                    "{name}: {done} of {total} texts ({share}%)",
                    name=printable(name),
                    done=done,
                    total=total,
                    share=100 * done // total,
                )
            )
            for kind in _WRONG:
                for text in wrong[kind][:_SHOWN]:
                    click.echo(f"  {kind}: {printable(text)}")
                if (more := len(wrong[kind]) - _SHOWN) > 0:
                    click.echo(f"  {kind}: {more} more")
            if wrong["unused"]:
                click.echo(f"  unused: {len(wrong['unused'])}")
    context.exit(EXIT_USAGE if any(wrong[kind] for wrong in found.values() for kind in _WRONG) else 0)


@locale.command()
@click.argument("language", required=False)
@click.option("--pseudo", is_flag=True, help="Accents and 40 % longer words instead of English, to test layouts.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it into this file instead of printing it."
)
@flag_options
@click.pass_context
def template(context: click.Context, language: str | None, pseudo: bool, out: Path | None) -> None:
    """Print a file to begin a translation with: what LANGUAGE has already, and English for the rest."""
    from sdterm.core.languages.pseudo import pseudo as made_up
    from sdterm.tui.texts import template as written

    places = _places(context)
    known = read_messages(language, places) if language and language in languages(places) else {}
    text = written(known, made_up if pseudo else str)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise UsageError(message("{path} cannot be written: {error}.", path=out, error=error.strerror)) from error
    say(
        message(
            "Written to {path}. Translate the right-hand sides, and put it into localizations/ under the "
            "language's name.",
            path=out,
        )
    )
