"""`sdterm plugins`: what is installed, where it comes from, what is wrong with it."""

from collections.abc import Iterator

import click

from sdterm.cli.offered import asked_of_host, lying
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.extensions.kinds import BY_NAME
from sdterm.core.text import printable
from sdterm.hooks import Sampler, Scheduler
from sdterm.messages import message

_ELSEWHERE = {Sampler.__name__, Scheduler.__name__}
"""Kinds whose options `sdterm samplers` lists."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """List plugins: name, where it comes from (of a package its name and version), what it gives, and what `--set`
    changes of that."""
    settings = settings_of(context)
    served = asked_of_host(settings, lambda host: (host.catalogue(), host.extensions()))
    catalogue, standing = served or (lying(settings), ())
    stale = {extension.slug: extension.message for extension in standing if extension.state == "stale"}
    if as_json:
        print_json("[" + ",\n ".join(plugin.model_dump_json() for plugin in catalogue.plugins) + "]")
        return
    came = [f"{plugin.origin} {plugin.version}".strip() for plugin in catalogue.plugins]
    width, wide = max(len(plugin.slug) for plugin in catalogue.plugins), min(30, max(map(len, came)))
    for plugin, where in zip(catalogue.plugins, came, strict=True):
        what = f"not loaded: {plugin.error}" if plugin.error else ", ".join(plugin.gives)
        click.echo(printable(f"{plugin.slug:<{width}}  {where:<{wide}}  {what}", limit=1000))
        if plugin.slug in stale:
            said = message(
                "The newest version was not loaded, this is the one before it: {why}", why=stale[plugin.slug]
            )
            click.echo(printable(f"{'':<{width}}    {said}", limit=1000))
        for name, about in _options(catalogue, plugin.slug):
            click.echo(printable(f"{'':<{width}}    --set {name}  {about}", limit=1000).rstrip())


def _options(catalogue: Catalogue, slug: str) -> Iterator[tuple[str, str]]:
    """The options of what a plugin gives: name and default, and what it is for."""
    for offer in catalogue.offers:
        if offer.plugin == slug and offer.kind not in _ELSEWHERE:
            before = f"{offer.id}." if BY_NAME[offer.kind].several else ""
            for option in offer.options:
                yield f"{before}{option.name}={option.default}", option.help
