"""`sdterm img2img`: each picture of a folder drawn anew."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from sdterm.api import Submission
from sdterm.cli.errors import EXIT_FAILED, UsageError, say
from sdterm.cli.follow import follow
from sdterm.cli.generate import cancel_job, request_of, say_starting, standard_input
from sdterm.cli.headings import HeadedCommand
from sdterm.cli.inputs import images_of, mask_option, only_one_from_standard_input, picture_file, sources
from sdterm.cli.offered import offered, pipeline_of
from sdterm.cli.options import fields_of, flag_options, request_options, settings_of
from sdterm.cli.output import output_for
from sdterm.client import Client, connect
from sdterm.core.inputs import InputError
from sdterm.core.output.saving import Saving, saving_of
from sdterm.core.planning.assignment import assign
from sdterm.core.settings.paths import prepare as prepare_folders
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.messages import message
from sdterm.request import GenerationRequest, make_request


@click.command(cls=HeadedCommand, epilog="Example: sdterm img2img photos 'oil painting' --denoising 0.4 --out painted")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("prompt", required=False, default="")
@mask_option
@request_options()
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="As of `sdterm generate`; may be repeated."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="OUT", help="The folder to save into.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
@click.option("--no-show", is_flag=True, help="Do not show the pictures.")
@click.option("--detach", is_flag=True, help="Queue them, print the jobs' numbers, and end.")
@flag_options
@click.pass_context
def img2img(
    context: click.Context,
    /,
    folder: Path,
    prompt: str,
    mask: str | None,
    assignments: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    no_show: bool,
    detach: bool,
    **given: Any,
) -> None:
    """Generate a new image from each picture of the folder DIR, with PROMPT ("-" reads it from standard input).

    Each picture is a job of its own, in the order of their names, and its result has the picture's name. Files that are
    no pictures are skipped. The first Ctrl+C cancels all jobs.
    """
    only_one_from_standard_input(PROMPT=prompt, mask=mask)
    settings = settings_of(context)
    request = request_of(standard_input() if prompt == "-" else prompt, fields_of(given), settings)
    images: list[bytes] = []
    if assignments:
        names = offered(settings).names()
        assigned, images = images_of(assignments, names)
        request = assign(request, assigned, names, pipeline_of(request, settings, assigned))
    files = [file for file in sorted(folder.iterdir(), key=_in_order) if file.is_file() and file.name[0] != "."]
    prepare_folders(settings.root)
    saving, output = saving_of(settings, out), output_for(as_json, no_show, settings)
    with connect(settings, check=True, starting=say_starting) as host:
        request = make_request(
            **request.model_dump(exclude_unset=True) | sources((), mask, host.put_input, host, images)
        )
        jobs = _submitted(host, request, files, saving)
        if not jobs:
            raise UsageError(message("{folder} has no image that can be read.", folder=printable(str(folder), 1000)))
        if detach:
            click.echo("\n".join(str(job) for job, _ in jobs))
            return
        context.exit(_followed(host, jobs, partial(follow, output=output, settings=settings, out=out), settings))


def _in_order(file: Path) -> list[tuple[int, str]]:
    """By name, numbers in it by their value: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", file.name)]


def _submitted(
    host: Client, request: GenerationRequest, files: Sequence[Path], saving: Saving
) -> list[tuple[int, Path]]:
    """A job for each file that is a picture; for the others a sentence."""
    jobs = []
    for file in files:
        try:
            digest = host.put_input(picture_file(str(file)))
        except InputError as error:
            say(message("Skipped: {error}", error=error))
            continue
        named = replace(saving, filename_pattern=_literally(file.stem), add_number=False)
        one = request.model_copy(update={"init_images": (digest,)})
        jobs.append((host.submit(Submission(request=one, saving=named)).id, file))
    return jobs


def _literally(name: str) -> str:
    """A pattern of file names that stands for itself: brackets would be a token."""
    return name.translate({ord("["): "(", ord("]"): ")"})


def _followed(host: Client, jobs: Sequence[tuple[int, Path]], follow_one: Any, settings: Settings) -> int:
    """Show one after the other. Returns the exit code: of the first that is not well, or of Ctrl+C."""
    worst = 0
    for place, (job, file) in enumerate(jobs):
        say(message("{place} of {jobs}: {name}", place=place + 1, jobs=len(jobs), name=file.name))
        left = [number for number, _ in jobs[place:]]
        code = follow_one(host, job, on_interrupt=partial(_cancel_all, settings, left))
        worst = worst or code
        if code not in (0, EXIT_FAILED):
            break
    return worst


def _cancel_all(settings: Settings, jobs: Sequence[int]) -> None:
    for job in reversed(jobs):  # the one that runs last, so that no other begins
        cancel_job(settings, job)
