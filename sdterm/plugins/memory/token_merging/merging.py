"""Bipartite soft matching on a grid of tokens: sections 3 and 4 of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch


@lru_cache(maxsize=16)
def partition(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(src, dst): indices into the tokens, row by row; dst is the upper left one of each whole 2 x 2. The paper draws
    one of the four by chance; A1111 switches that off, and so every run is the same."""
    stays = torch.zeros(height, width, dtype=torch.bool)
    stays[: height // 2 * 2 : 2, : width // 2 * 2 : 2] = True
    flat = stays.flatten()
    return (~flat).nonzero().flatten().to(device), flat.nonzero().flatten().to(device)


@dataclass(frozen=True)
class Matching:
    """Which tokens are merged into which: all index tensors, for tokens [B, N, C]."""

    src: torch.Tensor
    dst: torch.Tensor
    kept: torch.Tensor
    """[B, S - r]: places in src of those that stay as they are."""
    merged: torch.Tensor
    """[B, r]: places in src of those that are merged away."""
    into: torch.Tensor
    """[B, r]: the place in dst of the one that each is merged into."""

    @classmethod
    def of(cls, tokens: torch.Tensor, height: int, width: int, ratio: float) -> Matching | None:
        """The most similar pairs (cosine) from src to dst; None where nothing is to be merged."""
        src, dst = partition(height, width, tokens.device)
        count = min(int(tokens.shape[1] * ratio), len(src))
        if count <= 0 or not len(dst):
            return None
        metric = torch.nn.functional.normalize(tokens.float(), dim=-1).to(tokens.dtype)
        best, nearest = (metric[:, src] @ metric[:, dst].transpose(-1, -2)).max(dim=-1)
        order = best.argsort(dim=-1, descending=True, stable=True)
        merged = order[:, :count]
        return cls(src, dst, order[:, count:], merged, nearest.gather(1, merged))

    def merge(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, C] → [B, N - r, C]: those that stay, then each dst as the mean of itself and what it takes in. By a
        matrix product: a sum by index has no fixed order on a GPU."""
        src, dst = tokens[:, self.src], tokens[:, self.dst]
        takes = torch.nn.functional.one_hot(self.into, len(self.dst)).to(tokens.dtype).transpose(1, 2)
        taken = takes @ _rows(src, self.merged)
        mean = (dst + taken) / (1 + takes.sum(dim=-1, keepdim=True))
        return torch.cat([_rows(src, self.kept), mean], dim=1)

    def unmerge(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N - r, C] → [B, N, C]: a merged token gets what the one it was merged into has."""
        kept = self.kept.shape[1]
        dst = tokens[:, kept:]
        out = tokens.new_empty(len(tokens), len(self.src) + len(self.dst), tokens.shape[-1])
        out[:, self.dst] = dst
        src = tokens.new_empty(len(tokens), len(self.src), tokens.shape[-1])
        src.scatter_(1, _spread(self.kept, src), tokens[:, :kept])
        src.scatter_(1, _spread(self.merged, src), _rows(dst, self.into))
        out[:, self.src] = src
        return out


def _rows(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return tokens.gather(1, _spread(places, tokens))


def _spread(places: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return places[..., None].expand(-1, -1, tokens.shape[-1])


class Merging:
    """The hooks of one transformer block. `size` gives height and width of the latents that are being computed;
    blocks that work on them reduced more than `most` times are left alone."""

    def __init__(self, ratio: float, size: Callable[[], tuple[int, int]], most: int) -> None:
        self._ratio, self._size, self._most = ratio, size, most
        self._matching: Matching | None = None

    def hooks(self, block: Any) -> list[Any]:
        return [
            block.register_forward_pre_hook(self._match, with_kwargs=True),
            block.attn1.register_forward_pre_hook(self._merge, with_kwargs=True),
            block.attn1.register_forward_hook(self._unmerge),
        ]

    def _match(self, module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tokens = args[0] if args else kwargs["hidden_states"]
        height, width = self._size()
        downsample = math.ceil(math.sqrt(height * width // tokens.shape[1]))
        height, width = math.ceil(height / downsample), math.ceil(width / downsample)
        self._matching = Matching.of(tokens, height, width, self._ratio) if downsample <= self._most else None

    def _merge(self, module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._matching is None:
            return None
        return (self._matching.merge(args[0]), *args[1:]), kwargs

    def _unmerge(self, module: object, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        matching, self._matching = self._matching, None
        return output if matching is None else matching.unmerge(output)
