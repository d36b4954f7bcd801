"""`sdterm ext list`."""

import click

from sdterm.cli.errors import say
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.install.listing import STATES, listed
from sdterm.core.text import printable
from sdterm.messages import message


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def list(context: click.Context, as_json: bool) -> None:
    """List extensions: name, version, where from, whether they run."""
    settings = settings_of(context)
    rows = listed(settings.root)
    if as_json:
        print_json("[" + ",\n ".join(row.model_dump_json() for row in rows) + "]")
        return
    if not settings["extensions"]:
        say(message("Extensions are all disabled (--safe, --disable-all-extensions or the setting `extensions`)."))
    if not rows:
        say(message("No extensions. `sdterm ext install SOURCE` installs one, `sdterm ext new NAME` begins one."))
        return
    width = max(len(row.slug) for row in rows)
    for row in rows:
        state = STATES[row.state] + (f": {row.why}" if row.why and row.state in ("refused", "gone") else "")
        came = f"{row.came} {row.version}" if row.came == "package" else row.came
        version = "" if row.came == "package" else row.version
        click.echo(printable(f"{row.slug:<{width}}  {version:<8}  {came:<9}  {state}", limit=1000))
