"""`sdterm doctor`: what the machine has, what is missing, how to mend it."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from sdterm.cli.errors import EXIT_FAILED
from sdterm.cli.health import Check, examine, repair
from sdterm.cli.options import commandline_args, flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import HostError, RefusedError, connect
from sdterm.core.library.checkpoints import library_of
from sdterm.core.settings.rundir import RunFolderError, is_held, make_private, run_folder_of
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.version import __version__

_MARKS = {"ok": "✓", "note": "•", "bad": "✗"}


@click.command()
@click.option("--repair", "mend", is_flag=True, help="Repair what can be repaired, then check again.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@flag_options
@click.pass_context
def doctor(context: click.Context, mend: bool, as_json: bool) -> None:
    """Check Python, packages, GPU, memory, folders, plugins and terminal. Exit code 1 if something must be repaired."""
    settings = settings_of(context)
    if mend:
        for sentence in repair(settings.root):
            click.echo(printable(sentence), err=True)
    checks = [*_flags(), *examine(settings, library_of(settings)), _host(settings), _terminal(settings)]
    if as_json:
        print_json(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(printable(f"{_MARKS[check.status]} {check.name:<{width}}  {check.finding}", limit=1000))
            if check.fix:
                click.echo(printable(f"  {'':<{width}}  → {check.fix}", limit=1000))
    if any(check.status == "bad" for check in checks):
        context.exit(EXIT_FAILED)


def _flags() -> Iterator[Check]:
    """What each flag in COMMANDLINE_ARGS became."""
    for name, flag, became in commandline_args():
        if flag is None:
            yield Check(name, "note", "sdterm knows no such flag, and passes over it as COMMANDLINE_ARGS has it")
        elif became:
            yield Check(name, "ok", f"{flag.sentence.removesuffix('.')} ({became})")
        else:
            yield Check(name, "note", flag.sentence.removesuffix("."))


def _host(settings: Settings) -> Check:
    """Whether the background process runs, and whether it could."""
    run_folder = run_folder_of(settings.root)
    try:
        make_private(run_folder)
    except RunFolderError as error:
        return Check("Host", "bad", str(error))
    try:
        with connect(settings, start=False) as client:
            health = client.health()
    except HostError as error:
        if is_held(run_folder):
            return Check("Host", "bad", str(error), "sdterm host stop")
        return Check("Host", "ok", "not running; every command starts it when it is needed")
    except RefusedError as error:
        return Check("Host", "bad", str(error), "sdterm host logs")
    lost = health.queue.counts["failed"]
    found = f"process {health.pid} with {len(health.workers)} device(s), {health.queue.counts['queued']} job(s) queued"
    if health.notices:
        return Check("Host", "note", f"{found}. {' '.join(health.notices)}")
    if health.version != __version__:
        return Check("Host", "note", f"{found}, of sdterm {health.version}", "sdterm host stop")
    return Check("Host", "ok", found + (f", {lost} failed (`sdterm queue retry JOB`)" if lost else ""))


def _terminal(settings: Settings) -> Check:
    if not sys.stdout.isatty():
        return Check("Terminal", "note", "output goes to a file or pipe: pictures are not shown")
    from sdterm.cli.picture import known_terminal
    from sdterm.tui.picture.support import support

    columns, rows = shutil.get_terminal_size()
    found = support(known_terminal(settings.root), settings["preview"], among_text=True)
    shown = f"pictures as {found.protocol}, colours: {found.depth}. {found.reason}"
    return Check("Terminal", "ok", f"{os.environ.get('TERM', '?')}, {columns}x{rows}, {shown}")
