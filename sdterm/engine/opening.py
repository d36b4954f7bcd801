"""Opening a run: everything before the first step."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdterm.core.library.checkpoints import Library, file_stems
from sdterm.core.planning.choices import Choices
from sdterm.core.planning.plan import Plan
from sdterm.core.prompt.embeddings import find_embeddings
from sdterm.core.prompt.networks import extract
from sdterm.core.settings.paths import EMBEDDINGS
from sdterm.core.text import printable
from sdterm.engine.header import header
from sdterm.engine.loading import Loader, choose_optimizers
from sdterm.engine.run import Run
from sdterm.engine.sample import noise_levels
from sdterm.engine.schedule import pass_sigmas
from sdterm.engine.tape import Tape
from sdterm.events import Started, Warning
from sdterm.hooks import ModelFamily


def open_run(run: Run, loader: Loader, library: Library, tape: Path | None) -> Run:
    """Weights, sigmas and tape for what was settled. Raises what cannot be loaded."""
    optimizers, refused = choose_optimizers(run.choices, run.plugins, run.device)
    run.emit(_started(run.plan, run.choices))
    for plugin in run.plugins.problems:
        source = plugin.source.slug
        said = Warning(code="plugin_skipped", message=f"{source} was not loaded: {plugin.error}", source=source)
        # One that is switched off or not trusted is as its user wants it; one that is broken may be missed.
        run.warn(said, keep=not plugin.source.refusal)
    for left in refused:
        run.warn(left)
    if warning := _ignored_networks(run.plan):
        run.emit(warning)
    model, optimizers = loader.load_as_asked(replace(run, optimizers=optimizers))
    with run.plugins.guard(run.choices.family):
        warning = _ignored_embeddings(run.plan, run.choices.family, file_stems(library.root / EMBEDDINGS))
    if warning:
        run.emit(warning)
    levels = noise_levels(run.request, run.choices.sampler, run.plugins, model)
    sigmas = tuple(pass_sigmas(run.choices, run.request, each, run.plugins, levels) for each in run.plan.passes)
    run = replace(run, optimizers=optimizers, sigmas=sigmas)
    opened = Tape(header(run), tape)
    if opened.mismatch:
        changed = ", ".join(opened.mismatch)
        run.emit(Warning(code="tape_restarted", message=f"The tape was made with another {changed}: starting again."))
    return replace(run, tape=opened)


def _ignored_networks(plan: Plan) -> Warning | None:
    """Of the network tags in the prompts, which nothing applies yet."""
    found = (tag for image in plan.images for tag in extract(image.prompt)[1])
    tags = dict.fromkeys(":".join((tag.kind, *tag.args)) for tag in found)
    if not tags:
        return None
    named = ", ".join(f"<{printable(tag, 60)}>" for tag in list(tags)[:5]) + (" …" if len(tags) > 5 else "")
    return Warning(code="network_ignored", message=f"Networks are not applied yet; drawn without {named}.")


def _ignored_embeddings(plan: Plan, family: ModelFamily, there: Sequence[str]) -> Warning | None:
    """Of the embeddings' names in the prompts, which are read as words so far."""
    tokenize = family.tokenize
    if tokenize is None:
        return None
    names = {name: tokenize(name) for name in there}
    texts = {text for image in plan.images for text in (image.prompt, image.negative_prompt)} if names else set()
    found = {embedding.name for text in texts for embedding in find_embeddings(tokenize(text), names)}
    if not found:
        return None
    named = ", ".join(printable(name, 60) for name in sorted(found)[:5])
    return Warning(code="embedding_ignored", message=f"Embeddings are not applied yet; read as words: {named}.")


def _started(plan: Plan, choices: Choices) -> Started:
    return Started(
        model=plan.model,
        model_hash=plan.model_hash[:10],
        sampler=plan.passes[0].sampler,
        scheduler=plan.passes[0].scheduler,
        seed=plan.images[0].seed,
        width=plan.width,
        height=plan.height,
        images=len(plan.images),
        demo=choices.checkpoint.embedded,
        vae=plan.vae,
        data=plan.model_dump_json().encode(),
    )
