"""The ladder: what a job gives up, step by step, to need less memory.

A run goes down it where memory runs out, the planner by what it predicts. Each step helps some stages of a job. Steps
that keep every pixel come first, then those that may be seen; of each, the fastest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sdterm.core.planning.choices import Chosen, options_of
from sdterm.fields import Ladder, Rung
from sdterm.hooks import MemoryOptimizer
from sdterm.messages import message

Optimizer = Chosen[MemoryOptimizer]
Stage = str
"""`load`, `sample` or `decode`: the last is every way between latents and pixels."""


@dataclass(frozen=True)
class Step:
    """A rung of the ladder: in words, and the stages that need less memory below it."""

    rung: Rung
    words: str
    helps: tuple[Stage, ...]


LADDER: tuple[Step, ...] = (
    Step("drop-caches", message("no other models in memory"), ("load", "sample", "decode")),
    Step("vae-tiling", message("tiled VAE"), ("decode",)),
    Step("lean-attention", message("lean attention"), ("sample",)),
    Step("apart", message("prompt and negative prompt separately"), ("sample",)),
    Step("split-batch", message("smaller batches"), ("sample",)),
    Step("text-offload", message("text encoders offloaded while sampling"), ("sample", "decode")),
    Step("component-offload", message("one component of the model at a time"), ("load", "sample", "decode")),
    Step("block-offload", message("one block of the network at a time"), ("load", "sample")),
)
WORDS: dict[Rung, str] = {step.rung: step.words for step in LADDER}


@dataclass(frozen=True)
class How:
    """How a job is computed, as far as it matters for memory."""

    optimizers: tuple[Optimizer, ...]
    apart: bool
    """Whether prompt and negative prompt run one after the other."""
    batch: int
    """How many images are drawn together at most."""
    rungs: tuple[Rung, ...] = ()
    """The steps of the ladder that led here."""

    def below(self, rung: Rung, offered: Sequence[MemoryOptimizer]) -> "How | None":
        """One step further down; None where that cannot be taken (any more). offered: the optimizers that can be used.
        One of them is turned on once: whoever takes it off again, as it failed, is not given it twice."""
        rungs = tuple(dict.fromkeys((*self.rungs, rung)))
        match rung:
            case "drop-caches":
                return replace(self, rungs=rungs) if rung not in self.rungs else None
            case "apart":
                return replace(self, apart=True, rungs=rungs) if not self.apart else None
            case "split-batch":
                return replace(self, batch=(self.batch + 1) // 2, rungs=rungs) if self.batch > 1 else None
        optimizer = offered_for(rung, offered)
        if not optimizer or rung in self.rungs or any(each.of.rung == rung for each in self.optimizers):
            return None
        others = [each for each in self.optimizers if each.of.group != optimizer.group]
        on = Chosen(optimizer, options_of(optimizer, {}))
        return replace(self, optimizers=(*others, on), rungs=rungs)

    def lowest(self, rungs: Sequence[Rung], offered: Sequence[MemoryOptimizer], together: int | None = None) -> "How":
        """As far down as these steps go. together: how many images are drawn together where batches are split; unset is
        one."""
        how = self
        for rung in rungs:
            if rung == "split-batch" and together:
                how = replace(how, batch=min(how.batch, together), rungs=tuple(dict.fromkeys((*how.rungs, rung))))
                continue
            while lower := how.below(rung, offered):
                how = lower
        return how


def offered_for(rung: Rung, offered: Sequence[MemoryOptimizer]) -> MemoryOptimizer | None:
    """The optimizer that a step turns on: the first of it that leaves the samples as they are."""
    kept = (each for each in offered if each.effect != "visible" or each.decodes_only)
    return next((each for each in kept if each.rung == rung), None)


def step_down(how: How, stage: Stage, offered: Sequence[MemoryOptimizer], ladder: Ladder) -> tuple[How, Rung] | None:
    """The best step that lets a stage need less memory; None where there is none (any more). Caches are no way to
    compute: who has some drops them first."""
    if ladder == "off":
        return None
    steps = [step.rung for step in LADDER if stage in step.helps and step.rung != "drop-caches"]
    for may_be_seen in (False, True)[: 1 if ladder == "exact" else 2]:
        for rung in steps:
            optimizer = offered_for(rung, offered)
            seen = optimizer is not None and optimizer.effect == "visible"
            if seen == may_be_seen and (lower := how.below(rung, offered)):
                return lower, rung
    return None
