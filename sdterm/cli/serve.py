"""`sdterm serve`: the host in the foreground, with A1111's HTTP API."""

import json
import os
import sys

import click

from sdterm.cli.errors import EXIT_FAILED, UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.rundir import is_held, run_folder_of
from sdterm.core.settings.settings import SETTINGS
from sdterm.core.text import printable
from sdterm.messages import message
from sdterm.tui.language import tr


@click.command(epilog="Example: sdterm serve --api --port 7860")
@flag_options
@click.pass_context
def serve(context: click.Context) -> None:
    """Run the host in the foreground. With --api, programs on this machine can use it like A1111's web UI.

    Ctrl+C ends it. What it draws goes on, from where it was, when the next host starts.
    """
    settings = settings_of(context)
    if not settings["api"]:
        raise UsageError(message("There is nothing to serve: give --api."))
    if is_held(run_folder_of(settings.root)):
        say(printable(f"A host runs already for {settings.root}: `sdterm host stop` ends it. Then call this again."))
        context.exit(EXIT_FAILED)
    prepare(settings.root)
    given = {
        setting.key: settings[setting.key]
        for setting in SETTINGS
        if setting.scope == "host" and settings.values[setting.key].source != "default"
    }
    click.echo(
        tr("A1111's API: http://127.0.0.1:{port}/sdapi/v1 (this machine alone). Ctrl+C ends it.", port=settings["port"])
    )
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "sdterm.host", json.dumps({**given, "data_dir": str(settings.root)})]
    os.execv(sys.executable, [*command, "--foreground"])
