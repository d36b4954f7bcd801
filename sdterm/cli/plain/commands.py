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
        talk.say(tr("Where PICTURE is left out, the one that was picked is meant, or else the newest."))


def _quit(talk: Dialogue, words: str) -> None:
    raise EOFError


COMMANDS = (
    Command("generate", "[PROMPT]", message("Draw a prompt; without one you are asked for it."), drawing.generate),
    Command("negative", "[TEXT]", message("Change the negative prompt; a hyphen takes it out."), drawing.negative),
    Command("set", "[NAME VALUE]", message("Change a parameter, like: set steps 30."), parameters.change),
    Command(
        "pick", "[NAME|PICTURE]", message("Choose a parameter's value from a list, or a picture."), parameters.pick
    ),
    Command("values", "[all]", message("Tell the prompts and the parameters; all: every one."), parameters.values),
    Command("reset", "NAME|all", message("Take a parameter back to what the settings say."), parameters.reset),
    Command("undo", "", message("Take back the last change of prompts and parameters."), parameters.undo),
    Command("redo", "", message("Do again what was taken back."), parameters.redo),
    Command("prompts", "[NUMBER]", message("List the prompts of before; a number takes one."), parameters.prompts),
    Command("vary", "[PICTURE]", message("Draw five variations of a picture."), drawing.vary),
    Command("again", "[PICTURE]", message("Draw a picture once more."), drawing.again),
    Command("hires", "[PICTURE]", message("Draw a picture's hires version."), drawing.hires),
    Command("show", "[PICTURE]", message("Tell how a picture was drawn, and where its file is."), pictures.show),
    Command("load", "[PICTURE]", message("Take over a picture's prompts and parameters."), pictures.load),
    Command("compare", "PICTURE PICTURE ...", message("Tell what was different in drawing them."), pictures.compare),
    Command(
        "gallery", "[WORDS]", message("List the saved pictures, or those with these words or terms."), pictures.gallery
    ),
    Command("delete", "PICTURE", message("Move a picture to the trash."), pictures.delete),
    Command("restore", "PICTURE", message("Bring a picture back from the trash."), pictures.restore),
    Command("queue", "", message("List the jobs."), jobs.queue),
    Command("watch", "[JOB]", message("Follow a job; Control C leaves it to itself."), jobs.watch),
    Command("pause", "[JOB]", message("Let a job wait, or the whole queue."), jobs.pause),
    Command("resume", "[JOB]", message("Go on with a job, or with the queue."), jobs.resume),
    Command("cancel", "JOB", message("Cancel a job."), jobs.cancel),
    Command("retry", "JOB", message("Try a failed job again."), jobs.retry),
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
