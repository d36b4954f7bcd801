"""`sdterm doctor`: what the machine has, what is missing, how to repair it."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.cells import cell_len, set_cell_size

from sdterm.cli.errors import EXIT_FAILED, say
from sdterm.cli.health import Check, examine, repair
from sdterm.cli.options import commandline_args, flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.client import HostError, RefusedError, connect
from sdterm.core.library.checkpoints import library_of
from sdterm.core.settings.rundir import RunFolderError, is_held, make_private, run_folder_of
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.messages import Message, message, sentences
from sdterm.tui.language import said
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
            say(sentence)
    checks = [*_flags(), *examine(settings, library_of(settings)), _host(settings), _terminal(settings)]
    if as_json:
        print_json(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        width = max(cell_len(said(check.name)) for check in checks)
        for check in checks:
            name = set_cell_size(said(check.name), width)
            click.echo(printable(f"{_MARKS[check.status]} {name}  {said(check.finding)}", limit=1000))
            if check.fix:
                click.echo(printable(f"  {'':<{width}}  → {said(check.fix)}", limit=1000))
    if any(check.status == "bad" for check in checks):
        context.exit(EXIT_FAILED)


def _flags() -> Iterator[Check]:
    """What each flag in COMMANDLINE_ARGS became."""
    for name, flag, became in commandline_args():
        if flag is None:
            yield Check(name, "note", message("sdterm has no such flag, and ignores it in COMMANDLINE_ARGS"))
        elif became:
            sets = message("{sentence} Sets {settings}.", sentence=Message(flag.sentence), settings=became)
            yield Check(name, "ok", sets)
        else:
            yield Check(name, "note", Message(flag.sentence))


def _host(settings: Settings) -> Check:
    """Whether the background process runs, and whether it could."""
    run_folder, name = run_folder_of(settings.root), message("Host")
    try:
        make_private(run_folder)
    except RunFolderError as error:
        return Check(name, "bad", str(error))
    try:
        with connect(settings, start=False) as client:
            health = client.health()
    except HostError as error:
        if is_held(run_folder):
            return Check(name, "bad", str(error), "sdterm host stop")
        return Check(name, "ok", message("not running; every command starts it when it is needed"))
    except RefusedError as error:
        return Check(name, "bad", str(error), "sdterm host logs")
    found = message(
        "process {process}, devices: {devices}, jobs waiting: {jobs}",
        process=health.pid,
        devices=len(health.workers),
        jobs=health.queue.counts["queued"],
    )
    if health.notices:
        return Check(name, "note", sentences(message("{found}.", found=found), *health.notices))
    if health.version != __version__:
        other = message("{found}, of sdterm {version}", found=found, version=health.version)
        return Check(name, "note", other, "sdterm host stop")
    if failed := health.queue.counts["failed"]:
        found = message("{found}, failed: {jobs} (`sdterm queue retry JOB`)", found=found, jobs=failed)
    return Check(name, "ok", found)


def _terminal(settings: Settings) -> Check:
    name = message("Terminal")
    if not sys.stdout.isatty():
        return Check(name, "note", message("output goes to a file or pipe: images are not shown"))
    from sdterm.cli.picture import known_terminal
    from sdterm.tui.picture.support import support

    columns, rows = shutil.get_terminal_size()
    found = support(known_terminal(settings.root), settings["preview"], among_text=True)
    shown = message(
        "{terminal}, {columns}x{rows}, images as {protocol}, colours: {depth}. {reason}",
        terminal=os.environ.get("TERM", "?"),
        columns=columns,
        rows=rows,
        protocol=found.protocol,
        depth=found.depth,
        reason=found.reason,
    )
    return Check(name, "ok", shown)
