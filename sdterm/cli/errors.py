"""Errors as sentences and exit codes."""

import click

from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import Message, message
from sdterm.tui.language import tr

EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 1, 2, 130
EXIT_CODES = {
    0: message("done"),
    EXIT_FAILED: message("could not generate (model, memory, disk, plugin)"),
    EXIT_USAGE: message("a name or value in the command does not exist or is out of range"),
    EXIT_CANCELLED: message("cancelled with Ctrl+C"),
}


class UsageError(click.ClickException):
    """What was asked for cannot be done as asked."""

    exit_code = EXIT_USAGE


def say(sentence: str) -> None:
    """One line of words, on stderr, harmless to the terminal whatever is quoted in it; a message in the user's
    language."""
    click.echo(printable(tr(sentence) if isinstance(sentence, Message) else sentence, limit=2000), err=True)


def report(error: Exception) -> int:
    """Tell the user what went wrong. Returns the exit code; raises again what nobody expected."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.Abort):
        say(message("Cancelled."))
        return EXIT_CANCELLED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # a group without one of its commands
        click.echo(error.format_message(), err=True)
        return error.exit_code
    if isinstance(error, click.ClickException):
        say(message("Error: {error}", error=error.message if isinstance(error, UsageError) else error.format_message()))
        return error.exit_code
    if isinstance(error, SdtermError):
        say(message("Error: {error}", error=error))
        return EXIT_USAGE if error.code == BAD_REQUEST else EXIT_FAILED
    raise error
