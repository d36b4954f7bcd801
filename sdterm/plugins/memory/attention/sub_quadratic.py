"""Attention chunk by chunk, without the matrix of all queries and keys. Rabe and Staats 2021, "Self-attention does not
need O(n^2) memory" (arXiv 2112.05682); chunks as A1111 takes them."""

from __future__ import annotations

import math

import torch


def sub_quadratic(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, q_chunk: int, kv_chunk: int, most: int
) -> torch.Tensor:
    """q [B, H, N, D], k and v [B, H, M, D]. kv_chunk: keys in a chunk, 0 for the square root of all; most: bytes that
    the whole matrix may have for keys to stay together."""
    keys = k.shape[-2]
    whole = math.prod(q.shape[:-1]) * keys * q.element_size()
    size = keys if whole <= most else min(keys, kv_chunk or math.isqrt(keys))
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    for at in range(0, q.shape[-2], q_chunk):
        some = slice(at, at + q_chunk)
        out[..., some, :] = _rows(q[..., some, :], k, v, size)
    return out


def _rows(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, size: int) -> torch.Tensor:
    """For some queries: a softmax over all keys, kept as a sum of weighted values, its weights' sum, and the largest
    score so far, to which both are relative."""
    scale = q.shape[-1] ** -0.5
    total = highest = weighted = None
    for at in range(0, k.shape[-2], size):
        scores = (q @ k[..., at : at + size, :].transpose(-1, -2)).float() * scale  # [B, H, n, m]
        high = scores.amax(dim=-1, keepdim=True)
        if highest is not None:
            high = torch.maximum(high, highest)
        weights = (scores - high).exp()
        values = (weights.to(v.dtype) @ v[..., at : at + size, :]).float()
        if total is None or weighted is None or highest is None:
            total, weighted = weights.sum(dim=-1, keepdim=True), values
        else:
            shrunk = (highest - high).exp()
            total = total * shrunk + weights.sum(dim=-1, keepdim=True)
            weighted = weighted * shrunk + values
        highest = high
    assert total is not None and weighted is not None  # there is at least one key
    rows: torch.Tensor = (weighted / total).to(q.dtype)
    return rows
