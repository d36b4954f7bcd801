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

_LINES = 40
_GIB = 2**30


@click.group()
@flag_options
def host() -> None:
    """The background process that keeps the queue and draws; every command starts it when it is needed."""


@host.command()
@flag_options
@click.pass_context
def start(context: click.Context) -> None:
    """Start the host, if it does not run yet."""
    with connect(settings_of(context), check=True) as client:
        health = client.health()
    click.echo(f"The host runs (process {health.pid}).")
    for notice in health.notices:
        say(notice)


@host.command()
@flag_options
@click.pass_context
def stop(context: click.Context) -> None:
    """End the host. What it draws goes on, from where it was, when the next one starts."""
    settings = settings_of(context)
    if not is_held(run_folder_of(settings.root)):
        click.echo(printable(f"No host is running for {settings.root}."))
        return
    jobs = stop_host(settings)
    click.echo("The host has ended.")
    for job in jobs:
        click.echo(f"Job {job} goes on when the next one starts.")


@host.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Say whether the host runs and what it does. Exit code 1 if it does not run."""
    try:
        with connect(settings_of(context), start=False) as client:
            health = client.health()
    except HostError as error:
        click.echo('{"running": false}' if as_json else printable(str(error)))
        context.exit(EXIT_FAILED)
    if as_json:
        print_json(json.dumps({"running": True, **health.model_dump(mode="json")}, indent=1))
        return
    since = datetime.fromtimestamp(health.started)
    click.echo(f"The host of {printable(health.data)} runs since {since:%F %T} (process {health.pid}).")
    for worker in health.workers:
        doing = f"job {worker.job}, {worker.phase}, network call {worker.call}" if worker.job else worker.phase
        model = f", {printable(worker.model)} in memory" if worker.model else ""
        trouble = f" ({printable(worker.trouble)})" if worker.trouble else ""
        click.echo(f"Device {worker.device}{_about(worker)}: {doing}{model}{trouble}")
    if health.address:
        click.echo(f"Open at {printable(health.address)}.")
    for notice in health.notices:
        click.echo(printable(notice, limit=1000))
    counts = ", ".join(f"{count} {state}" for state, count in health.queue.counts.items() if count) or "empty"
    click.echo(f"Queue{' (paused)' if health.queue.paused else ''}: {counts}")


@host.command()
@click.argument("device")
@flag_options
@click.pass_context
def drain(context: click.Context, device: str) -> None:
    """Let DEVICE finish what it draws, take nothing new, and free its memory, until `sdterm host resume DEVICE`."""
    with connect(settings_of(context)) as client:
        worker = client.drain(device)
    left = f" after job {worker.job}" if worker.job else ""
    click.echo(
        f"{printable(worker.device)} takes no new jobs{left}. `sdterm host resume {printable(device)}` undoes it."
    )


@host.command()
@click.argument("device")
@flag_options
@click.pass_context
def resume(context: click.Context, device: str) -> None:
    """Let DEVICE take jobs again."""
    with connect(settings_of(context)) as client:
        worker = client.resume_device(device)
    click.echo(f"{printable(worker.device)} takes jobs again.")


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
        click.echo("There is no log yet: no host has run here.")


def _about(worker: WorkerView) -> str:
    """What a device is, and how it is."""
    facts = [printable(worker.hardware)] if worker.hardware else []
    if worker.memory_used is not None and worker.memory_total:
        facts.append(f"{worker.memory_used / _GIB:.1f} of {worker.memory_total / _GIB:.1f} GB")
    facts += [f"{worker.temperature} °C"] if worker.temperature is not None else []
    facts += ["drained"] if worker.drained else []
    return f" ({', '.join(facts)})" if facts else ""
