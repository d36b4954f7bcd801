"""Checkpoints of full size, with random weights: each part computes what diffusers' single-file loader makes of it."""

import gc
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.library.recognition import recognise
from sdterm.plugins.sd.clip_text import ClipTextModel
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
_NUMBER = 256  # how wide each number is that SDXL is told
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
    "sd21": {
        "unet": {
            **_UNET,
            "block_out_channels": [320, 640, 1280, 1280],
            "down_block_types": [_DOWN] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + [_UP] * 3,
            "cross_attention_dim": 1024,
            "attention_head_dim": [5, 10, 20, 20],
            "use_linear_projection": True,
        },
        "vae": {**_VAE, "scaling_factor": 0.18215},
        "text_encoder": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
    },
    "sdxl": {
        "unet": {
            **_UNET,
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D"] + [_DOWN] * 2,
            "up_block_types": [_UP] * 2 + ["UpBlock2D"],
            "cross_attention_dim": 2048,
            "attention_head_dim": [5, 10, 20],
            "transformer_layers_per_block": [1, 2, 10],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _NUMBER,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": {**_VAE, "scaling_factor": 0.13025},
        "text_encoder": _CLIP_L,
        "text_encoder_2": {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 20,
            "hidden_act": "gelu",
            "projection_dim": 1280,
        },
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


def weights_of(module: torch.nn.Module) -> dict[str, str]:
    """A digest of each weight, by the names that both have in common."""
    ours_of = {"class_embedding.": "add_embedding.", "text_model.": "", "text_projection.weight": "text_projection"}
    found = {}
    for name, weight in module.named_parameters():
        turned = weight.T if name == "text_projection" else weight  # diffusers has a linear layer there
        for theirs, common in ours_of.items():
            name = name.removeprefix(theirs) if not common else name.replace(theirs, common)
        numbers = turned.detach().contiguous().view(torch.int16).numpy()
        found[name] = f"{tuple(turned.shape)} {hashlib.sha256(numbers.data).hexdigest()}"
    return found


def looked_at(module: Any, part: str, model: str) -> tuple[dict[str, str], list[torch.Tensor]]:
    """Its weights as they were read, and what it computes in float32: in bfloat16 rounding would hide what a wrong
    number of heads does."""
    return weights_of(module), one_pass(in_float32(module), part, model)


def in_float32(module: torch.nn.Module) -> torch.nn.Module:
    """What computes in float32 with the weights that it has. Each layer's are turned only while it runs: SDXL's UNet
    alone would take 10 GB, beside other tests more than there is."""

    def up(layer: torch.nn.Module, *_: object) -> None:
        layer.float()

    def down(layer: torch.nn.Module, *_: object) -> None:
        layer.bfloat16()

    for layer in module.modules():
        if not list(layer.children()) and list(layer.parameters(recurse=False)):
            layer.register_forward_pre_hook(up)
            layer.register_forward_hook(down)
        else:
            for own in layer.parameters(recurse=False):
                own.data = own.data.float()
    return module


def one_pass(module: Any, part: str, model: str) -> list[torch.Tensor]:
    """What a part makes of a small input."""
    numbers = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=numbers)

    with torch.inference_mode():
        if part == "vae":
            return [module.encode(random(1, 3, 64, 64)).latent_dist.mode(), module.decode(random(1, 4, 8, 8)).sample]
        if part == "unet":
            size = full_size.SIZES[model]
            x, t, context = random(2, 4, 16, 16), torch.tensor([500, 20]), random(2, 77, size.context)
            beside = _beside(module, random(2, size.vector - 6 * _NUMBER)) if size.vector else {}
            return [module(x, t, encoder_hidden_states=context, return_dict=False, **beside)[0]]
        tokens = torch.randint(0, 49406, (1, 77), generator=numbers)
        tokens[0, 50:] = 49407  # the end, where a text is pooled
        layers = CONFIGS[model][part]["num_hidden_layers"]
        is_ours = isinstance(module, ClipTextModel)
        told: Any = module(tokens) if is_ours else module(input_ids=tokens, output_hidden_states=True)
        found = [(told.hidden if is_ours else told.hidden_states)[layer] for layer in (1, layers - 1, layers)]
        if part == "text_encoder_2":
            found.append(told.last[0, 50:51] @ module.text_projection if is_ours else told.text_embeds)
        return found


def _beside(unet: Any, pooled: torch.Tensor) -> dict[str, Any]:
    """What SDXL's UNet is told beside the text: diffusers' puts it together itself, ours is given the whole vector."""
    from diffusers.models.embeddings import get_timestep_embedding

    sizes = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024], [512, 768, 8, 0, 512, 768]])
    if unet.config.addition_embed_type == "text_time":
        return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
    told = get_timestep_embedding(sizes.flatten(), _NUMBER, flip_sin_to_cos=True, downscale_freq_shift=0)
    return {"class_labels": torch.cat([pooled, told.reshape(2, -1)], dim=1)}


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # diffusers' and transformers' own
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "text_encoder_2"])
def test_a_part_computes_what_diffusers_own_loader_makes_of_it(
    part: str, checkpoint: CheckpointFile, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    model = checkpoint.path.stem.removesuffix("-size")
    if part not in CONFIGS[model]:
        return
    weights, told = looked_at(ours(checkpoint, part), part, model)
    gc.collect()  # one in memory at a time
    others, expected = looked_at(theirs(checkpoint, part, tmp_path), part, model)
    assert others.keys() <= weights.keys(), "of SD 2's text encoder we have the last layer, too, which nothing reads"
    assert not [name for name, other in others.items() if weights[name] != other]
    for here, there in zip(told, expected, strict=True):
        off = float((here - there).abs().max() / there.std())
        record_property("off", off)
        assert torch.isfinite(there).all() and off <= 1e-4
