"""Checkpoints of full size, with random weights: each part computes what diffusers' single-file loader makes of it."""

import gc
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.library.recognition import recognise
from tools import full_size

_DOWN, _UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
_VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}
_UNET = {"_class_name": "UNet2DConditionModel", "layers_per_block": 2}
_CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CONFIGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {  # the configuration files of the models' own repositories
    "sd15": {
        "unet": {
            **_UNET,
            "block_out_channels": [320, 640, 1280, 1280],
            "down_block_types": [_DOWN] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + [_UP] * 3,
            "cross_attention_dim": 768,
            "attention_head_dim": 8,
        },
        "vae": {**_VAE, "scaling_factor": 0.18215},
        "text_encoder": _CLIP_L,
    },
}


@pytest.fixture(scope="module", params=CONFIGS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckpointFile]:
    """One of several GB, in the folder that SDTERM_FULL_SIZE names if it shall stay."""
    kept = os.environ.get("SDTERM_FULL_SIZE")
    path = full_size.write(request.param, Path(kept) if kept else tmp_path_factory.mktemp("full size"))
    yield CheckpointFile(path)
    if not kept:
        path.unlink()


def ours(checkpoint: CheckpointFile, part: str) -> torch.nn.Module:
    """A part, in bfloat16, as the family builds it; the rest is let go of."""
    family, match = recognise(checkpoint, load_plugins())
    assert not match.refusal
    return family.build(checkpoint, torch.device("cpu"), torch.bfloat16).modules[part]


def theirs(checkpoint: CheckpointFile, part: str, folder: Path) -> Any:
    """The same part by diffusers' single-file loader, with a local folder of configurations."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm, load_single_file_checkpoint
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    model = checkpoint.path.stem.removesuffix("-size")
    (folder / part).mkdir()
    (folder / part / "config.json").write_text(json.dumps(CONFIGS[model][part]))
    if part.startswith("text_encoder"):
        tensors = load_single_file_checkpoint(str(checkpoint.path))
        kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
        made = create_diffusers_clip_model_from_ldm(
            kind, tensors, subfolder=part, config=str(folder), torch_dtype=torch.bfloat16, local_files_only=True
        )
        return made.to(torch.bfloat16).eval()
    loader: Any = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[part]
    path, how = str(checkpoint.path), {"torch_dtype": torch.bfloat16, "local_files_only": True}
    return loader.from_single_file(path, config=str(folder), subfolder=part, **how).eval()


def one_pass(module: Any, part: str, model: str) -> list[torch.Tensor]:
    """What a part makes of a small input."""
    numbers = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=numbers).bfloat16()

    with torch.inference_mode():
        if part == "vae":
            return [module.encode(random(1, 3, 64, 64)).latent_dist.mode(), module.decode(random(1, 4, 8, 8)).sample]
        if part == "unet":
            size = full_size.SIZES[model]
            added = {"text_embeds": random(2, size.vector - 6 * 256), "time_ids": random(2, 6)} if size.vector else None
            context = random(2, 77, size.context)
            x, t = random(2, 4, 16, 16), torch.tensor([500, 20])
            return [module(x, t, encoder_hidden_states=context, added_cond_kwargs=added, return_dict=False)[0]]
        tokens = torch.randint(0, 49408, (1, 77), generator=numbers)
        told = module(input_ids=tokens, output_hidden_states=True)
        return [told[0], told.hidden_states[-2]]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # diffusers' and transformers' own
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_computes_what_diffusers_own_loader_makes_of_it(
    part: str, checkpoint: CheckpointFile, tmp_path: Path
) -> None:
    model = checkpoint.path.stem.removesuffix("-size")
    if part not in CONFIGS[model]:
        pytest.skip(f"{model} has no {part}")
    made = []
    for load in (lambda: ours(checkpoint, part), lambda: theirs(checkpoint, part, tmp_path)):
        made.append(one_pass(load(), part, model))
        gc.collect()
    for here, there in zip(*made, strict=True):
        assert torch.isfinite(there).all() and there.std() > 1e-3, "it would show a difference"
        assert (here - there).abs().max() <= 1e-3 * there.abs().max()
