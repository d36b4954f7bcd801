"""`sdterm interrogate`: what is on a picture, in words."""

from pathlib import Path

import click

from sdterm.api import Submission
from sdterm.cli.errors import EXIT_FAILED, UsageError, say
from sdterm.cli.generate import say_starting
from sdterm.cli.inputs import digest_of, number_of, picture_file
from sdterm.cli.options import flag_options, settings_of
from sdterm.client import connect
from sdterm.core.infotext.files import ImageFileError, read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.core.text import printable
from sdterm.events import Cancelled, Described, Done, Failed
from sdterm.messages import message, sentences
from sdterm.request import make_request


@click.command(epilog="Example: sdterm interrogate photo.jpg")
@click.argument("picture", metavar="FILE|#ID")
@click.option("--interrogator", default="", metavar="NAME", help="Have this interrogator look at the picture.")
@click.option("--look", is_flag=True, help="Look at the picture, even if its infotext has a prompt.")
@flag_options
@click.pass_context
def interrogate(context: click.Context, picture: str, interrogator: str, look: bool) -> int:
    """Describe a picture in words: a file, or a picture of the gallery by its number (#12).

    The prompt of its infotext, if it has one; else what a model in models/BLIP or models/interrogators makes of it.
    """
    settings = settings_of(context)
    number = number_of(picture)
    look = look or bool(interrogator)
    if not number and not look and (prompt := _prompt(Path(picture))):
        _say(prompt)
        return 0
    prepare_folders(settings.root)
    if not number:
        picture_file(picture)  # before a host is started
    with connect(settings, check=True, starting=say_starting) as host:
        if number and not look and (prompt := parse(host.picture(number).infotext).prompt):
            _say(prompt)
            return 0
        digest = digest_of(picture, host.put_input, host)
        request = make_request(prompt="", interrogate_images=(digest,), interrogator=interrogator)
        job = host.submit(Submission(request=request))
        for entry in host.events(job=job.id, after=0):
            match entry.event:
                case Described(text=text):
                    _say(text)
                case Failed(message=text, advice=advice):
                    say(message("Failed: {why}", why=sentences(text, advice)))
                    return EXIT_FAILED
                case Done() | Cancelled():
                    return 0
    return EXIT_FAILED


def _say(text: str) -> None:
    for line in text.splitlines():
        click.echo(printable(line, 100_000))


def _prompt(path: Path) -> str:
    """Of a file's infotext; empty if it has none."""
    try:
        said = parse(read_infotext(path) or "")
    except ImageFileError as error:
        raise UsageError(str(error)) from error
    return said.prompt if said.parameters else ""
