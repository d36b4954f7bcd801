"""`sdterm models`: the checkpoints that sdterm finds, and adding more."""

import json
from typing import Any

import click

from sdterm.cli.downloads import add, cancel, downloads
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.registry import PluginSet, load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError, library_of
from sdterm.core.library.recognition import recognise
from sdterm.core.text import printable
from sdterm.hooks import PluginError


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@flag_options
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List checkpoints: name, hash, size on disk, native image size. The first is used unless another is named."""
    if context.invoked_subcommand:
        return
    settings = settings_of(context)
    library, plugins = library_of(settings), load_plugins(None, third_party=False)
    rows = [_row(checkpoint, library.known_hash(checkpoint.path), plugins) for checkpoint in library.checkpoints()]
    if as_json:
        print_json(json.dumps(rows, indent=1))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        size = f"{row['bytes'] / 1e9:.2f} GB" if row["bytes"] >= 1e8 else f"{row['bytes'] / 1e6:.0f} MB"
        click.echo(f"{row['name']:<{width}}  {row['hash'] or '-':<10}  {size:>8}  {row['note']}")


for command in (add, downloads, cancel):
    models.add_command(command)


def _row(checkpoint: CheckpointFile, sha256: str | None, plugins: PluginSet) -> dict[str, Any]:
    try:
        family, match = recognise(checkpoint, plugins)
        native = f"{family.label}, {match.native_size}x{match.native_size}"
        note = match.refusal or native + (" (the demo model)" if checkpoint.embedded else "")
        usable = match.refusal is None
    except (ModelFileError, PluginError) as error:
        note, usable = str(error), False
    return {
        "name": printable(checkpoint.name),
        "path": str(checkpoint.path),
        "hash": sha256[:10] if sha256 else None,
        "bytes": checkpoint.path.stat().st_size if checkpoint.path.exists() else 0,
        "usable": usable,
        "note": printable(note),
    }
