"""The command line. Commands live in modules of their own and are imported when they are named."""

import contextlib
import os
import sys
from typing import Any

import click

from sdterm.cli.errors import EXIT_CANCELLED, EXIT_CODES, report, say
from sdterm.cli.headings import SpokenHelp
from sdterm.cli.lazy import LazyGroup
from sdterm.cli.options import flag_options, settings_of, speak
from sdterm.cli.spellings import corrected
from sdterm.core.settings.settings import ConfigError, resolve
from sdterm.messages import message
from sdterm.version import __version__

GROUPS = {
    message("Generate"): {
        "generate": message("Generate images from a prompt."),
        "img2img": message("Generate a new image from each image of a folder."),
        "hires": message("Run hires fix on an image."),
        "upscale": message("Make images larger."),
        "verify": message("Generate an image again from its infotext, and compare."),
        "plan": message("Show how much memory an image needs, and whether it fits."),
    },
    message("Jobs and images"): {
        "queue": message("List jobs; pause, resume, retry and move them."),
        "attach": message("Follow a job from its beginning."),
        "cancel": message("Cancel a job."),
        "gallery": message("Find, list and export saved images."),
        "info": message("Show how an image was made."),
        "interrogate": message("Describe an image in words."),
        "trash": message("List deleted images, or empty the trash."),
    },
    message("Prompts and models"): {
        "prompt": message("Show how a prompt is read, and its traps."),
        "samplers": message("List samplers and schedule types."),
        "models": message("List model files, and add models."),
    },
    message("Extensions"): {
        "ext": message("Install, write and test extensions."),
        "plugins": message("List plugins, where they come from, and what is wrong with them."),
    },
    message("This machine"): {
        "doctor": message("Check the machine, and show how to repair what is wrong."),
        "tune": message("Measure which settings are fastest on this machine, and save them."),
        "host": message("Start and stop the background process that generates images."),
        "serve": message("Serve programs on this machine or others, A1111's API with --api."),
        "token": message("Make, list and revoke tokens for clients on other machines."),
        "import-a1111": message("Take over settings, flags and styles from an A1111 installation."),
    },
    message("sdterm itself"): {
        "flags": message("List every flag, A1111's included."),
        "keys": message("List the workstation's keys, or show what the terminal sends for one."),
        "locale": message("Check translations, and start new ones."),
        "completion": message("Print the shell's completion script."),
    },
}
"""Heading → command → sentence."""
COMMANDS = {name: sentence for commands in GROUPS.values() for name, sentence in commands.items()}

_HELP = (
    message("A Stable Diffusion workstation for the terminal."),
    message(
        "Without a command it opens the workstation. `sdterm COMMAND --help` shows more about a command. A1111's flags "
        "(--ckpt, --medvram, --xformers, --api, …) work as well: `sdterm flags` lists them."
    ),
)


@click.group(
    cls=LazyGroup,
    table={name: (f"sdterm.cli.{name.replace('-', '_')}", sentence) for name, sentence in COMMANDS.items()},
    headings=GROUPS,
    name="sdterm",
    invoke_without_command=True,
    last={message("Exit codes"): {str(code): meaning for code, meaning in EXIT_CODES.items()}},
    help="\n\n".join(_HELP),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="sdterm %(version)s")
@flag_options
@click.pass_context
def sdterm(context: click.Context, /, **flags: Any) -> None:
    """Work without a command."""
    if context.invoked_subcommand is not None:
        return
    settings = settings_of(context)
    if settings["nowebui"]:
        from sdterm.cli.serve import serve_with

        serve_with(settings)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if settings["plain"] or (is_terminal and os.environ.get("TERM") == "dumb" and _wants_plain_mode()):
        from sdterm.cli.plain import converse

        context.exit(converse(settings))
    if not (is_terminal or settings["in_page"]):  # nobody is there to press keys
        click.echo(context.get_help())
        return
    from sdterm.tui import work

    work(settings)


def _wants_plain_mode() -> bool:
    from sdterm.tui.language import tr

    click.echo(tr("This terminal can only print lines (TERM=dumb), and the workstation needs a whole screen."))
    return click.confirm(tr("Open plain mode instead, as `sdterm --plain` does?"), default=True)


def main() -> None:
    """Run the command line; every expected error ends as one sentence and an exit code."""
    click.Context.formatter_class = SpokenHelp  # of all commands
    with contextlib.suppress(ConfigError):  # the command says it, unless it is to show its help
        speak(resolve({}, os.environ))
    try:
        words, notes = corrected(sys.argv[1:])
        for note in notes:
            say(note)
        code = sdterm(words, prog_name="sdterm", standalone_mode=False)
    except KeyboardInterrupt:
        click.echo("Cancelled.", err=True)
        code = EXIT_CANCELLED
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = report(error)
    sys.exit(code if isinstance(code, int) else 0)
