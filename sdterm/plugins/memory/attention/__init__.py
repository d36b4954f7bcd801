"""How attention is computed: torch's SDPA and its kernels, chunk by chunk, xFormers, what diffusers can dispatch to."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, Option, PluginError, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

    from sdterm.plugins.memory.attention.processor import Attend

Supports = Callable[["torch.device", ModelFacts], tuple[bool, str]]

_HEAD = 64
"""The size of heads with which it is found out whether a way can be used at all."""


def always(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def on_unets(supports: Supports, device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    if model.parts and "unet" not in model.parts:
        return False, message("this model has no UNet of diffusers")
    return supports(device, model)


# --- torch's SDPA -----------------------------------------------------------------------------------------------------


def use_sdpa(components: Components) -> None:
    """torch's scaled_dot_product_attention: fast and lean wherever a fused kernel exists. It is on by default, so a
    model without a UNet of diffusers' stays as it is."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    if unet := _unet(components):
        unet.set_attn_processor(AttnProcessor2_0())


def by_kernel(names: tuple[str, ...]) -> Attend:
    """SDPA by one of these kernels alone, members of torch's SDPBackend."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backends = [getattr(SDPBackend, name) for name in names]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backends):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    return attend


# --- in parts ---------------------------------------------------------------------------------------------------------


def use_slices(components: Components, *, size: Literal["auto"] | int = "auto") -> None:
    """Some heads at a time, half of them for auto: so much less of the attention matrix at once."""
    from diffusers.models.attention_processor import SlicedAttnProcessor

    unet = _needed(components)
    unet.set_attention_slice(size) if isinstance(size, str) else unet.set_attn_processor(SlicedAttnProcessor(size))


def use_sub_quadratic(components: Components, *, q_chunk: int, kv_chunk: int, threshold: int) -> None:
    from sdterm.plugins.memory.attention.processor import Processor
    from sdterm.plugins.memory.attention.sub_quadratic import sub_quadratic

    most = _memory_of(components.device) * threshold // 100
    attend = partial(sub_quadratic, q_chunk=q_chunk, kv_chunk=kv_chunk, most=most)
    _needed(components).set_attn_processor(Processor(attend))


def _memory_of(device: torch.device) -> int:
    """Bytes; all of it, since what is free depends on what else runs, and pictures must not."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# --- xFormers ---------------------------------------------------------------------------------------------------------


def by_xformers(flash: bool = False) -> Attend:
    from xformers.ops import MemoryEfficientAttentionFlashAttentionOp, fmha, memory_efficient_attention

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (each.transpose(1, 2).contiguous() for each in (q, k, v))  # [B, N, H, D]
        forward = MemoryEfficientAttentionFlashAttentionOp[0]
        fits = flash and forward.supports(fmha.Inputs(query=q, key=k, value=v, attn_bias=None))
        op = MemoryEfficientAttentionFlashAttentionOp if fits else None
        out: torch.Tensor = memory_efficient_attention(q, k, v, op=op)
        return out.transpose(1, 2)

    return attend


def xformers_usable(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    """Really imports xFormers and runs one attention, since it imports happily where no kernel of it works."""
    if importlib.util.find_spec("xformers") is None:
        return False, message("it is not installed (pip install 'sdterm[xformers]')")
    logging.getLogger("xformers").setLevel(logging.ERROR)  # it prints the reason too, at length
    return _usable(by_xformers, device, model)


def xformers_there(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    there = importlib.util.find_spec("xformers") is not None
    return there, message("it is not installed (pip install 'sdterm[xformers]')")


def force_xformers(components: Components) -> None:
    from sdterm.plugins.memory.attention.processor import Processor

    _needed(components).set_attn_processor(Processor(by_xformers()))


# --- what diffusers dispatches to -------------------------------------------------------------------------------------


def by_diffusers(backend: str) -> Attend:
    """A backend of diffusers' by its name: `sage`, `flash` … Raises RuntimeError if its package is missing."""
    from diffusers.models import attention_dispatch as dispatch

    name = dispatch.AttentionBackendName(backend)
    dispatch._check_attention_backend_requirements(name)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # [B, N, H, D]
        out: torch.Tensor = dispatch.dispatch_attention_fn(q, k, v, backend=name)
        return out.transpose(1, 2)

    return attend


# --- for all of them --------------------------------------------------------------------------------------------------


def where_it_works(made: Callable[[], Attend]) -> Supports:
    return lambda device, model: _usable(made, device, model)


def _usable(made: Callable[[], Attend], device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    why = _tried(made, device, model.dtype)
    return not why, why


@lru_cache(maxsize=64)
def _tried(made: Callable[[], Attend], device: torch.device, dtype: torch.dtype) -> str:
    from sdterm.plugins.memory.attention.processor import reason, tried

    try:
        attend = made()
    except Exception as error:  # a package that is missing or broken says so in many ways
        return reason(error)
    return tried(attend, _HEAD, device, dtype)


def use(made: Callable[[], Attend]) -> Callable[[Components], None]:
    def apply(components: Components) -> None:
        from sdterm.plugins.memory.attention.processor import attend_by

        if why := attend_by(_needed(components), made(), components.device, components.dtype):
            raise PluginError(message("This attention cannot be used with this model: {reason}.", reason=why))

    return apply


def _unet(components: Components) -> Any:
    unet = components.modules.get("unet")
    return unet if hasattr(unet, "set_attn_processor") else None


def _needed(components: Components) -> Any:
    if unet := _unet(components):
        return unet
    raise PluginError(message("This attention needs a UNet of diffusers, which this model does not have."))


_KERNELS = {
    "no-mem": ("SDPA without memory-efficient", ("FLASH_ATTENTION", "CUDNN_ATTENTION", "MATH")),
    "flash": ("SDPA flash", ("FLASH_ATTENTION",)),
    "efficient": ("SDPA memory-efficient", ("EFFICIENT_ATTENTION",)),
    "cudnn": ("SDPA cuDNN", ("CUDNN_ATTENTION",)),
    "math": ("SDPA math", ("MATH",)),
}
_DISPATCHED = {
    "flash-attention": ("FlashAttention", "flash"),
    "flash-attention-3": ("FlashAttention 3", "_flash_3"),
    "sage": ("SageAttention", "sage"),
}
"""Those of diffusers' backends that need no download: packages that users install themselves."""

_SUB_QUADRATIC = (
    Option("q_chunk", 1024, message("Queries per chunk."), 1, 65536),
    Option("kv_chunk", 0, message("Keys per chunk; 0 is the square root of their number."), 0, 65536),
    Option(
        "threshold",
        0,
        message("Keys are split into chunks only if the attention matrix needs more than this percentage of memory."),
        0,
        100,
    ),
)


def _way(id: str, label: str, supports: Supports, apply: Callable[..., None], **more: Any) -> MemoryOptimizer:
    usable = supports if more.get("default") else partial(on_unets, supports)
    return MemoryOptimizer(
        id, label, group="attention", supports=usable, apply=apply, undo=use_sdpa, **{"effect": "exact", **more}
    )


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    kernels = {id: partial(by_kernel, names) for id, (_, names) in _KERNELS.items()}
    dispatched = {id: partial(by_diffusers, backend) for id, (_, backend) in _DISPATCHED.items()}
    flash = partial(by_xformers, True)
    return [
        _way("sdpa", "SDPA", always, use_sdpa, default=True),
        *(
            _way(f"sdpa-{id}", label, where_it_works(kernels[id]), use(kernels[id]))
            for id, (label, _) in _KERNELS.items()
        ),
        _way("sliced", "Sliced attention", always, use_slices),
        _way("sliced-v1", "Sliced attention V1", always, partial(use_slices, size=2)),
        _way(
            "sub-quadratic",
            "Sub-quadratic attention",
            always,
            use_sub_quadratic,
            rung="lean-attention",
            options=_SUB_QUADRATIC,
        ),
        _way("xformers", "xFormers", xformers_usable, use(by_xformers), effect="close"),
        _way("xformers-flash", "xFormers flash", xformers_usable, use(flash), effect="close"),
        _way("xformers-forced", "xFormers untried", xformers_there, force_xformers, effect="close"),
        *(
            _way(id, label, where_it_works(dispatched[id]), use(dispatched[id]), effect="close")
            for id, (label, _) in _DISPATCHED.items()
        ),
    ]
