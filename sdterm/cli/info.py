"""`sdterm info`: how an image was made."""

import json
from pathlib import Path

import click

from sdterm.cli.errors import UsageError
from sdterm.core import infotext
from sdterm.core.image_file import ImageFileError, read_infotext
from sdterm.core.names import printable


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(image: Path, as_json: bool) -> None:
    """Show the infotext stored in IMAGE."""
    try:
        text = read_infotext(image)
    except ImageFileError as error:
        raise UsageError(str(error)) from error
    if text is None:
        raise UsageError(f"{image} holds no infotext; it was not made by sdterm or A1111, or was saved again since.")
    parsed = infotext.parse(text)
    if as_json:
        fields = {
            "prompt": parsed.prompt,
            "negative_prompt": parsed.negative_prompt,
            "parameters": dict(parsed.parameters),
        }
        click.echo(json.dumps(fields, ensure_ascii=False, indent=1))
        return
    for line in text.splitlines():
        click.echo(printable(line, limit=100_000))
