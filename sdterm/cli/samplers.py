"""`sdterm samplers`: samplers and schedules, with their options."""

import click

from sdterm.cli.offered import offered
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.catalogue import Offer
from sdterm.core.text import printable


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def samplers(context: click.Context, as_json: bool) -> None:
    """List samplers and noise schedules, with other names and options they have."""
    catalogue = offered(settings_of(context))
    if as_json:
        offers = [*catalogue.of("Sampler"), *catalogue.of("Scheduler")]
        print_json("[" + ",\n ".join(offer.model_dump_json() for offer in offers) + "]")
        return
    for title, kind in (("Samplers", "Sampler"), ("Schedules", "Scheduler")):
        click.echo(f"{title}:")
        for offer in catalogue.of(kind):
            click.echo(printable(f"  {offer.label:<17} {_details(offer)}").rstrip())


def _details(offer: Offer) -> str:
    options = " ".join(f"{option.name}={option.default}" for option in offer.options)
    return "; ".join(part for part in (", ".join(offer.aliases), offer.note, options) if part)
