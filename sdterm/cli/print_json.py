"""JSON on stdout, harmless to a terminal and still the same JSON."""

import json

import click

from sdterm.core.text import is_obeyed


def print_json(text: str) -> None:
    """Print JSON. What a terminal would obey, or what would reorder a line, is written as `\\uXXXX`."""
    click.echo("".join(json.dumps(c)[1:-1] if is_obeyed(c) and c != "\n" else c for c in text))
