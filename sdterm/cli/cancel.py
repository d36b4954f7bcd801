"""`sdterm cancel`: stop a job for good."""

import click

from sdterm.cli.options import flag_options, settings_of
from sdterm.client import connect


@click.command()
@click.argument("job", type=click.IntRange(min=1))
@flag_options
@click.pass_context
def cancel(context: click.Context, job: int) -> None:
    """Cancel JOB. Its finished images stay."""
    with connect(settings_of(context)) as host:
        known = host.cancel(job)
    state = "is being stopped" if known.state == "running" else "is cancelled"
    click.echo(f"Job {job} {state}; {known.done} of {known.images} image(s) are finished.")
