"""`sdterm serve`: the host in the foreground, on a TCP port."""

import json
import os
import sys

import click

from sdterm.cli.errors import EXIT_FAILED, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.rundir import is_held, run_folder_of
from sdterm.core.settings.settings import SETTINGS, Settings
from sdterm.messages import message


@click.command(epilog="Example: sdterm serve --api --port 7860")
@flag_options
@click.pass_context
def serve(context: click.Context) -> None:
    """Serve programs over a port, until Ctrl+C: those of this machine, with --listen those of others, too.

    Programs show a token (`sdterm token new NAME`). With --api the port also speaks A1111's HTTP API, which needs no
    password on this machine unless --api-auth gives one. What is drawn goes on when the next host starts.
    """
    serve_with(settings_of(context))


def serve_with(settings: Settings) -> None:
    """Become the host, in the foreground."""
    if is_held(run_folder_of(settings.root)):
        say(
            message(
                "A host is already running for {root}. Stop it with `sdterm host stop`, then try again.",
                root=settings.root,
            )
        )
        sys.exit(EXIT_FAILED)
    prepare(settings.root)
    given = {
        setting.key: settings[setting.key]
        for setting in SETTINGS
        if (setting.scope == "host" or setting.key == "language") and settings.values[setting.key].source != "default"
    }
    told = json.dumps({**given, "data_dir": str(settings.root), "serve": True})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sdterm.cli.foreground", told, "--foreground"])
