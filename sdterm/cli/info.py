"""`sdterm info`: how an image was made."""

import dataclasses
import json
from pathlib import Path

import click

from sdterm.cli.errors import UsageError
from sdterm.cli.generate import say_starting
from sdterm.cli.inputs import number_of
from sdterm.cli.offered import offered
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import connect
from sdterm.core.infotext.files import read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import find_model, read
from sdterm.core.library.checkpoints import library_of
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.messages import message


@click.command()
@click.argument("image", metavar="FILE|#ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def info(context: click.Context, image: str, as_json: bool) -> None:
    """Show the infotext of an image file, of a text file or of a gallery picture (#12), and what of it sdterm would not
    reproduce."""
    settings = settings_of(context)
    text = _infotext(image, settings)
    if text is None:
        raise UsageError(
            message(
                "{image} holds no infotext; it was not made by sdterm or A1111, or was saved again since.", image=image
            )
        )
    parsed = parse(text)
    reading = read(parsed, offered(settings).names())
    model, missing = find_model(reading, library_of(settings), read_at_most=0)
    if as_json:
        fields = {
            "prompt": parsed.prompt,
            "negative_prompt": parsed.negative_prompt,
            "parameters": dict(parsed.parameters),
            "request": {**reading.fields, "model": model},
            "not_reproduced": reading.not_reproduced,
            "record": dataclasses.asdict(reading.record),
        }
        print_json(json.dumps(fields, ensure_ascii=False, indent=1))
        return
    for line in (*text.splitlines(), *filter(None, (reading.warning, missing))):
        click.echo(printable(line, limit=100_000))


def _infotext(image: str, settings: Settings) -> str | None:
    if not (number := number_of(image)):
        return read_infotext(Path(image))
    prepare(settings.root)
    with connect(settings, starting=say_starting) as host:
        return host.picture(number).infotext or None
