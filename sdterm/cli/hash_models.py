"""`sdterm models hash`: the host reads model files for their hashes, this shows how far it is."""

import json
import sys
import time
from collections.abc import Sequence

import click

from sdterm.api import Hashing
from sdterm.cli.errors import EXIT_CANCELLED, EXIT_FAILED, UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import Client, connect
from sdterm.core.library.checkpoints import Library, library_of
from sdterm.core.library.hashes import short_hash
from sdterm.core.library.scan import ModelFile
from sdterm.core.settings.model_kinds import KINDS_BY_ID
from sdterm.core.text import bar, file_size, printable
from sdterm.messages import message
from sdterm.tui.language import tr

_EVERY = 0.2  # seconds


@click.command("hash")
@click.argument("name", required=False)
@click.option("--kind", type=click.Choice(list(KINDS_BY_ID)), default="checkpoint", help="Of which kind [checkpoint].")
@click.option("--all", "everything", is_flag=True, help="Of all kinds.")
@click.option("--stop", is_flag=True, help="Stop computing them; known ones stay.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@flag_options
@click.pass_context
def hash_models(
    context: click.Context, name: str | None, kind: str, everything: bool, stop: bool, as_json: bool
) -> int:
    """Compute the hashes that are not known yet: of the model file NAME, or of all files of a kind.

    The host reads them one after the other, beside the queue, so closing this stops nothing. Prints the files whose
    hashes are new.
    """
    settings = settings_of(context)
    if name and everything:
        raise UsageError(message("NAME is one file: remove --all, or NAME."))
    with connect(settings) as host:
        if stop:
            host.hashing("stop")
            return 0
        library = library_of(settings)
        kinds = list(KINDS_BY_ID) if everything else [kind]
        wanted = [library.file(kind, name)] if name else [file for each in kinds for file in _unknown(library, each)]
        for each in kinds:
            host.hash_model(name, each)
        if not _follow(host):
            return EXIT_CANCELLED
    rows = [row for file in wanted if (row := _row(library, file))["hash"]]
    if as_json:
        print_json(json.dumps(rows, indent=1))
    else:
        for row in rows:
            click.echo(f"{row['hash']:<12}  {row['name']}")
    if missing := [file for file in wanted if not _row(library, file)["hash"]]:
        say(
            message(
                "Without a hash: {files}. They cannot be read.",
                files=", ".join(printable(file.file_name, 80) for file in missing[:10]),
            )
        )
        return EXIT_FAILED
    if not wanted:
        say(message("All hashes are known."))
    return 0


def _unknown(library: Library, kind: str) -> Sequence[ModelFile]:
    files = [file for file in library.files(kind) if not file.is_folder]
    return [file for file, known in zip(files, library.known(files), strict=True) if not short_hash(kind, known)]


def _row(library: Library, file: ModelFile) -> dict[str, str | None]:
    (known,) = library.known([file])
    name, digest = printable(file.name), short_hash(file.kind, known)
    return {"kind": file.kind, "name": name, "path": file.location, "hash": digest, "sha256": known.get("sha256")}


def _follow(host: Client) -> bool:
    """Show how far it is until all are read; False if the user would not wait."""
    shows = sys.stderr.isatty()
    try:
        while (state := host.hashing()).files:
            if shows:
                click.echo(f"\r\x1b[K{_progress(state)}", nl=False, err=True)
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        if shows:
            click.echo(err=True)
        say(message("It continues without this terminal: `sdterm models hash --stop` ends it."))
        return False
    if shows:
        click.echo("\r\x1b[K", nl=False, err=True)
    return True


def _progress(state: Hashing) -> str:
    share = min(state.bytes_done / state.bytes, 1.0) if state.bytes else 1.0
    said = message(
        "{done} of {files} files  {bar} {share:.0%} of {size}",
        done=state.files_done,
        files=state.files,
        bar=bar(share),
        share=share,
        size=file_size(state.bytes),
    )
    return f"{tr(said)}  {tr('paused')}" if state.paused else tr(said)
