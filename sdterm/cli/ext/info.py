"""`sdterm ext info`."""

import time
from collections.abc import Iterator

import click

from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.install.listing import STATES, Listed, find_listed
from sdterm.core.extensions.install.records import notes
from sdterm.core.extensions.manifest import CAPABILITIES
from sdterm.core.text import printable

_LINES = 10  # of the log


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def info(context: click.Context, name: str, as_json: bool) -> None:
    """Show details of the extension NAME, without running it."""
    root = settings_of(context).root
    row = find_listed(root, name)
    if as_json:
        print_json(row.model_dump_json())
        return
    for what, said in _facts(row):
        click.echo(f"{what + ':':<13}{printable(said, limit=1000)}")
    for line in notes(root, row.slug)[-_LINES:]:
        click.echo(printable(f"{_day(line.get('time'))}  {line.get('what')}  {line.get('version', '')}"))


def _facts(row: Listed) -> Iterator[tuple[str, str]]:
    yield "name", f"{row.slug} {row.version}".strip()
    if row.description:
        yield "description", row.description
    yield "state", STATES[row.state] + (f": {row.why}" if row.why else "")
    yield "came", f"{row.came}{f' from {row.source}' if row.source else ''}"
    if row.installed:
        yield "approved", _day(row.installed)
    yield "content", row.digest
    if row.location:
        yield "lies in", row.location
    if row.capabilities:
        yield "says", "; ".join(f"it {CAPABILITIES[name]}" for name in row.capabilities)
    if row.packages:
        yield "brought", ", ".join(row.packages)


def _day(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return "?"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
