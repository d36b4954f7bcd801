"""`sdterm samplers`: samplers and schedules, with their options."""

import click

from sdterm.cli.offered import asked_of_host, by_extensions, offered, told_of
from sdterm.cli.options import flag_options, settings_of
from sdterm.cli.print_json import print_json
from sdterm.core.extensions.catalogue import Offer
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.library.checkpoints import ModelFileError, library_of
from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.core.library.recognition import Recognition, recognition
from sdterm.core.names import find
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.tui.language import tr

_NOT_FOR = {"vp": "not for diffusion models", "flow": "not for rectified-flow models"}


@click.command()
@click.option("--model", metavar="NAME", help="For this checkpoint: what cannot draw with it comes last.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@flag_options
@click.pass_context
def samplers(context: click.Context, model: str | None, as_json: bool) -> None:
    """List samplers and noise schedules, with their other names and their options."""
    settings = settings_of(context)
    found = _recognised(model, settings) if model else None
    if found and found.pipeline:
        _of_pipeline(found.pipeline, as_json)
        return
    catalogue = offered(settings)
    process = found.process if found else None

    def unfit(offer: Offer) -> str:
        return "" if process is None or offer.draws(process) else _NOT_FOR[process]

    def listed(kind: str) -> list[Offer]:
        return sorted(catalogue.of(kind), key=lambda offer: bool(unfit(offer)))

    if as_json:
        offers = [*listed("Sampler"), *listed("Scheduler")]
        print_json("[" + ",\n ".join(offer.model_dump_json() for offer in offers) + "]")
        return
    for title, kind in (("Samplers", "Sampler"), ("Schedules", "Scheduler")):
        click.echo(f"{title}:")
        for offer in listed(kind):
            click.echo(printable(f"  {offer.label:<17} {_details(offer, unfit(offer))}").rstrip())


def _details(offer: Offer, unfit: str) -> str:
    options = " ".join(f"{option.name}={option.default}" for option in offer.options)
    return "; ".join(part for part in (unfit, ", ".join(offer.aliases), offer.note, options) if part)


def _of_pipeline(facts: PipelineFacts, as_json: bool) -> None:
    """What a model that a pipeline draws with can be stepped with, and what else it takes."""
    if as_json:
        print_json(facts.model_dump_json())
        return
    click.echo("Samplers:")
    for number, (name, schedules) in enumerate(facts.samplers.items()):
        said = ("" if number else tr("the model's own"), ", ".join(schedules))
        click.echo(printable(f"  {name:<26} {'; '.join(part for part in said if part)}").rstrip())
    click.echo(tr("Options, for --set:"))
    for option in facts.options:
        value = "" if option.unset else f"={option.default}"
        click.echo(printable(f"  {option.name + value:<32} {option.help}", limit=300).rstrip())


def _recognised(name: str, settings: Settings) -> Recognition:
    """A checkpoint. Raises UnknownNameError, ModelFileError."""
    if settings["connect"]:
        models = asked_of_host(settings, lambda host: host.models()) or []
        found = told_of(find("checkpoint", name, {model.name: model for model in models}))
    else:
        checkpoint = library_of(settings).find(name)
        found = recognition(checkpoint, load_plugins(None, third_party=False))
        if not found.usable:
            found = by_extensions(settings, [checkpoint]).get(checkpoint, found)
    if not found.usable:
        raise ModelFileError(found.note)
    return found
