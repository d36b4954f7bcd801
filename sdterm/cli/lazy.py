"""A group whose commands live in modules of their own, imported when they are named."""

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that imports a command's module when that command is run, not to list it."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        """table: command → (module that has a function of the command's name, help)."""
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._table:
            return None
        command: click.Command = getattr(importlib.import_module(self._table[name][0]), name.replace("-", "_"))
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in self._table.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from sdterm.core.names import find

        if args and args[0] not in self._table and not args[0].startswith("-"):
            more = f" `{context.command_path} --help` lists them."
            find("command", args[0], {name: name for name in self._table}, more=more)
        return super().resolve_command(context, args)
