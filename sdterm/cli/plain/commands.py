"""The commands of plain mode, each a word, and the loop that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sdterm.cli.errors import EXIT_FAILED, UsageError
from sdterm.cli.plain import drawing, jobs, parameters, pictures
from sdterm.cli.plain.dialogue import Dialogue, WrongWordsError
from sdterm.core.names import find
from sdterm.errors import SdtermError
from sdterm.messages import message
from sdterm.tui.language import said, tr
from sdterm.version import __version__


@dataclass(frozen=True)
class Command:
    """A word that does something. usage: what may follow it."""

    name: str
    usage: str
    sentence: str
    act: Callable[[Dialogue, str], None]


def _more(talk: Dialogue, words: str) -> None:
    go_on, talk.more = talk.more, None
    if not go_on:
        raise WrongWordsError(tr("There is no list to continue."))
    go_on()


def _help(talk: Dialogue, words: str) -> None:
    shown = [_command(words)] if words else COMMANDS
    for command in shown:
        talk.say(f"{command.name} {command.usage}".rstrip() + f": {tr(command.sentence)}")
    if not words:
        talk.say(tr("Without IMAGE, the command uses the picked image, or the newest one."))


def _quit(talk: Dialogue, words: str) -> None:
    raise EOFError


COMMANDS = (
    Command(
        "generate",
        "[PROMPT]",
        message("Generate an image from a prompt; without one you are asked for it."),
        drawing.generate,
    ),
    Command("negative", "[TEXT]", message("Change the negative prompt; a hyphen clears it."), drawing.negative),
    Command("set", "[NAME VALUE]", message("Change a parameter, for example: set steps 30."), parameters.change),
    Command("pick", "[NAME|IMAGE]", message("Choose a parameter's value from a list, or an image."), parameters.pick),
    Command(
        "values", "[all]", message("Show the prompts and the main parameters; all: every parameter."), parameters.values
    ),
    Command("reset", "NAME|all", message("Reset a parameter to its default."), parameters.reset),
    Command("undo", "", message("Undo the last change of prompts and parameters."), parameters.undo),
    Command("redo", "", message("Redo what was undone."), parameters.redo),
    Command("prompts", "[NUMBER]", message("List earlier prompts; a number loads that one."), parameters.prompts),
    Command("vary", "[IMAGE]", message("Generate five variations of an image."), drawing.vary),
    Command("again", "[IMAGE]", message("Generate an image again."), drawing.again),
    Command("hires", "[IMAGE]", message("Run hires fix on an image."), drawing.hires),
    Command("show", "[IMAGE]", message("Show how an image was made, and where its file is."), pictures.show),
    Command("load", "[IMAGE]", message("Load an image's prompts and parameters."), pictures.load),
    Command("compare", "IMAGE IMAGE ...", message("Show which parameters differ between images."), pictures.compare),
    Command("gallery", "[WORDS]", message("List the saved images, or those that match a filter."), pictures.gallery),
    Command("delete", "IMAGE", message("Move an image to the trash."), pictures.delete),
    Command("restore", "IMAGE", message("Restore an image from the trash."), pictures.restore),
    Command("queue", "", message("List the jobs."), jobs.queue),
    Command("watch", "[JOB]", message("Follow a job; Control C stops following it."), jobs.watch),
    Command("pause", "[JOB]", message("Pause a job, or the whole queue."), jobs.pause),
    Command("resume", "[JOB]", message("Resume a job, or the queue."), jobs.resume),
    Command("cancel", "JOB", message("Cancel a job."), jobs.cancel),
    Command("retry", "JOB", message("Retry a failed job."), jobs.retry),
    Command("more", "", message("Continue the last list."), _more),
    Command("help", "[COMMAND]", message("Tell the commands."), _help),
    Command("quit", "", message("Leave. Queued jobs continue."), _quit),
)


def _command(name: str) -> Command:
    """Raises UnknownNameError."""
    names = {command.name: command for command in COMMANDS}
    also = {"prompt": names["generate"], "exit": names["quit"], "?": names["help"]}
    return find("command", name, {**names, **also}, more=message("`help` tells them all."))


def run(talk: Dialogue) -> int:
    """Read commands until the dialogue is left. Returns the exit code."""
    talk.say(
        tr(
            "sdterm {version}, plain mode. Type a command, like: generate a red house. help tells all.",
            version=__version__,
        )
    )
    said: list[str] = []
    failed = False
    while True:
        try:
            line = talk.lines.ask(tr("Command:"), said)
        except KeyboardInterrupt:
            talk.say("")
            line = None
        if line is None:
            break
        said = [*said, line][-200:]
        try:
            failed = not _obey(talk, line) or failed
        except EOFError:
            break
    talk.say(tr("Goodbye. Queued jobs continue."))
    return EXIT_FAILED if failed and not talk.lines.is_typed else 0


def _obey(talk: Dialogue, line: str) -> bool:
    """Do what a line says; whether it could be done. Raises EOFError."""
    name, _, words = line.strip().partition(" ")
    if not name:
        return True
    try:
        _command(name.casefold()).act(talk, words.strip())
    except KeyboardInterrupt:
        talk.say("")
        talk.say(tr("Stopped. Queued jobs continue."))
    except SdtermError as error:
        talk.say(said(str(error)))
        return False
    except UsageError as error:
        talk.say(error.format_message())
        return False
    except OSError as error:
        talk.say(tr("That cannot be done: {error}.", error=error.strerror or error))
        return False
    return True
