"""`sdterm token`: who may use this host over the network."""

import json
import time
from datetime import datetime

import click

from sdterm.cli.errors import UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.rundir import RunFolder, make_private, run_folder_of
from sdterm.core.settings.tokens import SCOPES, Scope, new_token, read_tokens, revoke_token

_SECONDS = {"h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}
_LONGEST = 100 * 365 * _SECONDS["d"]


@click.group()
def token() -> None:
    """Make, list and revoke tokens: what a program on another machine shows to use this host."""


@token.command(epilog="Example: sdterm token new laptop --scope admin --expires 30d > laptop.token")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="generate",
    help="read: look at everything; generate: draw, too; admin: delete pictures and steer queue and devices, too. "
    "[generate]",
)
@click.option("--expires", metavar="TIME", help="When it ends: in hours, days or weeks, like 12h, 30d or 8w. [never]")
@flag_options
@click.pass_context
def new(context: click.Context, name: str, scope: Scope, expires: str | None) -> None:
    """Make a token and print it. It is shown this once: only a hash of it is kept."""
    now = time.time()
    ends = None if expires is None else now + _seconds(expires)
    secret = new_token(_run_folder(context).tokens, name, scope, now, ends)
    click.echo(secret)
    lasts = "does not expire" if ends is None else f"expires on {_day(ends)}"
    say(f"The token {name} allows {scope} and {lasts}. It is shown only now; keep it in a file that only you can read.")


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print tokens, one JSON object a line.")
@flag_options
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List the tokens: name, scope, when each was made and when it expires."""
    now = time.time()
    tokens = read_tokens(_run_folder(context).tokens)
    for each in tokens:
        if as_json:
            shown = {"name": each.name, "scope": each.scope, "created": each.created, "expires": each.expires}
            print_json(json.dumps(shown))
        else:
            ends = "never expires" if each.expires is None else f"expires {_day(each.expires)}"
            state = "expired" if each.is_expired(now) else ends
            click.echo(f"{each.name}  {each.scope}  made {_day(each.created)}  {state}")
    if not tokens and not as_json:
        say("There are no tokens. `sdterm token new NAME` makes one.")


@token.command()
@click.argument("name")
@flag_options
@click.pass_context
def revoke(context: click.Context, name: str) -> None:
    """Make a token worthless, at once: connections that were opened with it end."""
    revoke_token(_run_folder(context).tokens, name)
    say(f"The token {name} is worthless now.")


def _run_folder(context: click.Context) -> RunFolder:
    settings = settings_of(context)
    prepare(settings.root)
    run_folder = run_folder_of(settings.root)
    make_private(run_folder)
    return run_folder


def _seconds(text: str) -> float:
    """Raises UsageError."""
    number, unit = text[:-1], text[-1:].lower()
    seconds = int(number) * _SECONDS[unit] if number.isdecimal() and unit in _SECONDS else 0.0
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"--expires is {text!r}, but it must be hours, days or weeks, like 12h, 30d or 8w.")
    return seconds


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
