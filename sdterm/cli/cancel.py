"""`sdterm cancel`: stop a job for good."""

import click

from sdterm.cli.options import flag_options, settings_of
from sdterm.client import connect
from sdterm.messages import message, plural, sentences
from sdterm.tui.language import tr


@click.command()
@click.argument("job", type=click.IntRange(min=1))
@flag_options
@click.pass_context
def cancel(context: click.Context, job: int) -> None:
    """Cancel JOB. Its finished images stay."""
    with connect(settings_of(context)) as host:
        known = host.cancel(job)
    if known.state == "running":
        said = message("Job {job} is being stopped.", job=job)
    else:
        said = message("Job {job} is cancelled.", job=job)
    finished = plural(
        "{done} of {number} image is finished.",
        "{done} of {number} images are finished.",
        known.images,
        done=known.done,
    )
    click.echo(tr(sentences(said, finished)))
