"""`sdterm trash`: what was deleted and can be brought back."""

import sys
import time

import click

from sdterm.cli.errors import UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import connect
from sdterm.core.text import file_size, printable
from sdterm.messages import message, plural
from sdterm.tui.language import tr

_DAY = 24 * 3600.0


@click.group()
def trash() -> None:
    """List or empty the trash. `sdterm gallery --delete N` puts a picture there, `--restore N` brings it back."""


@trash.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print pictures, one JSON object a line.")
@flag_options
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List the deleted pictures that can be brought back, the one deleted last first."""
    with connect(settings_of(context)) as host:
        pictures = host.trash()
    for picture in pictures:
        if as_json:
            print_json(picture.model_dump_json())
        else:
            days, size = (time.time() - picture.deleted) / _DAY, picture.size / 1e6
            click.echo(printable(f"{picture.picture}  {days:.0f} days  {size:.2f} MB  {picture.path}", limit=2000))
    if not as_json:
        said = plural(
            "{number} image in the trash, {size}.",
            "{number} images in the trash, {size}.",
            len(pictures),
            size=file_size(sum(picture.size for picture in pictures)),
        )
        say(said)


@trash.command()
@click.option("--older-than", "days", type=click.FloatRange(0, 36500), default=0.0, metavar="DAYS", help="Only those.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@flag_options
@click.pass_context
def empty(context: click.Context, days: float, yes: bool) -> None:
    """Delete the pictures in the trash for good."""
    with connect(settings_of(context)) as host:
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(
                    message(
                        "This needs a terminal to ask you for consent; --yes deletes the images in the trash "
                        "permanently."
                    )
                )
            click.confirm(tr("Permanently delete the images in the trash?"), abort=True)
        emptied = host.empty_trash(days)
    say(plural("{number} image is permanently deleted.", "{number} images are permanently deleted.", emptied))
