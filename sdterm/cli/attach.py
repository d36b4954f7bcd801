"""`sdterm attach`: watch a job again."""

import click

from sdterm.cli.follow import follow, leave
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.output import output_for
from sdterm.client import connect
from sdterm.messages import message


@click.command()
@click.argument("job", type=click.IntRange(min=1), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line.")
@click.option("--no-show", is_flag=True, help="Do not show the picture.")
@flag_options
@click.pass_context
def attach(context: click.Context, job: int | None, as_json: bool, no_show: bool) -> None:
    """Follow JOB (the one that runs, or else the newest) from its beginning. Ctrl+C ends this command; the job goes
    on."""
    settings = settings_of(context)
    with connect(settings) as host:
        if job is None:
            found = host.jobs(["running"], limit=1).jobs or host.jobs(limit=1).jobs
            if not found:
                raise click.UsageError(message("There is no job yet. `sdterm generate PROMPT` makes one."))
            job = found[0].id
        host.job(job)  # an unknown one is refused now
        context.exit(follow(host, job, output_for(as_json, no_show, settings), settings, on_interrupt=leave))
