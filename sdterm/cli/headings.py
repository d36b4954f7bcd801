"""How help is laid out: options under headings, and the flags, which every command takes, on one page alone; and in
which language."""

from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.cells import cell_len

from sdterm.core.settings.flags import Flag
from sdterm.messages import message
from sdterm.tui.language import tr

IMG2IMG = message("img2img and inpainting")
_EVERYWHERE = message("The options of `sdterm --help` and `sdterm flags` work here, too.")
_SEVERAL = message("May be repeated.")
CLICKS = (
    message("Usage:"),
    message("Options"),
    message("Commands"),
    message("Show this message and exit."),
    message("Show the version and exit."),
)
"""What click says in every help."""


class SpokenHelp(click.HelpFormatter):
    """Says what there is a translation for in the user's language; the rest stays English."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or f"{tr('Usage:')} ")

    def write_heading(self, heading: str) -> None:
        super().write_heading(tr(heading))

    def write_text(self, text: str) -> None:
        width = max(self.width - self.current_indent, 11)
        super().write_text("\n\n".join(_said(paragraph, width) for paragraph in _paragraphs(text)))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        rows = [*rows]
        first = min(max(len(name) for name, _ in rows), col_max) + col_spacing
        width = max(self.width - first - 2, 10)
        super().write_dl([(name, _said(text, width)) for name, text in rows], col_max, col_spacing)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _said(text: str, width: int) -> str:
    """In lines, where its letters are wider than one cell: click counts letters."""
    said = tr(text)
    if cell_len(said) == len(said):
        return said
    from rich.console import Console
    from rich.text import Text

    as_it_is = "\b"  # to click
    return "\n".join((as_it_is, *(line.plain.rstrip() for line in Text(said).wrap(Console(), width))))


class HeadedOption(click.Option):
    """An option that help shows under a heading of its own. sentence: its help where that is put together of it, the
    default and whether it is several times: the parts are said in the user's language."""

    def __init__(self, *names: Any, heading: str, sentence: str = "", default_shown: str = "", **shape: Any) -> None:
        if sentence:
            several = f" {_SEVERAL}" if shape.get("multiple") else ""
            shape["help"] = f"{sentence.removesuffix('.')}{default_shown}.{several}"
        super().__init__(*names, **shape)
        self.heading, self._sentence, self._default_shown = heading, sentence, default_shown

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        record, said = super().get_help_record(context), tr(self._sentence)
        if record is None or said == self._sentence:
            return record
        return record[0], f"{said}{self._default_shown} {tr(_SEVERAL) if self.multiple else ''}".rstrip()


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
