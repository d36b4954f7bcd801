"""`sdterm flags`: the whole flag table."""

import click

from sdterm.cli.options import flag_options, settings_of
from sdterm.core.settings.flags import FLAGS, Flag
from sdterm.core.settings.settings import SECRET, Settings
from sdterm.core.text import printable
from sdterm.messages import message

HEADINGS = {
    "ours": "sdterm's own",
    "mapped": "A1111's, honoured",
    "launcher": "of launch.py",
    "later": "not there yet",
    "obsolete": "no longer needed",
}
"""Status of a flag → its words."""


@click.command()
@flag_options
@click.pass_context
def flags(context: click.Context) -> None:
    """List every flag: sdterm's own, A1111's that have an effect, and what became of the others.

    Each that has an effect is listed with what it costs and, where it is set, who set it.
    """
    settings = settings_of(context)
    width = max(len(flag.name) for flag in FLAGS)
    for status, heading in HEADINGS.items():
        click.echo(f"{heading}:")
        for flag in FLAGS:
            if flag.status == status:
                click.echo(f"  {flag.name:<{width}}  {flag.sentence}")
                for more in filter(None, (flag.cost and f"Costs: {flag.cost}.", _now(flag, settings))):
                    click.echo(f"  {'':<{width}}  {printable(more, limit=400)}")


def _now(flag: Flag, settings: Settings) -> str:
    """What a flag's settings are, where somebody has set them to what it sets."""
    if flag.change is None:
        return ""
    if flag.arity != "flag":
        keys = [key for key in _keys(flag) if settings.values[key].source != "default"]
        shown = {key: "set" if key in SECRET else settings[key] for key in keys}
        return "; ".join(f"Now: {value}, by {settings.values[key].source}." for key, value in shown.items())
    key, wanted = next(iter(flag.change(True).items()))  # what else it sets another flag may have taken back
    source = settings.values[key].source
    return (
        message("Now: on, by {source}.", source=source) if source != "default" and _holds(settings[key], wanted) else ""
    )


def _keys(flag: Flag) -> list[str]:
    """The settings of a flag with a value; those of one that refuses any plain number are not known."""
    assert flag.change
    keys = [*flag.change(flag.example if flag.arity == "value" else (flag.example,))]
    return [] if keys == ["memory"] else keys


def _holds(value: object, wanted: object) -> bool:
    return set(wanted) <= set(value) if isinstance(wanted, tuple) and isinstance(value, tuple) else value == wanted
