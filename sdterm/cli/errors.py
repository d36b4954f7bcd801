"""Errors as sentences and exit codes."""

import sys

import click

from sdterm.core.text import printable

EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 1, 2, 130
EXIT_CODES = {
    0: "done",
    EXIT_FAILED: "could not draw (model, memory, disk, plugin)",
    EXIT_USAGE: "what was asked for does not exist or is out of range",
    EXIT_CANCELLED: "cancelled with Ctrl+C",
}


class UsageError(click.ClickException):
    """What was asked for cannot be done as asked."""

    exit_code = EXIT_USAGE


def say(sentence: str) -> None:
    """One line of words, on stderr, harmless to the terminal whatever is quoted in it."""
    click.echo(printable(sentence, limit=2000), err=True)


def report(error: Exception) -> int:
    """Tell the user what went wrong. Returns the exit code; raises again what nobody expected."""
    from sdterm.core.extensions import ExtensionError
    from sdterm.core.extensions.catalogue import CatalogueError
    from sdterm.core.extensions.install.records import RecordsError
    from sdterm.core.library.checkpoints import ModelFileError
    from sdterm.core.names import UnknownNameError
    from sdterm.core.output.saving import OutputFolderError
    from sdterm.core.prompt.styles import StylesError
    from sdterm.core.settings.devices import DeviceNameError
    from sdterm.core.settings.paths import DataRootError
    from sdterm.core.settings.rundir import RunFolderError
    from sdterm.core.settings.settings import ConfigError
    from sdterm.hooks import PluginError
    from sdterm.request import RequestError
    from sdterm.tui.language import LanguageError

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.Abort):
        say("Cancelled.")
        return EXIT_CANCELLED
    if isinstance(error, click.ClickException):
        say(f"Error: {error.format_message()}")
        return error.exit_code
    if isinstance(error, RequestError | UnknownNameError | ConfigError | StylesError | DeviceNameError | LanguageError):
        say(f"Error: {error}")
        return EXIT_USAGE
    if isinstance(error, OutputFolderError):
        say(f"Error: {error.strerror}")
        return EXIT_FAILED
    if "sdterm.client" in sys.modules:  # it costs a tenth of a second, which not every command owes
        from sdterm.client import HostError, RefusedError

        if isinstance(error, RefusedError):
            say(f"Error: {error}")
            return EXIT_USAGE if error.problem.code == "bad_request" else EXIT_FAILED
        if isinstance(error, HostError):
            say(f"Error: {error}")
            return EXIT_FAILED
    refusals = (
        ModelFileError | DataRootError | CatalogueError | RunFolderError | PluginError | ExtensionError | RecordsError
    )
    if isinstance(error, refusals):
        say(f"Error: {error}")
        return EXIT_FAILED
    raise error
