"""`sdterm host`: the process in the background."""

import json
from collections import deque
from datetime import datetime

import click

from sdterm.api import WorkerView
from sdterm.cli.errors import EXIT_FAILED, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import HostError, connect, stop_host
from sdterm.core.settings.rundir import is_held, run_folder_of
from sdterm.core.text import printable
from sdterm.messages import Message
from sdterm.tui.language import tr

_LINES = 40
_GIB = 2**30


@click.group()
@flag_options
def host() -> None:
    """The background process that keeps the queue and generates images; commands start it when they need it."""


@host.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: its process and its socket.")
@flag_options
@click.pass_context
def start(context: click.Context, as_json: bool) -> None:
    """Start the host, unless it runs."""
    settings = settings_of(context)
    with connect(settings, check=True) as client:
        health = client.health()
    if as_json:
        print_json(json.dumps({"pid": health.pid, "socket": str(run_folder_of(settings.root).socket)}))
        return
    click.echo(tr("The host runs (process {pid}).", pid=health.pid))
    for notice in health.notices:
        say(notice)


@host.command()
@flag_options
@click.pass_context
def stop(context: click.Context) -> None:
    """Stop the host. Its jobs go on where they were when it starts again."""
    settings = settings_of(context)
    if not is_held(run_folder_of(settings.root)):
        click.echo(tr("No host is running for {root}.", root=printable(str(settings.root))))
        return
    jobs = stop_host(settings)
    click.echo(tr("The host has ended."))
    for job in jobs:
        click.echo(tr("Job {job} continues when the next one starts.", job=job))


@host.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Tell whether the host runs and what it does. Exit code 1 if it does not run."""
    settings = settings_of(context)
    try:
        with connect(settings, start=False) as client:
            health = client.health()
    except HostError as error:
        click.echo('{"running": false}' if as_json else printable(tr(str(error))))
        context.exit(EXIT_FAILED)
    if as_json:
        socket = {} if settings["connect"] else {"socket": str(run_folder_of(settings.root).socket)}
        print_json(json.dumps({"running": True, **socket, **health.model_dump(mode="json")}, indent=1))
        return
    since = datetime.fromtimestamp(health.started)
    click.echo(
        tr(
            "The host of {data} runs since {since} (process {pid}).",
            data=printable(health.data),
            since=f"{since:%F %T}",
            pid=health.pid,
        )
    )
    for worker in health.workers:
        click.echo(f"{tr('Device {device}', device=worker.device)}{_about(worker)}: {_doing(worker)}")
    for notice in health.notices:
        click.echo(printable(tr(notice), limit=1000))
    if health.share_token:
        click.echo(tr("Its token, until this ends: {token}", token=printable(health.share_token)))
    counts = ", ".join(f"{count} {tr(Message(state))}" for state, count in health.queue.counts.items() if count)
    counts = counts or tr("empty")
    click.echo(tr("Queue (paused): {jobs}", jobs=counts) if health.queue.paused else tr("Queue: {jobs}", jobs=counts))


@host.command()
@click.argument("device")
@flag_options
@click.pass_context
def drain(context: click.Context, device: str) -> None:
    """Let DEVICE finish its job, take no new one, and free its memory, until `sdterm host resume DEVICE`."""
    with connect(settings_of(context)) as client:
        worker = client.drain(device)
    shown = {"device": printable(worker.device), "name": printable(device), "job": worker.job}
    click.echo(
        tr("{device} takes no new jobs after job {job}. `sdterm host resume {name}` undoes it.", **shown)
        if worker.job
        else tr("{device} takes no new jobs. `sdterm host resume {name}` undoes it.", **shown)
    )


@host.command()
@click.argument("device")
@flag_options
@click.pass_context
def resume(context: click.Context, device: str) -> None:
    """Let DEVICE take jobs again."""
    with connect(settings_of(context)) as client:
        worker = client.resume_device(device)
    click.echo(tr("{device} takes jobs again.", device=printable(worker.device)))


@host.command()
@click.option("-n", "lines", type=click.IntRange(1, 100_000), default=_LINES, help=f"How many lines [{_LINES}].")
@flag_options
@click.pass_context
def logs(context: click.Context, lines: int) -> None:
    """Show the end of the host's log."""
    path = run_folder_of(settings_of(context).root).log
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in deque(file, maxlen=lines):
                click.echo(printable(line.rstrip("\n"), limit=10_000))
    except FileNotFoundError:
        click.echo(tr("There is no log yet: no host has run here."))


def _doing(worker: WorkerView) -> str:
    """What it does, with which model, and what is wrong with it."""
    doing = worker.phase
    if worker.job:
        doing = tr(
            "job {job}, {phase}, network call {call}", job=worker.job, phase=Message(worker.phase), call=worker.call
        )
    parts = [doing, *([tr("{model} in memory", model=printable(worker.model))] if worker.model else [])]
    return ", ".join(parts) + (f" ({printable(tr(worker.trouble))})" if worker.trouble else "")


def _about(worker: WorkerView) -> str:
    """What a device is, and how it is."""
    facts = [printable(worker.hardware)] if worker.hardware else []
    if worker.memory_used is not None and worker.memory_total:
        used, total = worker.memory_used / _GIB, worker.memory_total / _GIB
        facts.append(tr("{used:.1f} of {total:.1f} GB", used=used, total=total))
    facts += [f"{worker.temperature} °C"] if worker.temperature is not None else []
    facts += [tr("drained")] if worker.drained else []
    return f" ({', '.join(facts)})" if facts else ""
