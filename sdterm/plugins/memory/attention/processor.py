"""An attention processor of diffusers' that computes by any function of queries, keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from sdterm.messages import message

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Queries [B, H, N, D], keys and values [B, H, M, D] → [B, H, N, D]."""

_TRIED = 64
"""Tokens with which a function is tried out."""


class Processor:
    """diffusers' AttnProcessor2_0 with its SDPA replaced, but where there is a mask, which these networks have not."""

    def __init__(self, attend: Attend) -> None:
        self._attend, self._usual = attend, AttnProcessor2_0()

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if attention_mask is not None or attn.spatial_norm is not None or attn.norm_q or attn.norm_k:
            usual: torch.Tensor = self._usual(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            return usual
        residual, shape = hidden_states, hidden_states.shape
        if len(shape) == 4:
            hidden_states = hidden_states.view(*shape[:2], -1).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        told = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            told = attn.norm_encoder_hidden_states(told)
        heads = (
            each.view(len(each), each.shape[1], attn.heads, -1).transpose(1, 2)
            for each in (attn.to_q(hidden_states), attn.to_k(told), attn.to_v(told))
        )
        out = self._attend(*heads).transpose(1, 2).flatten(2).to(hidden_states.dtype)  # [B, N, H * D]
        out = attn.to_out[1](attn.to_out[0](out))
        if len(shape) == 4:
            out = out.transpose(-1, -2).reshape(shape)
        if attn.residual_connection:
            out = out + residual
        changed: torch.Tensor = out / attn.rescale_output_factor
        return changed


def attentions(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    for name, part in module.named_modules():
        if isinstance(part, Attention):
            yield name, part


def head_size(attention: Any) -> int:
    return int(attention.inner_dim // attention.heads)


def attend_by(module: Any, attend: Attend, device: torch.device, dtype: torch.dtype) -> str:
    """Compute the attentions of a UNet or VAE by that function, each whose size of heads it takes. Returns why it took
    none, empty if it took some."""
    sizes = {head_size(attention) for _, attention in attentions(module)}
    refused = {size: reason for size in sorted(sizes) if (reason := tried(attend, size, device, dtype))}
    if refused.keys() == sizes:
        return next(iter(refused.values()), message("the model has no attention"))
    mine, usual = Processor(attend), AttnProcessor2_0()
    module.set_attn_processor(
        {f"{name}.processor": usual if head_size(part) in refused else mine for name, part in attentions(module)}
    )
    return ""


def tried(attend: Attend, size: int, device: torch.device, dtype: torch.dtype) -> str:
    """Why that function cannot be used with heads of that size; empty if it can."""
    q = torch.zeros(1, 2, _TRIED, size, device=device, dtype=dtype)
    try:
        with torch.inference_mode():
            attend(q, q, q)
    except Exception as error:  # whatever a library's binary parts raise is the reason the user needs to see
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    """An error of a library's in one line."""
    first, *rest = str(error).strip().splitlines() or [""]
    detail = next((f" ({line.strip()})" for line in rest if "supported" in line and "=" in line), "")
    return f"{type(error).__name__}: {first.split(' with inputs')[0]}{detail}"
