"""What code of a plugin may not move: the random numbers and settings that a process has one of, and the model."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from sdterm.core.extensions.kinds import Descriptor
from sdterm.core.extensions.registry import ContractError
from sdterm.hooks import Components, MemoryOptimizer, ModelFamily, PromptTransform, Sampler, Scheduler
from sdterm.messages import message

_DRAWING = (PromptTransform, Sampler, Scheduler)
"""Kinds whose random numbers would be seen in the picture."""

# torch's settings for the whole process that change what is computed, or when: (read, write).
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, torch.set_default_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    (lambda: torch.backends.cudnn.benchmark, lambda on: setattr(torch.backends.cudnn, "benchmark", on)),
    (lambda: torch.backends.cudnn.deterministic, lambda on: setattr(torch.backends.cudnn, "deterministic", on)),
)


@contextmanager
def isolated(part: Descriptor, device: torch.device) -> Iterator[None]:
    """Around a plugin's code: what it moved of the process's random numbers and settings is put back. Raises
    ContractError if it drew random numbers there that decide the picture: nobody could draw that one again."""
    if isinstance(part, ModelFamily):  # entered for every call of the network; see `no_random_numbers`
        yield
        return
    numbers, settings = _random_states(device), _settings()
    try:
        yield
        moved = [name for name, state in _random_states(device).items() if not _same(state, numbers[name])]
    finally:
        _restore(numbers, device)
        if not isinstance(part, MemoryOptimizer):  # to change those may be what it is for
            _set(settings)
    if moved and isinstance(part, _DRAWING):
        raise ContractError(_moved(moved))


@contextmanager
def random_numbers_kept(device: torch.device) -> Iterator[None]:
    """Around code that may draw some as long as nobody sees it: torch fills a new module with them."""
    numbers = _random_states(device)
    try:
        yield
    finally:
        _restore(numbers, device)


@contextmanager
def no_random_numbers(device: torch.device) -> Iterator[None]:
    """Around a call of the network. Raises ContractError if it drew from torch's own random numbers."""
    cpu, gpu = torch.get_rng_state(), _gpu_state(device)
    yield
    if not torch.equal(torch.get_rng_state(), cpu):
        torch.set_rng_state(cpu)
        raise ContractError(_moved(["torch"]))
    if gpu is not None and not torch.equal(_gpu_state(device), gpu):  # type: ignore[arg-type]  # there still is one
        _set_gpu_state(device, gpu)
        raise ContractError(_moved([f"torch on {device.type}"]))


def _moved(names: list[str]) -> str:
    return message(
        "it uses the global random numbers of {libraries}, so its images could not be reproduced; it "
        "must use the noise and rng arguments instead",
        libraries=" and ".join(names),
    )


def _random_states(device: torch.device) -> dict[str, Any]:
    states = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate()}
    if (gpu := _gpu_state(device)) is not None:
        states[f"torch on {device.type}"] = gpu
    return states


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple) and any(isinstance(part, np.ndarray) for part in one):
        return all(np.array_equal(mine, its) for mine, its in zip(one, other, strict=True))
    return bool(one == other)


def _restore(states: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["random"])
    if gpu := [state for name, state in states.items() if name.startswith("torch on")]:
        _set_gpu_state(device, gpu[0])


def _gpu_state(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _set_gpu_state(device: torch.device, state: torch.Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.mps.set_rng_state(state)


def _settings() -> list[Any]:
    return [read() for read, _ in _SETTINGS]


def _set(values: list[Any]) -> None:
    for (read, write), value in zip(_SETTINGS, values, strict=True):
        if read() != value:
            write(value)


@dataclass(frozen=True)
class Untouched:
    """A model as it was before a memory optimizer came to it, to tell whether it is so again.

    Of each module: its class, its plain attributes, its hooks, and type and sum of its weights, and whether they are at
    home. Of the process: torch's settings, and the functions of the modules' classes, which a patch may have replaced
    for every model.
    """

    modules: Mapping[str, Any]
    settings: list[Any]
    classes: Mapping[Any, Mapping[str, Any]]

    @classmethod
    def of(cls, components: Components, home: torch.device | None) -> "Untouched":
        """home: where the weights lie; None: an optimizer moves them, and they may be anywhere."""
        kinds = {kind for part in _parts(components).values() for kind in type(part).__mro__ if kind is not object}
        owners = (*kinds, torch.nn.functional)
        return cls(
            {path: _look(part, home) for path, part in _parts(components).items()},
            _settings(),
            {owner: _functions(owner) for owner in owners},
        )

    def is_as_it_was(self, components: Components, home: torch.device | None) -> bool:
        now = {path: _look(part, home) for path, part in _parts(components).items()}
        return (
            now.keys() == self.modules.keys()
            and all(self.modules[path].items() <= now[path].items() for path in now)
            and _settings() == self.settings
            and all(_functions(owner) == functions for owner, functions in self.classes.items())
        )

    def restore_process(self) -> None:
        """Put back what outlives the model: settings, and functions of classes."""
        _set(self.settings)
        for owner, functions in self.classes.items():
            now = _functions(owner)
            for name in now.keys() - functions.keys():
                delattr(owner, name)
            for name, function in functions.items():
                if now.get(name) is not function:
                    setattr(owner, name, function)


def _parts(components: Components) -> dict[str, torch.nn.Module]:
    return {
        f"{name}.{path}": part
        for name, module in components.modules.items()
        for path, part in module.named_modules(remove_duplicate=False)
    }


def _functions(owner: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(owner).items() if callable(value)}


def _look(module: torch.nn.Module, home: torch.device | None) -> dict[str, Any]:
    """Attributes that came since are no difference: who saves the old ones leaves some behind."""
    look: dict[str, Any] = {"": type(module)}
    for name, value in vars(module).items():
        if name.endswith("_hooks"):
            look[name] = len(value)
        elif not name.startswith("_"):
            look[name] = value if isinstance(value, bool | int | float | str | None) else type(value)
    forward = vars(module).get("forward")
    is_its_own = forward is None or getattr(forward, "__func__", None) is type(module).forward
    look["forward"] = None if is_its_own else id(forward)
    for name, weight in chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
        total = None if weight.is_meta else weight.detach().float().sum().item()
        at_home = home is None or weight.device.type == home.type
        look[f"weight {name}"] = (weight.dtype, at_home, weight.shape, repr(total))  # a NaN equals its like
    return look
