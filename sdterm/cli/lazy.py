"""A group whose commands live in modules of their own, imported when they are named."""

import importlib
from collections.abc import Collection, Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that imports a command's module when that command is run, not to list it."""

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, tuple[str, str]],
        headings: Mapping[str, Collection[str]] | None = None,
        last: Mapping[str, Mapping[str, str]] | None = None,
        **kwargs: Any,
    ) -> None:
        """table: command → (module that has a function of the command's name, help). headings: the commands below each,
        if there are so many that help shows them so. last: more lists, by their headings, that help ends with."""
        super().__init__(*args, **kwargs)
        self._table, self._headings, self._last = table, headings or {"Commands": table}, last or {}

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._table:
            return None
        command: click.Command = getattr(importlib.import_module(self._table[name][0]), name.replace("-", "_"))
        return command

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, self._table))
        for heading, names in self._headings.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), self._table[name][1]) for name in names])
        click.Command.format_options(self, context, formatter)
        for heading, rows in self._last.items():
            with formatter.section(heading):
                formatter.write_dl([*rows.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from sdterm.core.names import find
        from sdterm.messages import message

        if args and args[0] not in self._table and not args[0].startswith("-"):
            more = message("`{command} --help` lists them.", command=context.command_path)
            find("command", args[0], {name: name for name in self._table}, more=more)
        return super().resolve_command(context, args)
