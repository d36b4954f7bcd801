"""`sdterm verify`: is a picture still what its infotext says?"""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import click

from sdterm.cli.errors import UsageError
from sdterm.cli.inputs import init_option, mask_option, only_one_from_standard_input, sources
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.comparison import compare
from sdterm.core.extensions.registry import PluginSet, load_plugins
from sdterm.core.infotext.files import image_format, read_infotext, read_pixels
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.networks import find_networks
from sdterm.core.infotext.read import find_model, read
from sdterm.core.infotext.record import Provenance, changes
from sdterm.core.infotext.source import with_sources
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import library_of
from sdterm.core.names import UnknownNameError
from sdterm.core.output.saving import saving_of
from sdterm.core.settings.devices import first_device
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.events import Failed, Image, Warning
from sdterm.messages import message, sentences
from sdterm.request import GenerationRequest, make_request

EXIT_DIFFERENT = 1


@click.command(epilog="Exit codes: 0 identical; 1 different; 2 it cannot be drawn again.")
@click.argument("image", type=click.Path(path_type=Path))
@init_option
@mask_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def verify(context: click.Context, image: Path, inits: tuple[str, ...], mask: str | None, as_json: bool) -> None:
    """Generate IMAGE again from its infotext, and tell whether it is the same, how far it is off, and what has changed
    since it was made.

    What a lossy format does is done again before the pixels are compared. The init image of one that was drawn from
    another picture is looked for, unless --init gives it.
    """
    settings = settings_of(context)
    text, pixels, found_format = read_infotext(image) or "", read_pixels(image), image_format(image)
    if not parse(text).parameters:
        raise UsageError(message("{image} cannot be generated again: it has no infotext.", image=image))
    plugins = load_plugins(settings.root / "extensions", third_party=settings["extensions"])
    reading = read(parse(text), plugins)
    library = library_of(settings)
    model, missing = find_model(reading, library)
    prompt, lost = find_networks(reading, library)
    if missing := missing or lost:
        raise UsageError(sentences(message("{image} cannot be generated again.", image=image), missing))
    fields = settings.job_fields() | {**reading.fields, "model": model, "prompt": prompt}
    fields |= _how(reading.record, found_format, plugins) | _together(reading.record, fields)
    only_one_from_standard_input(init=inits, mask=mask)
    given = sources(inits, mask, Inputs(settings.root).put)
    fields = with_sources(text, fields, settings.root, saving_of(settings).folder, given) | given
    request = make_request(**fields)
    prepare_folders(settings.root)
    drawn, notes = _draw(request, reading.record.place[0], plugins, settings)
    if not drawn:
        raise UsageError(sentences(message("{image} cannot be generated again.", image=image), notes[-1]))

    result: dict[str, Any]
    again = read_pixels(drawn.data)
    if again.shape == pixels.shape:
        difference = compare(pixels, again)
        verdict, identical, result = str(difference), difference.identical, dataclasses.asdict(difference)
        result["psnr"] = None if math.isinf(difference.psnr) else round(difference.psnr, 2)
    else:
        was, now = (f"{width}x{height}" for height, width, _ in (pixels.shape, again.shape))
        verdict, identical, result = f"different: it is {was}, drawn again it is {now}", False, {"sizes": [was, now]}
    if reading.warning:
        notes.append(reading.warning)
    notes += changes(reading.record, read(parse(drawn.infotext), plugins).record)
    if as_json:
        print_json(json.dumps({"identical": identical, **result, "notes": notes}, ensure_ascii=False, indent=1))
    else:
        for line in (verdict, *notes):
            click.echo(printable(line, limit=2000))
    context.exit(0 if identical else EXIT_DIFFERENT)


def _how(record: Provenance, found_format: str, plugins: PluginSet) -> dict[str, Any]:
    """The fields that say how, as they were when the image was made, where it tells. An image without a record was
    saved in its format's usual way."""
    known = {"format": record.format, "format_options": dict(record.format_options)} if record.format else {}
    try:
        plugins.saver(record.format or found_format)
    except UnknownNameError:
        known = {"format": "png", "format_options": {}}
    precision = {"float32": "full", "float16": "half", "bfloat16": "bf16"}.get(record.dtype, "auto")
    return {"format": found_format.lower(), "precision": precision, "memory": record.memory} | known


def _together(record: Provenance, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of the batch that the image was one of: drawn alone it would differ in a few last bits."""
    which, many = record.place
    counted = "variation_seed" if fields.get("variation_strength") else "seed"
    if many == 1 or int(fields.get(counted, 0)) < which:
        return {}
    return {"batch_size": many, counted: int(fields[counted]) - which}


def _draw(
    request: GenerationRequest, index: int, plugins: PluginSet, settings: Settings
) -> tuple[Image | None, list[str]]:
    """Image `index` of the request's, and what there was to say; without an image the last thing said is why."""
    from sdterm import Engine

    drawn, notes = None, []
    for event in Engine(library=library_of(settings), device=first_device(settings["device"], os.environ)).run(
        request, plugins
    ):
        match event:
            case Image() if event.index == min(index, request.batch_size - 1):
                drawn = event
            case Warning(message=message):
                notes.append(message)
            case Failed(message=message, advice=advice):
                notes.append(f"{message} {advice}".rstrip())
    return drawn, notes
