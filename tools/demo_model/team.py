"""The processes that train together: torchrun's, one per core or GPU, or just this one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


def own_rank() -> int:
    """This process's number in its team; 0 is the one that writes files."""
    return int(os.environ.get("RANK", 0))


@dataclass(frozen=True)
class Team:
    """Two one-thread processes train far faster on two CPU cores than one process with two threads."""

    size: int = 1
    rank: int = 0

    @classmethod
    def from_environment(cls, device: torch.device) -> Team:
        """The team that torchrun's variables describe, connected."""
        team = cls(int(os.environ.get("WORLD_SIZE", 1)), own_rank())
        if team.size > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return team

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def share(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give everyone the first process's weights."""
        if self.size > 1:
            for parameter in parameters:
                dist.broadcast(parameter.data, 0)

    def average(self, parameters: Sequence[nn.Parameter], seconds: float) -> float:
        """Average the gradients, and the time spent, so that everyone stops at the same step; returns that time."""
        if self.size == 1:
            return seconds
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(g.flatten() for g in gradients), gradients[0].new_tensor([seconds])])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients] + [1]), strict=False):
            gradient.copy_(part.view_as(gradient))
        return float(flat[-1])


ALONE = Team()
