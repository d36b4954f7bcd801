"""Train the demo model from nothing: `python -m tools.demo_model.train --work FOLDER --out FILE`.

A stage whose result exists in the work folder is skipped; one that was stopped goes on from its `.resume.pt`. To
train a finished stage longer, remove its result, keep its `.resume.pt` and give it a larger budget.

Once the stages before it are done, `unet` also runs with torchrun, one process per core (`--threads 1`) or per GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from .export import export
from .team import own_rank
from .text import warm_up
from .training import Budget, Settings
from .unet import train_unet
from .vae import encode_training_set, train_decoder, train_vae

# In this order: what a stage does and the file that says that it is done.
STAGES: dict[str, tuple[Callable[[Settings], None], str]] = {
    "vae": (train_vae, "vae.pt"),
    "latents": (encode_training_set, "latents.done"),
    "decoder": (train_decoder, "decoder.pt"),
    "warmup": (warm_up, "text.pt"),
    "unet": (train_unet, "unet.pt"),
}
BUDGETED = ("vae", "decoder", "warmup", "unet")


def train(settings: Settings, out: Path, stages: Sequence[str] = tuple(STAGES)) -> None:
    """Run the stages that are not done; once all are, write the checkpoint."""
    settings.work.mkdir(parents=True, exist_ok=True)
    for name in stages:
        run, result = STAGES[name]
        if not (settings.work / result).exists():
            print(f"stage {name}", flush=True)
            run(settings)
    if own_rank() == 0 and all((settings.work / result).exists() for _, result in STAGES.values()):
        export(settings, out)
        print(f"{out}: {out.stat().st_size:,} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for what the stages leave for each other")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=tuple(STAGES), help="default: all")
    parser.add_argument("--images", type=int, default=Settings.images, help="pictures of 128x128; of larger ones fewer")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name in BUDGETED:
        default: Budget = getattr(Settings, name)
        parser.add_argument(f"--{name}-minutes", type=float, default=default.minutes)
        parser.add_argument(f"--{name}-steps", type=int, default=0, help="exactly so many, whatever the minutes")
    given = vars(parser.parse_args())
    torch.set_num_threads(given["threads"])
    budgets: dict[str, Any] = {name: Budget(given[f"{name}_minutes"], given[f"{name}_steps"]) for name in BUDGETED}
    device = torch.device(given["device"])
    settings = Settings(given["work"], device, seed=given["seed"], images=given["images"], **budgets)
    train(settings, given["out"], given["stages"])


if __name__ == "__main__":
    main()
