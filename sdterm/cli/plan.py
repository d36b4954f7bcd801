"""`sdterm plan`: what a picture needs of the memory, and which ways there are to need less."""

import json
from typing import Any

import click

from sdterm.cli.generate import request_of
from sdterm.cli.headings import HeadedCommand
from sdterm.cli.options import fields_of, flag_options, request_options, settings_of
from sdterm.cli.output import duration
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.checkpoints import library_of
from sdterm.core.planning.memory import line
from sdterm.core.prompt.styles import styles_of
from sdterm.core.settings.amounts import said
from sdterm.tui.language import tr


@click.command(cls=HeadedCommand, epilog="Example: sdterm plan --size 1024x1024 --batch 4")
@click.argument("prompt", required=False)
@request_options()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def plan(context: click.Context, /, prompt: str | None, as_json: bool, **given: Any) -> None:
    """Tell how much memory PROMPT would need, as asked for and on each step that a job takes when memory runs
    out. Nothing is drawn.

    Numbers with ~ are guesses from the size of the model: nothing like it was drawn here so far.
    """
    settings = settings_of(context)
    request = request_of(prompt or "", fields_of(given), settings)
    plugins = load_plugins(settings.root / "extensions", third_party=settings["extensions"])

    from sdterm import Engine  # torch: seconds

    engine = Engine(library=library_of(settings), device=settings["device"], limit_memory=settings["limit_memory"])
    there = engine.forecast(request, plugins, styles_of(settings))
    if as_json:
        plans = [
            {
                "plan": each.words,
                "rungs": each.how.rungs,
                "bytes": each.peak,
                "by_stage": dict(each.needs),
                "seconds": each.seconds,
                "measured": each.measured,
                "chosen": each is there.chosen,
            }
            for each in there.found
        ]
        print_json(json.dumps({"device": there.device, "free": there.room, "total": there.total, "plans": plans}))
        return
    click.echo(
        tr(
            "{device}: {room} of {total} can be used now.",
            device=there.device,
            room=said(there.room),
            total=said(there.total),
        )
    )
    for each in there.found:
        mark = "▸" if each is there.chosen else " "
        about = said(each.peak) if each.measured else f"~{said(each.peak)}"
        took = "" if each.seconds is None else duration(each.seconds)
        click.echo(f"{mark} {about:>9}  {took:>12}  {each.words}".rstrip())
    click.echo(line(there.chosen, there.room) if there.chosen else tr("Nothing of this fits."))
