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
        raise WrongWordsError(tr("There is no list to go on with."))
    go_on()


def _help(talk: Dialogue, words: str) -> None:
    shown = [_command(words)] if words else COMMANDS
    for command in shown:
        talk.say(f"{command.name} {command.usage}".rstrip() + f": {tr(command.sentence)}")
    if not words:
        talk.say(tr("Without PICTURE, the command uses the picked picture, or the newest one."))


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
    Command(
        "pick", "[NAME|PICTURE]", message("Choose a parameter's value from a list, or a picture."), parameters.pick
    ),
    Command(
        "values", "[all]", message("Show the prompts and the main parameters; all: every parameter."), parameters.values
    ),
    Command("reset", "NAME|all", message("Reset a parameter to its default."), parameters.reset),
    Command("undo", "", message("Undo the last change of prompts and parameters."), parameters.undo),
    Command("redo", "", message("Redo what was undone."), parameters.redo),
    Command("prompts", "[NUMBER]", message("List earlier prompts; a number loads that one."), parameters.prompts),
    Command("vary", "[PICTURE]", message("Generate five variations of a picture."), drawing.vary),
    Command("again", "[PICTURE]", message("Generate a picture again."), drawing.again),
    Command("hires", "[PICTURE]", message("Run hires fix on a picture."), drawing.hires),
    Command("show", "[PICTURE]", message("Show how a picture was made, and where its file is."), pictures.show),
    Command("load", "[PICTURE]", message("Load a picture's prompts and parameters."), pictures.load),
    Command(
        "compare", "PICTURE PICTURE ...", message("Show which parameters differ between pictures."), pictures.compare
    ),
    Command("gallery", "[WORDS]", message("List the saved pictures, or those that match a filter."), pictures.gallery),
    Command("delete", "PICTURE", message("Move a picture to the trash."), pictures.delete),
    Command("restore", "PICTURE", message("Bring a picture back from the trash."), pictures.restore),
    Command("queue", "", message("List the jobs."), jobs.queue),
    Command("watch", "[JOB]", message("Follow a job; Control C stops following it."), jobs.watch),
    Command("pause", "[JOB]", message("Pause a job, or the whole queue."), jobs.pause),
    Command("resume", "[JOB]", message("Resume a job, or the queue."), jobs.resume),
    Command("cancel", "JOB", message("Cancel a job."), jobs.cancel),
    Command("retry", "JOB", message("Retry a failed job."), jobs.retry),
    Command("more", "", message("Go on with the last list."), _more),
    Command("help", "[COMMAND]", message("Tell the commands."), _help),
    Command("quit", "", message("Leave. What is queued goes on."), _quit),
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
    talk.say(tr("Goodbye. What is queued goes on."))
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
        talk.say(tr("Stopped. What is queued goes on."))
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
