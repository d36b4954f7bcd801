"""Nothing in the step loop waits for a GPU: reading a number of the device, or putting one there, does by default."""

from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import pytest
import torch
from torch.overrides import TorchFunctionMode

from sdterm import Engine, PluginSet
from sdterm.hooks import Sampler
from tests.engine.conftest import images
from tests.engine.test_sampler_conformance import SAMPLERS, asked

READS = {
    getattr(torch.Tensor, name)
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "nonzero")
} | {torch.equal, torch.Tensor.equal, torch.nonzero, torch.masked_select, torch.Tensor.masked_select}
"""torch waits for all that a GPU has to do before it answers these."""


class Device(TorchFunctionMode):
    """A CPU that counts as a GPU: whatever is made of `latents` lies on it, and `waits` has each call that would wait
    for it. Only calls of the thread that entered it are seen."""

    def __init__(self, latents: torch.Tensor) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._there: WeakValueDictionary[int, torch.Tensor] = WeakValueDictionary({id(latents): latents})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_there = any(self._has(each) for each in _flat((args, kwargs)))
        sends = self._sends(func, args, kwargs)
        if sends and not kwargs.get("non_blocking"):
            self.waits.append(f"{func.__name__} to the device")
        if is_there and func in READS:
            self.waits.append(func.__name__)
        if is_there and func is torch.Tensor.__getitem__ and _is_mask(args[1]):
            self.waits.append("a boolean mask")
        made = func(*args, **kwargs)
        if is_there or sends:
            self._there.update({id(each): each for each in _flat((made,)) if isinstance(each, torch.Tensor)})
        return made

    def _sends(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether numbers of the CPU are put on the device."""
        if func not in (torch.tensor, torch.Tensor.to) or self._has(args[0]):
            return False
        return any(isinstance(each, torch.device) or self._has(each) for each in _flat((args[1:], kwargs)))

    def _has(self, it: Any) -> bool:
        return isinstance(it, torch.Tensor) and self._there.get(id(it)) is it


def _flat(values: Any) -> list[Any]:
    if isinstance(values, dict):
        values = values.values()
    return [leaf for each in values for leaf in (_flat(each) if isinstance(each, list | tuple | dict) else [each])]


def _is_mask(index: Any) -> bool:
    return any(isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in _flat((index,)))


def watched(plugins: PluginSet, waits: list[str]) -> PluginSet:
    """The same, but while a sampler samples its thread's calls are looked at."""

    def looked_at(sampler: Sampler) -> Sampler:
        def sample(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, **how: Any) -> torch.Tensor:
            with Device(x) as device:
                latents = sampler.sample(denoise, x, sigmas, **how)
            waits.extend(device.waits)
            return latents

        return replace(sampler, sample=sample)

    given = {id(each): looked_at(each) if isinstance(each, Sampler) else each for each in plugins.given}
    owners = {id(given[old]): plugins.owners[old] for old in given}
    return replace(plugins, given=tuple(given.values()), owners=owners)


USUAL = ("DPM++ 2M", "DPM++ SDE", "Euler a", "UniPC")
OTHERS = sorted({*SAMPLERS} - {*USUAL, "DPM adaptive"})  # the size of whose steps is the picture's


@pytest.mark.parametrize("name", [*USUAL, *(pytest.param(name, marks=pytest.mark.heavy) for name in OTHERS)])
def test_no_step_waits_for_the_device(name: str, engine: Engine, plugins: PluginSet) -> None:
    waits: list[str] = []
    assert images(list(engine.run(asked(name, steps=3, prompt="a [red:blue:2] circle"), watched(plugins, waits))))
    assert waits == []


@pytest.mark.heavy
def test_what_waits_is_seen(engine: Engine, plugins: PluginSet) -> None:
    waits: list[str] = []
    list(engine.run(asked("DPM adaptive"), watched(plugins, waits)))
    assert "__float__" in waits
    latents = torch.ones(2)
    with Device(latents) as device:
        bool((latents * 2).sum() > 1)
        (latents + 1)[latents > 0]
        torch.ones(2).to(torch.device("cpu")) + torch.tensor([1.0], device=torch.device("cpu"))
        torch.ones(2).to(latents, non_blocking=True).to(torch.float16).expand(2).tolist()
    assert device.waits == ["__bool__", "a boolean mask", "to to the device", "tensor to the device", "tolist"]
