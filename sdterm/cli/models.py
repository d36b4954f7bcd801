"""`sdterm models`: the checkpoints that sdterm finds."""

import json
from typing import Any

import click

from sdterm.cli.offered import by_extensions
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, library_of
from sdterm.core.library.recognition import Recognition, recognition
from sdterm.core.text import printable


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@flag_options
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List checkpoints: name, hash, size on disk, native image size. The first is used unless another is named."""
    settings = settings_of(context)
    library, plugins = library_of(settings), load_plugins(None, third_party=False)
    known = {checkpoint: recognition(checkpoint, plugins) for checkpoint in library.checkpoints()}
    known |= by_extensions(settings, [checkpoint for checkpoint, what in known.items() if not what.usable])
    rows = [_row(checkpoint, library.known_hash(checkpoint.path), what) for checkpoint, what in known.items()]
    if as_json:
        print_json(json.dumps(rows, indent=1))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        size = f"{row['bytes'] / 1e9:.2f} GB" if row["bytes"] >= 1e8 else f"{row['bytes'] / 1e6:.0f} MB"
        click.echo(f"{row['name']:<{width}}  {row['hash'] or '-':<10}  {size:>8}  {row['note']}")


def _row(checkpoint: CheckpointFile, sha256: str | None, what: Recognition) -> dict[str, Any]:
    native = f"{what.family}, {what.native_size}x{what.native_size}"
    return {
        "name": printable(checkpoint.name),
        "path": str(checkpoint.path),
        "hash": sha256[:10] if sha256 else None,
        "bytes": checkpoint.path.stat().st_size if checkpoint.path.exists() else 0,
        "usable": what.usable,
        "note": printable(what.note or native + (" (the demo model)" if checkpoint.embedded else "")),
    }
