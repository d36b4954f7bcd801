"""`sdterm hires`: a picture of the gallery drawn on, larger and in more detail."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from sdterm.api import FirstPassOf, Submission
from sdterm.cli.errors import UsageError
from sdterm.cli.follow import follow
from sdterm.cli.generate import cancel_job, say_starting
from sdterm.cli.headings import HeadedCommand
from sdterm.cli.offered import offered
from sdterm.cli.options import fields_of, flag_options, request_options, settings_of
from sdterm.cli.output import output_for
from sdterm.cli.print_json import print_json
from sdterm.client import connect
from sdterm.core.infotext.recall import recall
from sdterm.core.library.checkpoints import library_of
from sdterm.core.numbers import whole_number
from sdterm.core.output.saving import saving_of
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.events import Warning
from sdterm.fields import FIELDS
from sdterm.messages import message
from sdterm.request import make_request

_OPTIONS = ("denoising_strength", *(row.name for row in FIELDS.values() if row.part in ("Hires", "Refiner")))


@click.command(cls=HeadedCommand, epilog="Example: sdterm hires 12 --hires-upscaler Lanczos --denoising 0.4")
@click.argument("picture", metavar="IMAGE")
@request_options(only={*_OPTIONS} - {"hires"})
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The folder to save into.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
@click.option("--no-show", is_flag=True, help="Do not show the picture.")
@click.option("--detach", is_flag=True, help="Queue it, print the job's number, and end.")
@flag_options
@click.pass_context
def hires(
    context: click.Context,
    /,
    picture: str,
    out: Path | None,
    as_json: bool,
    no_show: bool,
    detach: bool,
    **given: Any,
) -> None:
    """Run hires fix on IMAGE, given by its number in `sdterm gallery`.

    It goes on from where the picture was finished; only where that is not kept any more, the first pass is drawn again.
    """
    settings = settings_of(context)
    number = whole_number(picture.removeprefix("#"))
    if number <= 0:
        raise UsageError(message("IMAGE is '{image}', but it must be a number of `sdterm gallery`.", image=picture))
    prepare_folders(settings.root)
    output = output_for(as_json, no_show, settings)
    with connect(settings, check=True, starting=say_starting) as host:
        found = host.picture(number)
        if not found.infotext or found.kind != "image":
            raise UsageError(
                message("Hires fix needs a generated image with an infotext; image {number} is not one.", number=number)
            )
        recalled = recall(found.infotext, offered(settings).names(), library_of(settings), {})
        if "init_missing" in recalled.warnings:
            raise UsageError(
                message(
                    "Image {number} was generated from an init image, so it has no first pass to continue from. "
                    "Generate from the image itself: sdterm generate --from FILE --init '#{number}' --size WxH.",
                    number=number,
                )
            )
        fields = {**settings.job_fields(), **recalled.fields, **fields_of(given), "hires": True}
        request = make_request(**fields)
        first_pass = FirstPassOf(job=found.job, image=found.number) if found.job else None
        job = host.submit(Submission(request=request, saving=saving_of(settings, out), first_pass=first_pass))
        if detach:
            print_json(job.model_dump_json()) if as_json else click.echo(job.id)
            return
        for code, said in recalled.warnings.items():
            output.show(Warning(code=code, message=said))
        context.exit(
            follow(host, job.id, output, settings, on_interrupt=partial(cancel_job, settings, job.id), out=out)
        )
