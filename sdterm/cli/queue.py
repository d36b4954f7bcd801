"""`sdterm queue`: what waits, what runs, and in which order."""

from typing import get_args

import click

from sdterm.api import ENDED, STATES, JobView, Retry, State
from sdterm.cli.errors import UsageError
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import Client, connect
from sdterm.core.numbers import whole_number
from sdterm.core.text import printable
from sdterm.fields import Rung
from sdterm.messages import Message, message, sentences
from sdterm.tui.language import tr

_SHOWN = 20  # jobs of each state that a plain listing shows
_RECENT = 5  # ended jobs that a plain listing shows
_JOB = click.IntRange(min=1)


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="List all jobs, also those that ended.")
@click.option("--json", "as_json", is_flag=True, help="Print jobs, one JSON object a line.")
@flag_options
@click.pass_context
def queue(context: click.Context, everything: bool, as_json: bool) -> None:
    """List jobs: those that run, wait or are paused, and the last few that ended."""
    if context.invoked_subcommand:
        return
    with connect(settings_of(context)) as host:
        jobs: list[JobView] = []
        for state in STATES:
            if state not in ENDED:
                jobs += _every(host, [state]) if everything else host.jobs([state], limit=_SHOWN).jobs
        jobs += _every(host, ENDED) if everything else host.jobs(ENDED, limit=_RECENT).jobs
        whole = host.queue()
    if as_json:
        for job in jobs:
            print_json(job.model_dump_json())
        return
    if whole.paused:
        click.echo(tr("The queue is paused: no new job starts. `sdterm queue resume` resumes it."))
    if not jobs:
        click.echo(tr("There is no job yet. `sdterm generate PROMPT` makes one."))
    for job in jobs:
        click.echo(printable(_line(job), limit=1000))
    if not everything and (more := whole.counts["queued"] - _SHOWN) > 0:
        click.echo(tr("… and {more} more; `sdterm queue --all` lists them.", more=more))


@queue.command()
@click.argument("job", type=_JOB, required=False)
@click.option("--at-step", type=click.IntRange(1, 1000), metavar="STEP", help="Once all its images are at that step.")
@click.option("--pass", "pass_no", type=click.IntRange(1, 2), default=1, metavar="N", help="The pass of that step [1].")
@flag_options
@click.pass_context
def pause(context: click.Context, job: int | None, at_step: int | None, pass_no: int) -> None:
    """Pause JOB, to resume it later where it was; without JOB, pause the queue: no new job starts."""
    with connect(settings_of(context)) as host:
        if job is None:
            host.pause_queue()
            click.echo(tr("No new job starts until `sdterm queue resume`."))
        else:
            host.pause(job, at_step, pass_no - 1)
            waits = message("Job {job} will wait at step {step}.", job=job, step=at_step or 0)
            click.echo(tr(waits if at_step else message("Job {job} is paused.", job=job)))


@queue.command()
@click.argument("job", type=_JOB, required=False)
@click.option("--images", metavar="LIST", help="Only these, like 0,3,4; the others are given up.")
@click.option("--pause-at", type=click.IntRange(1, 1000), metavar="STEP", help="Pause again at that step.")
@flag_options
@click.pass_context
def resume(context: click.Context, job: int | None, images: str | None, pause_at: int | None) -> None:
    """Resume JOB where it was; without JOB, resume the queue."""
    with connect(settings_of(context)) as host:
        if job is None:
            host.resume_queue()
            click.echo(tr("The queue continues."))
        else:
            host.resume(job, None if images is None else _numbers(images), pause_at)
            click.echo(tr("Job {job} continues. `sdterm attach {job}` shows it.", job=job))


@queue.command()
@click.argument("job", type=_JOB, required=False)
@click.option("--all", "everything", is_flag=True, help="Every job that failed.")
@click.option("--batch", type=click.IntRange(1, 64), metavar="N", help="Draw N of its images together.")
@click.option("--optimize", multiple=True, metavar="NAME", help="Use this memory optimizer too; may be repeated.")
@click.option(
    "--rung",
    "rungs",
    type=click.Choice(get_args(Rung)),
    multiple=True,
    help="Take this step of the ladder too; may be repeated.",
)
@flag_options
@click.pass_context
def retry(
    context: click.Context,
    job: int | None,
    everything: bool,
    batch: int | None,
    optimize: tuple[str, ...],
    rungs: tuple[Rung, ...],
) -> None:
    """Retry a failed JOB: the same images; what was computed is kept.

    --batch, --optimize and --rung let a job that ran out of memory need less.
    """
    settings = settings_of(context)
    if (job is None) != everything:
        raise UsageError(message("Name one JOB, or --all."))
    with connect(settings) as host:
        jobs = [known.id for known in reversed(_every(host, ["failed"]))] if job is None else [job]
        for known in jobs:
            now = host.job(known)
            memory = (*now.request.memory, *optimize) if optimize else None
            further = tuple(dict.fromkeys((*now.rungs, *rungs))) if rungs else None
            host.retry(known, Retry(batch_size=batch, memory=memory, rungs=further))
    for known in jobs:
        click.echo(tr("Job {job} is retried. `sdterm attach {job}` shows it.", job=known))


@queue.command()
@click.argument("job", type=_JOB)
@click.option("--before", type=_JOB, metavar="JOB", help="Unset: the end of the queue.")
@click.option("--first", is_flag=True, help="The beginning of the queue.")
@flag_options
@click.pass_context
def move(context: click.Context, job: int, before: int | None, first: bool) -> None:
    """Move a queued JOB to another place in the queue."""
    with connect(settings_of(context)) as host:
        if first:
            waiting = host.jobs(["queued"], limit=1).jobs
            before = waiting[0].id if waiting else None
        host.move(job, before)
    if first:
        click.echo(tr("Job {job} is now first.", job=job))
    elif before:
        click.echo(tr("Job {job} is now before job {before}.", job=job, before=before))
    else:
        click.echo(tr("Job {job} is now last.", job=job))


@queue.command()
@click.argument("job", type=_JOB)
@click.argument("device", required=False)
@flag_options
@click.pass_context
def pin(context: click.Context, job: int, device: str | None) -> None:
    """Let only DEVICE, as `sdterm host status` names it, run JOB; without DEVICE, any may."""
    with connect(settings_of(context)) as host:
        known = host.pin(job, device)
    where = (
        message("Job {job} runs on {device} alone.", job=job, device=printable(device))
        if device
        else message("Job {job} runs on any device.", job=job)
    )
    later = message("What already runs continues where it is.") if known.state == "running" else ""
    click.echo(tr(sentences(where, later)))


def _every(host: Client, states: "list[State] | tuple[State, ...]") -> list[JobView]:
    page = host.jobs(states, limit=500)
    jobs = list(page.jobs)
    while page.next:
        page = host.jobs(states, limit=500, cursor=page.next)
        jobs += page.jobs
    return jobs


def _line(job: JobView) -> str:
    progress = job.progress
    where = tr(job.reason.message) if job.reason else ""
    if progress:
        where = tr("step {step}/{steps}", step=progress.step, steps=progress.steps)
        if progress.passes > 1:
            where = tr("pass {number}/{count}", number=progress.pass_no + 1, count=progress.passes) + " " + where
    state = tr(Message(job.state))
    return f"{job.id:>5}  {state:<9}  {job.done:>3}/{job.images:<3}  {job.prompt[:60]}  {where}{_pinned(job)}".rstrip()


def _pinned(job: JobView) -> str:
    return "  " + tr("(on {device})", device=job.device) if job.device and job.state not in ENDED else ""


def _numbers(text: str) -> list[int]:
    numbers = [whole_number(part.strip()) for part in text.split(",")]
    if min(numbers) < 0:
        raise UsageError(message("--images is '{text}', but it must be numbers from 0, like 0,3,4.", text=text))
    return numbers
