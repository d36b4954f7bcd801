"""The command line. Commands live in modules of their own and are imported when they are named."""

import os
import sys
from typing import Any

import click

from sdterm.cli.errors import EXIT_CANCELLED, EXIT_CODES, report, say
from sdterm.cli.lazy import LazyGroup
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.spellings import corrected
from sdterm.version import __version__

COMMANDS = {
    "generate": "Draw a prompt.",
    "hires": "Draw a picture's hires version.",
    "img2img": "Draw the pictures of a folder anew.",
    "upscale": "Make pictures larger.",
    "plan": "Say how much memory a picture needs, and what fits.",
    "attach": "Watch a job again.",
    "queue": "List jobs; pause, resume, retry and move them.",
    "cancel": "Stop a job for good.",
    "gallery": "List and export saved pictures.",
    "trash": "List or empty the trash.",
    "serve": "Serve programs on this machine or others, A1111's API with --api.",
    "token": "Make, list and revoke tokens for clients on other machines.",
    "host": "Start and stop the background process that draws.",
    "prompt": "Show how a prompt is read, and its traps.",
    "models": "List the model files that sdterm finds; add models.",
    "import-a1111": "Take over settings, flags and styles from an A1111 installation.",
    "samplers": "List samplers and schedules.",
    "plugins": "List plugins, where they come from, and what is wrong with them.",
    "ext": "Get extensions, and write them.",
    "info": "Show how an image was made.",
    "interrogate": "Say in words what is on a picture.",
    "verify": "Draw an image again from its infotext and compare.",
    "locale": "Check and begin translations of the workstation.",
    "keys": "Show the workstation's keys, or what the terminal sends for one.",
    "tune": "Find the fastest way to compute here, and keep it.",
    "doctor": "Check the machine and say what to mend.",
    "flags": "List every flag, A1111's included.",
    "completion": "Print the shell's completion script.",
}


_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


@click.group(
    cls=LazyGroup,
    table={name: (f"sdterm.cli.{name.replace('-', '_')}", sentence) for name, sentence in COMMANDS.items()},
    name="sdterm",
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="sdterm %(version)s")
@flag_options
@click.pass_context
def sdterm(context: click.Context, /, **flags: Any) -> None:
    """sdterm: a Stable Diffusion workstation for the terminal.

    Without a command it opens the workstation, where everything is done by keys.
    """
    if context.invoked_subcommand is not None:
        return
    settings = settings_of(context)
    if settings["nowebui"]:
        from sdterm.cli.serve import serve_with

        serve_with(settings)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):  # nobody is there to press keys
        click.echo(context.get_help())
        return
    from sdterm.tui import work

    work(settings)


def main() -> None:
    """Run the command line; every expected error ends as one sentence and an exit code."""
    try:
        words, notes = corrected(sys.argv[1:])
        for note in notes:
            say(note)
        code = sdterm(words, standalone_mode=False)
    except KeyboardInterrupt:
        click.echo("Cancelled.", err=True)
        code = EXIT_CANCELLED
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = report(error)
    sys.exit(code if isinstance(code, int) else 0)
