"""How help is laid out: options under headings, and the flags, which every command takes, on one page alone."""

from collections.abc import Iterator
from typing import Any

import click

from sdterm.core.settings.flags import Flag

IMG2IMG = "img2img and inpainting"
_EVERYWHERE = "The options of `sdterm --help` and `sdterm flags` work here, too."


class HeadedOption(click.Option):
    """An option that help shows under a heading of its own."""

    def __init__(self, *names: Any, heading: str, **shape: Any) -> None:
        super().__init__(*names, **shape)
        self.heading = heading


class FlagOption(click.Option):
    """A flag. `sdterm --help` lists sdterm's own, `sdterm flags` all of them; help of a command only says so."""

    def __init__(self, *names: Any, flag: Flag, **shape: Any) -> None:
        super().__init__(*names, **shape)
        self._flag = flag

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        if context.parent is None:
            return super().get_help_record(context) if self._flag.status == "ours" else None
        return ("--data-dir DIR …", _EVERYWHERE) if self._flag.name == "--data-dir" else None


class HeadedCommand(click.Command):
    """A command with so many options that help shows them under headings."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, records in _sections(self.get_params(context), context):
            with formatter.section(heading):
                formatter.write_dl(records)


def _sections(options: list[click.Parameter], context: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The options under their headings, in the order of their first ones; those that have none come last."""
    headings = [option.heading for option in options if isinstance(option, HeadedOption)]
    for heading in (*dict.fromkeys(headings), "Options"):
        under = [o for o in options if isinstance(o, click.Option) and getattr(o, "heading", "Options") == heading]
        yield heading, [record for option in under if (record := option.get_help_record(context))]
