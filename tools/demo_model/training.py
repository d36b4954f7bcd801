"""What every training stage does: keep to a budget, step, average the weights, log, save and resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .team import ALONE, Team

RESUMABLE_EVERY = 500  # steps


@dataclass(frozen=True)
class Budget:
    """How long a stage trains: minutes or, to make a run exactly repeatable, steps."""

    minutes: float
    steps: int = 0

    def spent(self, step: int, seconds: float) -> float:
        return step / self.steps if self.steps else seconds / (60 * self.minutes)


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    """A training run. The defaults are those of the shipped model; sizes below them are for trying the code."""

    work: Path  # what the stages leave for each other
    device: torch.device = CPU
    seed: int = 0
    images: int = 10_000  # pictures in the main bucket
    large_images: int = 300  # 256x256 pictures that the autoencoder sees
    vocabulary_captions: int = 12_000  # captions that are searched for words
    vae: Budget = Budget(17)
    decoder: Budget = Budget(15)
    warmup: Budget = Budget(4)
    unet: Budget = Budget(55)
    vae_batch: int = 8
    unet_batch: int = 24  # pictures of 128x128; of larger ones fewer


def cosine(warmup: float = 0.02) -> Callable[[float], float]:
    """Learning-rate factor by the budget's spent fraction: a linear warm-up, then a cosine to zero."""
    return lambda spent: min(1, spent / warmup) * 0.5 * (1 + math.cos(math.pi * min(1, spent)))


def save(content: object, path: Path) -> None:
    """All of it or nothing: a stage counts as done when its file exists."""
    torch.save(content, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def load(path: Path) -> Any:
    return torch.load(path, map_location="cpu")


class Training:
    """The loop of one stage; `average` is the moving average of the model's state, which is what the stage is after."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        budget: Budget,
        model: nn.Module,
        parameters: Iterable[nn.Parameter],
        *,
        rate: float,
        schedule: Callable[[float], float],
        decay: float = 0.997,
        log_every: int = 50,
        team: Team = ALONE,
    ) -> None:
        self.model, self.parameters, self.budget = model, list(parameters), budget
        self.rate, self.schedule, self.decay = rate, schedule, decay
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.team = team
        self.step, self.seconds, self._started = 0, 0.0, 0.0
        self._resume_file, self._log_file = settings.work / f"{name}.resume.pt", settings.work / f"{name}.log.jsonl"
        self._losses: list[float] = []
        self._log_every = log_every
        self.resumed = self._resume(settings.device)

    def steps(self) -> Iterator[float]:
        """Until the budget is spent; yields the spent fraction with the learning rate set for it."""
        self._started = time.time() - self.seconds
        while (spent := self.budget.spent(self.step, self.seconds)) < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * self.schedule(spent)
            yield spent
        if self.team.leads:
            self._save()

    def update(self, loss: Tensor, shown: float, **more: float) -> None:
        """One optimizer step; `shown` and `more` are what the log says of it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.seconds = self.team.average(self.parameters, time.time() - self._started)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        if self.team.leads:
            self._average()
            self._log(shown, more)
            if self.step % RESUMABLE_EVERY == 0:
                self._save()

    def _average(self) -> None:
        keep = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)

    def _log(self, loss: float, more: dict[str, float]) -> None:
        self._losses.append(loss)
        if self.step % self._log_every:
            return
        mean = sum(self._losses) / len(self._losses)
        row = {"step": self.step, "minutes": round(self.seconds / 60, 2), "loss": round(mean, 5)}
        line = json.dumps(row | {name: round(value, 5) for name, value in more.items()})
        self._losses.clear()
        print(line, flush=True)
        with self._log_file.open("a") as log:
            log.write(line + "\n")

    def _save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "average": self.average}
        save(state | {"step": self.step, "seconds": self.seconds}, self._resume_file)

    def _resume(self, device: torch.device) -> bool:
        if not self._resume_file.exists():
            return False
        state: dict[str, Any] = torch.load(self._resume_file, map_location=device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step, self.seconds = state["average"], state["step"], state["seconds"]
        return True
