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

GROUPS = {
    "Generate": {
        "generate": "Generate images from a prompt.",
        "img2img": "Generate a new image from each picture of a folder.",
        "hires": "Run hires fix on an image.",
        "upscale": "Make pictures larger.",
        "verify": "Generate an image again from its infotext, and compare.",
        "plan": "Tell how much memory an image needs, and whether it fits.",
    },
    "Jobs and pictures": {
        "queue": "List jobs; pause, resume, retry and move them.",
        "attach": "Follow a job from its beginning.",
        "cancel": "Cancel a job.",
        "gallery": "Find, list and export saved pictures.",
        "info": "Show how an image was made.",
        "interrogate": "Describe a picture in words.",
        "trash": "List deleted pictures, or empty the trash.",
    },
    "Prompts and models": {
        "prompt": "Show how a prompt is read, and its traps.",
        "samplers": "List samplers and schedules.",
        "models": "List model files, and add models.",
    },
    "Extensions": {
        "ext": "Install, write and test extensions.",
        "plugins": "List plugins, where they come from, and what is wrong with them.",
    },
    "This machine": {
        "doctor": "Check the machine, and tell how to repair what is wrong.",
        "tune": "Measure what is fastest on this machine, and keep it.",
        "host": "Start and stop the background process that generates images.",
        "serve": "Serve programs on this machine or others, A1111's API with --api.",
        "token": "Make, list and revoke tokens for clients on other machines.",
        "import-a1111": "Take over settings, flags and styles from an A1111 installation.",
    },
    "sdterm itself": {
        "flags": "List every flag, A1111's included.",
        "keys": "List the workstation's keys, or show what the terminal sends for one.",
        "locale": "Check translations, and begin new ones.",
        "completion": "Print the shell's completion script.",
    },
}
"""Heading → command → sentence."""
COMMANDS = {name: sentence for commands in GROUPS.values() for name, sentence in commands.items()}

_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


@click.group(
    cls=LazyGroup,
    table={name: (f"sdterm.cli.{name.replace('-', '_')}", sentence) for name, sentence in COMMANDS.items()},
    headings=GROUPS,
    name="sdterm",
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="sdterm %(version)s")
@flag_options
@click.pass_context
def sdterm(context: click.Context, /, **flags: Any) -> None:
    """A Stable Diffusion workstation for the terminal.

    Without a command it opens the workstation. `sdterm COMMAND --help` tells more of a command. A1111's flags (--ckpt,
    --medvram, --xformers, --api, …) work as well: `sdterm flags` lists them.
    """
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
