"""The tap: for the length of one call of a pipeline, its denoisers' calls and its schedulers' steps pass through here.

A denoiser's `forward` is replaced on the instance, outermost, after all hooks, adapters and compilers: it is put there
anew for each call, since diffusers takes off and puts on its own hooks between calls. Of a scheduler it is the class
that is replaced, by one derived from it, so that a copy that the pipeline makes is stepped itself.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

Forward = Callable[..., Any]
Around = Callable[[str, Forward, tuple[Any, ...], dict[str, Any]], Any]
"""`around(name, forward, args, kwargs)` → what a call of that module gives."""
AroundStep = Callable[[Any, Forward, tuple[Any, ...], dict[str, Any]], Any]
"""`around(scheduler, step, args, kwargs)`, the same of a step."""
_BESIDE = ("controlnet", "adapter", "image_")
"""How parts are called that look like a denoiser and are none."""


def denoisers(components: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """The modules that are called at each step."""
    from diffusers import ModelMixin  # which takes a while to import, and is when there is a pipeline

    found = {}
    for name, part in components.items():
        whole = getattr(part, "_orig_mod", part)  # of torch.compile
        if isinstance(whole, ModelMixin) and not hasattr(whole, "decode") and not name.startswith(_BESIDE):
            found[name] = part
    return found


@contextmanager
def tapped(components: Mapping[str, Any], around: Around, around_step: AroundStep) -> Iterator[None]:
    """While a pipeline is called."""
    with ExitStack() as stack:
        for name, module in denoisers(components).items():
            stack.enter_context(_forward(module, functools.partial(around, name)))
        steppers = {id(part): part for part in components.values() if hasattr(part, "step")}
        for scheduler in steppers.values():
            stack.enter_context(_step(scheduler, around_step))
        yield


@contextmanager
def _forward(module: torch.nn.Module, around: Callable[..., Any]) -> Iterator[None]:
    # After module.compile() a new forward would be compiled itself.
    name = "forward" if getattr(module, "_compiled_call_impl", None) is None else "_compiled_call_impl"
    there = vars(module).get(name)
    plain, is_armed = getattr(module, name), True

    @functools.wraps(plain)
    def tap(*args: Any, **kwargs: Any) -> Any:
        # Where something was put over it and stays, it is called for ever: then it only passes on.
        return around(plain, args, kwargs) if is_armed else plain(*args, **kwargs)

    setattr(module, name, tap)
    try:
        yield
    finally:
        is_armed = False
        if vars(module).get(name) is tap:
            if there is None:
                delattr(module, name)
            else:
                setattr(module, name, there)


@contextmanager
def _step(scheduler: Any, around: AroundStep) -> Iterator[None]:
    whose, is_armed = type(scheduler), True

    # Some pipelines look up in its signature what it takes, the generator for one.
    @functools.wraps(whose.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        plain = functools.partial(whose.step, self)
        return around(self, plain, args, kwargs) if is_armed else plain(*args, **kwargs)

    scheduler.__class__ = type(whose.__name__, (whose,), {"step": step, "__module__": whose.__module__})
    try:
        yield
    finally:
        is_armed = False
        scheduler.__class__ = whose


def keeps_state(module: torch.nn.Module) -> str:
    """What keeps something from call to call there, by name: one of diffusers' step caches. Empty if nothing does."""
    for part in getattr(module, "_orig_mod", module).modules():
        hooks = getattr(getattr(part, "_diffusers_hook", None), "hooks", {})
        if stateful := next((hook for hook in hooks.values() if hook._is_stateful), None):
            return type(stateful).__name__
    return ""
