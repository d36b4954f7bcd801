"""Opening a run: everything before the first step."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.choices import Choices
from sdterm.core.planning.plan import Plan
from sdterm.core.text import printable
from sdterm.engine.approximate import load_approximations
from sdterm.engine.device import has_bf16_units
from sdterm.engine.header import first_pass_of, header, pass_headers
from sdterm.engine.ladder import begun, going_down
from sdterm.engine.loading import Loader, choose_optimizers
from sdterm.engine.memory import planned
from sdterm.engine.network_files import find_networks
from sdterm.engine.run import FirstPass, Run
from sdterm.engine.tape import DENOISER, Tape
from sdterm.events import Started, Warning
from sdterm.messages import message

_MOST_REASONS = 5  # told one by one


def open_run(
    run: Run,
    loader: Loader,
    library: Library,
    tape: Path | None,
    first_pass: FirstPass | None = None,
    other_tapes: Sequence[Path] = (),
) -> Run:
    """Weights and tape for what was settled. Raises what cannot be loaded."""
    optimizers, refused = choose_optimizers(run.choices, run.plugins, run.device, run.dtype)
    run, forecast = planned(begun(replace(run, optimizers=optimizers)))
    # Whoever goes on with it begins there, since another way to compute rounds differently.
    way = run.plan.request.model_copy(update={"rungs": run.rungs})
    together = run.request.batch_size if "split-batch" in run.rungs else None
    begun_with = run.plan.model_copy(update={"request": way, "together": together})
    run.emit(_started(begun_with, run.choices, forecast))
    for plugin in run.plugins.problems:
        source = plugin.source.slug
        said = Warning(
            code="plugin_skipped",
            message=message("{plugin} was not loaded: {reason}", plugin=source, reason=plugin.error),
            source=source,
        )
        # One that is switched off or not trusted is as its user wants it; one that is broken may be missed.
        run.warn(said, keep=not plugin.source.refusal)
    for left in refused:
        run.warn(left)
    if run.dtype == torch.bfloat16 and not has_bf16_units(run.device):
        slow = message("This device does not support bf16, so bf16 is slower here than the precision auto.")
        run.warn(Warning(code="slow_precision", message=slow), keep=False)
    for said in _unapplied(run.plan):
        run.emit(said)
    run = replace(run, networks=find_networks(run.plan, run.plugins, library))
    run = replace(run, approximations=load_approximations(run, library))
    run, (_, working) = going_down(run, loader, loader.load_as_asked)
    run = replace(run, optimizers=working)
    opened = Tape(header(run), tape, pass_headers(run))
    if opened.mismatch:
        changed = ", ".join(opened.mismatch)
        restarted = message("The job starts again: its tape was made with a different {what}.", what=changed)
        if opened.kept:
            restarted = message(
                "The job starts again from pass {number}: its tape was made with a different {what}.",
                number=opened.kept + 1,
                what=changed,
            )
        run.emit(Warning(code="tape_restarted", message=restarted))
    for other in other_tapes:
        opened.take_over(other, [index for batch in run.batches() for index in batch if run.share.has(index)])
    if first_pass and not opened.recorded(0, 0, DENOISER):
        found = (first_pass_of(run, other, first_pass.image) for other in first_pass.tapes)
        if theirs := next(filter(None, found), None):
            opened.adopt(theirs, 0, 0)
    return replace(run, tape=opened)


def _unapplied(plan: Plan) -> list[Warning]:
    """Of the network tags in the prompts that do nothing, by reason."""
    reasons: dict[str, dict[str, None]] = {}
    for image in plan.images:
        for each in image.unapplied:
            reasons.setdefault(each.reason, {})[each.tag] = None
    return [
        Warning(
            code="network_ignored",
            message=message("Ignored: {tags}. {reason}", tags=_named(tags), reason=printable(reason, 400)),
        )
        for reason, tags in list(reasons.items())[:_MOST_REASONS]
    ]


def _named(tags: Iterable[str]) -> str:
    names = [printable(tag, 60) for tag in tags]
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _started(plan: Plan, choices: Choices, forecast: str) -> Started:
    return Started(
        model=plan.model,
        model_hash=plan.model_hash[:10],
        sampler=plan.passes[0].sampler,
        scheduler=plan.passes[0].scheduler,
        seed=plan.images[0].seed,
        width=plan.width,
        height=plan.height,
        images=len(plan.images),
        demo=choices.first.model.checkpoint.embedded,
        vae=plan.vae,
        memory=forecast,
        data=plan.model_dump_json().encode(),
    )
