"""`sdterm models`: the model files that sdterm finds, and adding more."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdterm.cli.downloads import add, cancel, downloads
from sdterm.cli.errors import say
from sdterm.cli.hash_models import hash_models
from sdterm.cli.offered import asked_of_host, by_extensions, told_of
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.about import notes_of
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError, library_of
from sdterm.core.library.folders import folders_of
from sdterm.core.library.hashes import Known, short_hash
from sdterm.core.library.kinds import approximation
from sdterm.core.library.recognition import Recognition, recognition
from sdterm.core.library.scan import ModelFile
from sdterm.core.settings.model_kinds import KINDS_BY_ID, MODEL_KINDS
from sdterm.core.settings.settings import Settings
from sdterm.core.text import file_size, printable
from sdterm.messages import Message, message

if TYPE_CHECKING:
    from sdterm.client import Client


@click.group(invoke_without_command=True)
@click.option(
    "--kind",
    type=click.Choice([*KINDS_BY_ID, "all"]),
    default="checkpoint",
    help="What to list [checkpoint].",
    show_choices=True,
)
@click.option("--folders", is_flag=True, help="List the kinds, where each is looked for, and how many there are.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@flag_options
@click.pass_context
def models(context: click.Context, kind: str, folders: bool, as_json: bool) -> None:
    """List model files: name, hash, size on disk, and what they are for. The first checkpoint is used unless another is
    named."""
    if context.invoked_subcommand:
        return
    settings = settings_of(context)
    kinds = [*KINDS_BY_ID] if kind == "all" else [kind]
    if settings["connect"]:
        places, rows = asked_of_host(settings, lambda host: _far(host, kinds)) or ([], [])
    else:
        for problem in folders_of(settings).problems:
            say(problem)
        library = library_of(settings)
        places = _places(library)
        rows = [] if folders else [row for each in kinds for row in _rows(library, each, settings)]
    if folders:
        _list_folders(places, as_json, is_far=bool(settings["connect"]))
        return
    if as_json:
        print_json(json.dumps(rows, indent=1))
        return
    if not rows:
        folder = next(place["folders"][0] for place in places if place["kind"] == kinds[0])
        say(
            message("There is none. {label} go to {folder}.", label=Message(KINDS_BY_ID[kinds[0]].label), folder=folder)
        )
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        size = file_size(row["bytes"])
        named = f"{KINDS_BY_ID[row['kind']].word}: " if kind == "all" else ""
        digest = f"{row['hash'] or '-':<{KINDS_BY_ID[row['kind']].digits}}"
        click.echo(f"{row['name']:<{width}}  {digest}  {size:>8}  {named}{row['note']}".rstrip())


for command in (add, downloads, cancel, hash_models):
    models.add_command(command)


def _places(library: Library) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind.id,
            "label": kind.label,
            "files": len(library.files(kind.id)),
            "folders": [str(folder) for folder in library.places(kind.id)],
        }
        for kind in MODEL_KINDS
    ]


def _list_folders(places: Sequence[Mapping[str, Any]], as_json: bool, *, is_far: bool) -> None:
    if as_json:
        print_json(json.dumps(places, indent=1))
        return
    for place in places:
        click.echo(f"{place['label']}: {place['files']}")
        for folder in place["folders"]:
            missing = "" if is_far or Path(folder).exists() else "  (not there)"
            click.echo(f"  {printable(folder, 1000)}{missing}")


def _far(host: "Client", kinds: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The folders and the rows of a host on another machine."""
    places = [
        {"kind": kind.id, "label": kind.label, "files": kind.files, "folders": [*kind.folders]}
        for kind in host.library()
    ]
    told = {model.path: model for model in host.models()} if "checkpoint" in kinds else {}
    rows = []
    for kind in kinds:
        for file in host.library_files(kind):
            model = told.get(file.path) if kind == "checkpoint" else None
            words = ", ".join(word for word in (file.base, file.activation) if word)
            row = {"kind": kind, "name": printable(file.name), "path": file.path, "hash": file.hash, "bytes": file.size}
            note = _checkpoint(told_of(model), model.embedded) if model else words
            rows.append(row | {"usable": not model or model.usable, "note": printable(note, 2000)})
    return places, rows


def _rows(library: Library, kind: str, settings: Settings) -> list[dict[str, Any]]:
    files = library.files(kind)
    what = _recognised(files, library, settings) if kind == "checkpoint" else {}
    if kind == "vae_approx":
        what = {file: _approximation(file) for file in files}
    rows = [_row(file, known, what.get(file)) for file, known in zip(files, library.known(files), strict=True)]
    return sorted(rows, key=lambda row: not row["usable"] and row["path"] != str(library.chosen))


def _recognised(files: Sequence[ModelFile], library: Library, settings: Settings) -> dict[ModelFile, Recognition]:
    """What checkpoints are; extensions are asked about those that no family of sdterm draws with."""
    plugins = load_plugins(None, third_party=False)
    checkpoints = {library.checkpoint(file): file for file in files}
    what = {checkpoint: recognition(checkpoint, plugins) for checkpoint in checkpoints}
    what |= by_extensions(settings, [checkpoint for checkpoint, found in what.items() if not found.usable])
    return {checkpoints[checkpoint]: found for checkpoint, found in what.items()}


def _approximation(file: ModelFile) -> Recognition:
    """What an approximate VAE is by its tensors; which models it is for, only its name tells."""
    try:
        found = approximation(CheckpointFile(file.path).shapes())
    except ModelFileError as error:
        return Recognition(usable=False, note=str(error))
    return Recognition(usable=bool(found), note=found or f"{file.file_name} is no approximate VAE that sdterm knows.")


def _row(file: ModelFile, known: Known, what: Recognition | None) -> dict[str, Any]:
    note = _checkpoint(what, CheckpointFile(file.path).embedded) if what else _words(file, known)
    return {
        "kind": file.kind,
        "name": printable(file.name),
        "path": file.location,
        "hash": short_hash(file.kind, known),
        "bytes": file.size,
        "usable": what is None or what.usable,
        "note": printable(note, 2000),
    }


def _checkpoint(what: Recognition, embedded: bool) -> str:
    """What it is, or why it cannot be drawn with."""
    said = [f"{what.family}", f"{what.native_size}x{what.native_size}", *([what.licence] if what.licence else [])]
    return what.note or ", ".join(said) + (" (the demo model)" if embedded else "")


def _words(file: ModelFile, known: Known) -> str:
    """What models a file is for, and the words that make it do something."""
    notes = notes_of(file)
    return ", ".join(word for word in (notes.base or known.get("header", {}).get("base"), notes.activation) if word)
