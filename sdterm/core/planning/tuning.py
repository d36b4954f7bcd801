"""Which way of computing is the fastest here: ways are tried, measured and compared."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Plan = Mapping[str, Any]
"""The fields of a request that say how it is computed, where they are not as usual."""

CHANCE = 0.05
"""By so much of its time a plan must be faster to be taken."""


@dataclass(frozen=True)
class Measured:
    """A plan that was tried."""

    name: str
    plan: Plan = field(default_factory=dict)
    seconds: float = math.inf
    """A picture's."""
    memory: int = 0
    """The most bytes that it took."""
    psnr: float = math.inf
    """How far its picture is from the usual plan's, dB; infinite where it is the same."""
    reason: str = ""
    """Why it was not measured."""

    def fits(self, least_psnr: float) -> bool:
        return not self.reason and self.psnr >= least_psnr


def fastest(tried: Sequence[Measured], least_psnr: float) -> Measured:
    """Of those whose picture is near enough to that of the first, the usual one; the first of what is alike."""
    best = tried[0]
    for each in tried[1:]:
        if each.fits(least_psnr) and each.seconds < best.seconds * (1 - CHANCE):
            best = each
    return best


def tune(
    precisions: Sequence[str],
    optimizers: Mapping[str, str],
    measure: Callable[[str, Plan], Measured],
    least_psnr: float,
) -> list[Measured]:
    """All plans that were tried, the usual one first: each precision; then, on the fastest so far, each optimizer (id →
    group), one after the other. If the usual one cannot be measured, nothing else is tried."""
    tried = [measure("auto", {})]
    if tried[0].reason:
        return tried
    tried += [measure(precision, {"precision": precision}) for precision in precisions]
    for optimizer, group in optimizers.items():
        best = fastest(tried, least_psnr).plan
        memory = [*(each for each in best.get("memory", ()) if optimizers[each] != group), optimizer]
        tried.append(measure(", ".join([best.get("precision", "auto"), *memory]), {**best, "memory": memory}))
    return tried
