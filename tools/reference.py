"""Write docs/reference.md from the code: `python -m tools.reference`. A test compares the two."""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from sdterm import events
from sdterm.cli import COMMANDS, sdterm
from sdterm.cli.errors import EXIT_CODES
from sdterm.cli.flags import HEADINGS
from sdterm.core.output.naming import TOKENS
from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.settings import SETTINGS
from sdterm.fields import FIELDS, RequestField
from sdterm.request import describe

TARGET = Path(__file__).parents[1] / "docs" / "reference.md"


def reference() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Reference"
    yield "\nWritten by `python -m tools.reference`; do not edit.\n"
    yield "## Commands\n"
    context = click.Context(sdterm, info_name="sdterm")
    for name in COMMANDS:
        command = sdterm.get_command(context, name)
        assert command
        yield from _command(f"sdterm {name}", command)
    yield "## Exit codes\n"
    yield from _table(("code", "meaning"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()])
    yield "## Settings\n"
    yield "In `config.toml` by name, in the environment as `SDTERM_NAME`.\n"
    yield from _table(
        ("setting", "scope", "default", "meaning"),
        [(f"`{s.key}`", s.scope, f"`{s.default}`", s.sentence) for s in SETTINGS],
    )
    yield "## Fields of a request\n"
    yield "By these names for `--set`, `/v1` and plugins. A1111's are its API's or, in brackets, its settings'.\n"
    yield from _table(
        ("field", "range", "default", "A1111", "infotext", "option", "meaning"),
        [_field(row) for row in FIELDS.values()],
    )
    yield "## File names\n"
    yield "Tokens of `filename_pattern` and `directory_pattern`; docs/how-to/file-names.md has examples.\n"
    yield from _table(("token", "stands for"), [(f"`[{name}]`", token.meaning) for name, token in TOKENS.items()])
    yield "## Flags\n"
    yield "On the command line or in `COMMANDLINE_ARGS`.\n"
    yield from _table(("flag", "", "what it does"), [(f"`{f.name}`", HEADINGS[f.status], f.sentence) for f in FLAGS])
    yield "## Events\n"
    yield "What `--json` prints, one object a line; `event` is the name.\n"
    for event in events.Event.__subclasses__():
        name = event.model_construct().event
        yield f"### `{name}`\n\n{inspect.cleandoc(event.__doc__ or '')}\n"
        fields = [
            (f"`{key}`", _type(field.annotation)) for key, field in event.model_fields.items() if not field.exclude
        ]
        yield from _table(("field", "type"), fields)


def _field(row: RequestField) -> tuple[str, ...]:
    a1111 = [*([f"`{row.api}`"] if row.api else []), *([f"[`{row.a1111}`]"] if row.a1111 else [])]
    default = "" if row.default is ... else f"`{row.default!r}`"
    keys = ", ".join(f"`{key}`" for key in row.infotext)
    return f"`{row.name}`", describe(row.name), default, " ".join(a1111), keys, row.option, row.sentence


def _command(name: str, command: click.Command) -> Iterator[str]:
    """A command's help and options, and those of the commands inside it."""
    yield f"### `{name}`\n\n{inspect.cleandoc(command.help or '')}\n"
    rows = [
        (", ".join(parameter.opts), parameter.help or "")
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.expose_value
    ]
    yield from _table(("option", "meaning"), rows)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            inside = command.get_command(context, inner)
            assert inside
            yield from _command(f"{name} {inner}", inside)


def _type(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace(" | None", " or null")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
