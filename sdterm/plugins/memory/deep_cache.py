"""DeepCache: the deep blocks of a UNet change little from one call to the next, so only every so manieth call computes
them, and those between take what they gave. Ma, Fang and Wang 2023, "DeepCache: Accelerating Diffusion Models for Free"
(arXiv 2312.00858); what is computed each time is the outermost level."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, Option, PluginError, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_CACHE = "_deep_cache"


class _Cache:
    """What the deep blocks gave. A call of the model may be several of the UNet: each has a place of its own."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._call = self._place = 0
        self._shapes: dict[int, Any] = {}
        self._kept: dict[tuple[int, int], Any] = {}
        self._reuses = False

    def begin(self, call: int) -> None:
        self._call, self._place = call, -1
        if call % self._interval == 0:
            self._shapes, self._kept = {}, {}  # of the latest calls alone, so that a pass can go on from here

    def on_unet(self, module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._place += 1
        shape = (args[0] if args else kwargs["sample"]).shape
        self._reuses = self._shapes.get(self._place) == shape
        self._shapes[self._place] = shape

    def around(self, number: int, block: torch.nn.Module, *, is_last: bool) -> Any:
        """The block's `forward`, which computes or does not. is_last: what it gives is used; of the others the shapes
        are, by blocks that do not compute either."""
        own, compute = weakref.ref(block), type(block).forward  # strongly, it would keep itself in memory

        def forward(*args: Any, **kwargs: Any) -> Any:
            key = (self._place, number)
            if not self._reuses:
                given = compute(own(), *args, **kwargs)
                self._kept[key] = given if is_last else _shape_of(given)
                return given
            return self._kept[key]

        return forward


def _shape_of(given: Any) -> Any:
    return tuple(map(_shape_of, given)) if isinstance(given, tuple) else given.to("meta")


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def apply(components: Components, *, interval: int) -> None:
    unet: Any = components.modules.get("unet")
    if len(getattr(unet, "down_blocks", ())) < 2 or getattr(unet, "mid_block", None) is None:
        raise PluginError(
            message("DeepCache needs a UNet of diffusers with several levels, which this model does not have.")
        )
    cache = _Cache(interval)
    deep = [*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1]]
    for number, block in enumerate(deep):
        block.forward = cache.around(number, block, is_last=block is deep[-1])
    setattr(unet, _CACHE, (cache, deep, unet.register_forward_pre_hook(cache.on_unet, with_kwargs=True)))


def undo(components: Components) -> None:
    unet: Any = components.modules["unet"]
    _, deep, handle = getattr(unet, _CACHE)
    delattr(unet, _CACHE)
    handle.remove()
    for block in deep:
        del block.forward


def before_call(components: Components, call: int) -> None:
    getattr(components.modules["unet"], _CACHE)[0].begin(call)


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    interval = Option(
        "interval", 3, message("Compute the whole UNet in one of this many calls."), minimum=1, maximum=20
    )
    return [
        MemoryOptimizer(
            id="deep-cache",
            label="DeepCache",
            group="cache",
            supports=supports,
            apply=apply,
            undo=undo,
            effect="visible",
            before_call=before_call,
            span=lambda options: int(options["interval"]),
            options=(interval,),
        )
    ]
