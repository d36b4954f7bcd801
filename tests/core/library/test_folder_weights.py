"""A diffusers folder is read as one checkpoint, part by part."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError
from sdterm.core.library.folder_weights import FolderWeights
from sdterm.core.library.hashes import hashes_of
from sdterm.core.library.recognition import recognition

CPU = torch.device("cpu")


def written(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One with a sharded UNet, a VAE in half precision and a pickled text encoder."""
    root = tmp_path / "tiny-v1.5"
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    index: dict[str, Any] = {name: ["diffusers", kind] for name, kind in parts.items()}
    index |= {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "safety_checker": [None, None]}
    written(root / "model_index.json", index)
    for name, kind in parts.items():
        written(root / name / "config.json", {"_class_name": kind})
    written(root / "scheduler" / "scheduler_config.json", {"prediction_type": "v_prediction"})
    shards = {"a": torch.ones(2), "b": torch.zeros(3)}
    names = {key: f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n, key in enumerate(shards, start=1)}
    for key, name in names.items():
        save_file({key: shards[key]}, root / "unet" / name)
    written(root / "unet" / "diffusion_pytorch_model.safetensors.index.json", {"weight_map": names})
    save_file({"c": torch.ones(1).half()}, root / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    torch.save({"d": torch.ones(4)}, root / "text_encoder" / "pytorch_model.bin")
    return root


def test_all_parts_are_read_by_their_names(folder: Path) -> None:
    read: list[int] = []
    checkpoint = CheckpointFile(folder, on_read=read.append)
    assert checkpoint.name == "tiny-v1.5"
    assert checkpoint.shapes() == {"unet.a": (2,), "unet.b": (3,), "vae.c": (1,), "text_encoder.d": (4,)}
    tensors = checkpoint.read(["unet.b", "vae.c", "text_encoder.d", "unet.a"], CPU, torch.float32)
    assert {key: tensor.tolist() for key, tensor in tensors.items()} == {
        "unet.a": [1, 1],
        "unet.b": [0, 0, 0],
        "vae.c": [1],
        "text_encoder.d": [1, 1, 1, 1],
    }
    assert sum(read) == 10
    config = checkpoint.config
    assert config and config["unet"] == {"_class_name": "UNet2DConditionModel"}
    assert config["scheduler"] == {"prediction_type": "v_prediction"} and "tokenizer" not in config
    assert checkpoint.metadata == {"_class_name": "StableDiffusionPipeline"}
    assert checkpoint.content["tokenizer"] == ["transformers", "CLIPTokenizer"]
    assert {part: len(files) for part, files in checkpoint.parts.items()} == {"unet": 2, "vae": 1, "text_encoder": 1}


def test_parts_whose_weights_are_missing_are_named(folder: Path) -> None:
    (folder / "text_encoder" / "pytorch_model.bin").unlink()
    weights = FolderWeights(folder)
    assert weights.lacking == ("text_encoder",) and "text_encoder.d" not in weights.shapes()
    weights.check_complete(["text_encoder"])
    with pytest.raises(ModelFileError, match="the weights of its component text_encoder are missing"):
        weights.check_complete()


def test_its_hash_is_that_of_its_weights_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    before = hashes_of(folder)["sha256"]
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert hashes_of(tmp_path / "elsewhere")["sha256"] == before
    save_file({"c": torch.zeros(1).half()}, folder / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    assert hashes_of(folder)["sha256"] != before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model_index.json", "{", "model_index.json is not valid JSON"),
        ("model_index.json", "[]", "model_index.json is not a table"),
        ("model_index.json", "{}", "names no component"),
        ("model_index.json", '{"../../unet": ["a", "b"]}', "names no component"),
        ("unet/diffusion_pytorch_model.safetensors.index.json", "{}", "is empty"),
        (
            "unet/diffusion_pytorch_model.safetensors.index.json",
            '{"weight_map": {"a": "../x"}}',
            "does not exist beside it",
        ),
        (
            "unet/diffusion_pytorch_model.safetensors.index.json",
            '{"weight_map": {"a": "x"}}',
            "the file x of its component unet is missing",
        ),
        ("text_encoder/pytorch_model.bin", "cos\nsystem\n", r"^[\w.-]+/text_encoder/pytorch_model\.bin is neither"),
    ],
)
def test_an_unsound_folder_is_one_sentence(name: str, content: str, words: str, folder: Path) -> None:
    (folder / name).write_text(content)
    with pytest.raises(ModelFileError, match=words):
        CheckpointFile(folder).shapes()
    said = recognition(CheckpointFile(folder), load_plugins(None, third_party=False))
    assert not said.usable and said.note.endswith(".") and said.note.isprintable()
