"""`sdterm token`: who may use this host over the network."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

import click

from sdterm.cli.errors import UsageError, say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.numbers import whole_number
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.rundir import RunFolder, make_private, run_folder_of
from sdterm.core.settings.tokens import SCOPES, Scope, new_token, read_tokens, revoke_token
from sdterm.messages import message, sentences
from sdterm.tui.language import tr

_SECONDS = {"h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}
_LONGEST = 100 * 365 * _SECONDS["d"]


@click.group()
def token() -> None:
    """Make, list and revoke tokens: what a program on another machine shows to use this host."""


@token.command(epilog="Example: sdterm token new laptop --scope admin --expires 30d --file laptop.token")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="generate",
    help="read: look at everything; generate: draw, too; admin: delete pictures and steer queue and devices, too. "
    "[generate]",
)
@click.option("--expires", metavar="TIME", help="When it ends: in hours, days or weeks, like 12h, 30d or 8w. [never]")
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this new file, for you alone to read."
)
@flag_options
@click.pass_context
def new(context: click.Context, name: str, scope: Scope, expires: str | None, file: Path | None) -> None:
    """Make a token and print it. It is shown this once: only a hash of it is kept."""
    now = time.time()
    ends = None if expires is None or expires == "never" else now + _seconds(expires)
    tokens = _run_folder(context).tokens
    if file:
        with _new_file(file) as written:
            written.write(new_token(tokens, name, scope, now, ends) + "\n")
    else:
        click.echo(new_token(tokens, name, scope, now, ends))
    say(
        sentences(
            message("The token {name} allows {scope} and does not expire.", name=name, scope=scope)
            if ends is None
            else message(
                "The token {name} allows {scope} and expires on {day}.", name=name, scope=scope, day=_day(ends)
            ),
            "" if file else message("It is shown only now; keep it in a file that only you can read."),
        )
    )


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
            ends = tr("never expires") if each.expires is None else tr("expires {day}", day=_day(each.expires))
            state = tr("expired") if each.is_expired(now) else ends
            click.echo(f"{each.name}  {each.scope}  {tr('made {day}', day=_day(each.created))}  {state}")
    if not tokens and not as_json:
        say(message("There are no tokens. `sdterm token new NAME` makes one."))


@token.command()
@click.argument("name")
@flag_options
@click.pass_context
def revoke(context: click.Context, name: str) -> None:
    """Revoke a token, at once: connections that were opened with it end."""
    revoke_token(_run_folder(context).tokens, name)
    say(message("The token {name} was revoked.", name=name))


def _run_folder(context: click.Context) -> RunFolder:
    settings = settings_of(context)
    prepare(settings.root)
    run_folder = run_folder_of(settings.root)
    make_private(run_folder)
    return run_folder


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file for this user alone, which is gone again if it gets no token. Raises UsageError."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise UsageError(message("{path} cannot be made: {why}.", path=path, why=error.strerror)) from error
    with open(descriptor, "w", encoding="ascii") as file:
        try:
            yield file
        except BaseException:
            path.unlink()
            raise


def _seconds(text: str) -> float:
    """Raises UsageError."""
    seconds = whole_number(text[:-1]) * _SECONDS.get(text[-1:].lower(), 0.0)
    if not 0 < seconds <= _LONGEST:
        raise UsageError(
            message("--expires is '{text}', but it must be hours, days or weeks, like 12h, 30d or 8w.", text=text)
        )
    return seconds


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
