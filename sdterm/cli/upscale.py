"""`sdterm upscale`: pictures that are there, larger."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from sdterm.api import Submission
from sdterm.cli.errors import UsageError
from sdterm.cli.follow import follow
from sdterm.cli.generate import cancel_job, draw_here, say_starting
from sdterm.cli.inputs import digest_of, number_of
from sdterm.cli.options import flag_options, settings_of, sides_of
from sdterm.cli.output import output_for
from sdterm.cli.print_json import print_json
from sdterm.client import Client, connect
from sdterm.core.inputs import Inputs
from sdterm.core.output.saving import saving_of
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.core.settings.settings import NOTIFY
from sdterm.fields import FIELDS, NO_UPSCALER
from sdterm.messages import message
from sdterm.request import make_request


@click.command(epilog="Example: sdterm upscale photo.jpg '#12' --upscaler 4x_NMKD-Siax_200k --scale 2")
@click.argument("pictures", nargs=-1, required=True, metavar="FILE|#ID...")
@click.option("--upscaler", default="Lanczos", metavar="NAME", help="Lanczos, Nearest, or a file's name [Lanczos].")
@click.option("--scale", type=float, metavar="N", help=f"How many times as large [{FIELDS['upscale_by'].default:g}].")
@click.option("--to", "size", metavar="WxH", help="Fill this size, in pixels.")
@click.option("--crop", is_flag=True, help="Crop what does not fit into that size.")
@click.option("--second", default=NO_UPSCALER, metavar="NAME", help="A second upscaler, blended into the first.")
@click.option(
    "--visibility",
    type=float,
    default=FIELDS["second_upscaler_visibility"].default,
    metavar="X",
    help="How much of the second is seen, from 0 to 1 [0.5].",
)
@click.option("--format", metavar="NAME", help="The file format.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The folder to save into.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
@click.option("--no-show", is_flag=True, help="Do not show the picture.")
@click.option("--detach", is_flag=True, help="Queue it, print the job's number, and end.")
@click.option("--notify", type=click.Choice(NOTIFY), help="How to say that it is done.")
@click.option("--local", is_flag=True, help="Do it in this process instead of the host's.")
@flag_options
@click.pass_context
def upscale(
    context: click.Context,
    pictures: tuple[str, ...],
    upscaler: str,
    scale: float | None,
    size: str | None,
    crop: bool,
    second: str,
    visibility: float,
    format: str | None,
    out: Path | None,
    as_json: bool,
    no_show: bool,
    detach: bool,
    notify: str | None,
    local: bool,
) -> None:
    """Make pictures larger: files, or pictures of the gallery by their numbers (#12).

    Each is saved as a new picture; its infotext is kept and says how it was made larger. `sdterm models --kind
    upscaler` lists the files of networks; they go into models/ESRGAN.
    """
    settings = settings_of(context)
    if local and detach:
        raise UsageError(message("--detach needs the host: remove --local."))
    if scale is not None and size:
        raise UsageError(message("--scale and --to cannot both be given."))
    if crop and not size:
        raise UsageError(message("--crop needs a size to cut to: give --to WxH, too."))
    if local and (asked := next((name for name in pictures if number_of(name)), None)):
        raise UsageError(
            message("{asked} is an image of the gallery, which the host has: remove --local.", asked=asked)
        )
    width, height = sides_of("--to", size) if size else (None, None)
    fields = {key: value for key, value in settings.job_fields().items() if key in _FROM_SETTINGS} | {
        "prompt": "",
        "upscaler": upscaler,
        "second_upscaler": second,
        "second_upscaler_visibility": visibility,
        **{name: value for name, value in (("upscale_by", scale), ("format", format)) if value is not None},
        "upscale_width": width,
        "upscale_height": height,
        "upscale_crop": crop,
    }
    make_request(**fields)  # before a picture is read
    prepare_folders(settings.root)
    output, saving = output_for(as_json, no_show, settings), saving_of(settings, out)
    if local:
        digests = _digests(pictures, Inputs(settings.root).put, None)
        request = make_request(**fields, upscale_images=digests)
        context.exit(draw_here(request, saving, None, settings, output, []))

    with connect(settings, check=True, starting=say_starting) as host:
        request = make_request(**fields, upscale_images=_digests(pictures, host.put_input, host))
        job = host.submit(Submission(request=request, saving=saving))
        if detach:
            print_json(job.model_dump_json()) if as_json else click.echo(job.id)
            return
        chosen = settings.with_value("notify", notify, "--notify") if notify else settings
        context.exit(follow(host, job.id, output, chosen, on_interrupt=partial(cancel_job, settings, job.id), out=out))


_FROM_SETTINGS = ("upscale_tile", "upscale_overlap", "format")


def _digests(pictures: Sequence[str], put: Callable[[bytes], str], host: Client | None) -> tuple[str, ...]:
    """Give the pictures' files to whoever makes them larger. Raises UsageError."""
    return tuple(digest_of(name, put, host) for name in pictures)
