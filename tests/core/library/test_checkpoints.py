"""Checkpoints on disk: which are found, what is cached, what is refused."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.recognition import find_checkpoint, recognise, recognise_any, recognition
from sdterm.core.names import UnknownNameError
from sdterm.core.sealed import read_sealed, write_sealed
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.events import Failed
from tests.core.conftest import Obedient

PLUGINS = load_plugins()


def model(path: Path, *keys: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: np.zeros(1, np.float16) for key in keys or ("x",)}, path)
    return path


def test_the_chosen_file_comes_first_then_folders_then_the_demo_model(tmp_path: Path) -> None:
    b, a = model(tmp_path / CHECKPOINTS / "b.safetensors"), model(tmp_path / CHECKPOINTS / "sub" / "a.safetensors")
    more, chosen = model(tmp_path / "more" / "z.safetensors"), model(tmp_path / "c.safetensors")
    model(tmp_path / CHECKPOINTS / "b.vae.safetensors")
    library = Library(tmp_path, {"checkpoint": (tmp_path / "more", tmp_path / CHECKPOINTS)}, chosen)
    assert [c.path for c in library.checkpoints()] == [chosen, more, b, a, EMBEDDED_MODEL]
    assert find_checkpoint(None, library, PLUGINS).path == chosen, "what was given is used, or refused in a sentence"
    assert find_checkpoint(None, Library(tmp_path / "empty"), PLUGINS).embedded


def test_files_that_cannot_be_drawn_with_take_nobodys_default_away(tmp_path: Path) -> None:
    model(tmp_path / CHECKPOINTS / "a flux.safetensors", "double_blocks.0.img_mod.lin.weight")
    (tmp_path / CHECKPOINTS / "b torn.safetensors").write_bytes(b"torn")
    library = Library(tmp_path)
    assert find_checkpoint(None, library, PLUGINS).embedded
    (tmp_path / CHECKPOINTS / "c good.safetensors").write_bytes(EMBEDDED_MODEL.read_bytes())
    assert find_checkpoint(None, library, PLUGINS).name == "c good"
    assert recognition(library.find("a flux"), PLUGINS).family is None, "one that is refused is of no family"


def test_a_linked_folder_is_looked_into_and_a_loop_does_not_hang(tmp_path: Path) -> None:
    far = model(tmp_path / "disk" / "far.safetensors")
    folder = tmp_path / "data" / CHECKPOINTS
    folder.mkdir(parents=True)
    (folder / "linked").symlink_to(far.parent)
    (folder / "loop").symlink_to(folder)
    assert [c.name for c in Library(tmp_path / "data").checkpoints()] == ["far", "sdterm-demo"]


def test_a_checkpoint_is_found_by_name_file_path_and_hash_in_any_case(tmp_path: Path) -> None:
    path = model(tmp_path / CHECKPOINTS / "My-Model.safetensors")
    library = Library(tmp_path)
    sha256 = library.sha256(path)
    for name in ("My-Model", "my model", "MY-MODEL.safetensors", str(path), sha256[:10], sha256):
        assert library.find(name).path == path
    with pytest.raises(UnknownNameError, match="'My-Model'"):
        library.find("my-modle")


def test_two_checkpoints_whose_names_differ_in_case_or_a_dash_are_two_models(tmp_path: Path) -> None:
    names = ("a-b", "a_b", "in/A-B")
    paths = [model(tmp_path / CHECKPOINTS / f"{name}.safetensors", name) for name in names]
    library = Library(tmp_path)
    for path in paths:
        sha256 = library.sha256(path)
        for name in (path.stem, path.name, str(path), sha256[:10], sha256):
            assert library.find(name).path == path
    with pytest.raises(UnknownNameError, match=r"'A_B' could be the model .*: write one of these"):
        library.find("A_B")


def test_what_a_file_says_of_itself_is_read_once_until_it_changes_and_nobody_changes_it(tmp_path: Path) -> None:
    path = model(tmp_path / "a.safetensors", "x")
    first = CheckpointFile(path)
    assert [*first.shapes()] == ["x"] and first.weights.header is CheckpointFile(path).weights.header  # type: ignore[union-attr]
    tables: list[Any] = [first.metadata, first.content]
    for table in tables:
        with pytest.raises(TypeError):
            table["y"] = "more"
    model(path, "y", "z")
    assert {*CheckpointFile(path).shapes()} == {"y", "z"}


def test_a_hash_is_computed_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = model(tmp_path / "m.safetensors", "a")
    library = Library(tmp_path)
    assert library.known_hash(path) is None
    first = library.sha256(path)
    cache = tmp_path / "cache" / "hashes.json"
    write_sealed(cache, json.loads(json.dumps(read_sealed(cache)).replace(first, "f" * 64)))
    assert library.sha256(path) == "f" * 64, "served from the cache"
    status = path.stat()
    model(path, "b")  # another content of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert library.sha256(path) not in (first, "f" * 64)
    cache.write_text("{ broken")
    assert len(library.sha256(path)) == 64 and read_sealed(cache)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a valid"),
        (b"\0" * 64, "not a valid"),
        (b"\xff" * 64, "not a valid"),
        (b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F16","shape":[9],"data_offsets":[0,18]}}', "not a valid"),
    ],
)
def test_a_damaged_or_lying_file_is_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=words) as raised:
        CheckpointFile(tmp_path / "m.safetensors").shapes()
    assert "m.safetensors" in str(raised.value) and "\n" not in str(raised.value)


def test_a_truncated_file_is_told_from_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(EMBEDDED_MODEL.read_bytes()[:2_000_000])
    with pytest.raises(ModelFileError, match="incomplete download"):
        CheckpointFile(path).shapes()


def test_a_folder_a_missing_file_and_a_ckpt_are_one_sentence_each(tmp_path: Path) -> None:
    (tmp_path / "d.safetensors").mkdir()
    for name in ("d.safetensors", "missing.safetensors"):
        with pytest.raises(ModelFileError, match=name):
            CheckpointFile(tmp_path / name).shapes()
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02cos\nsystem\n")
    with pytest.raises(ModelFileError, match="run foreign code"):
        CheckpointFile(tmp_path / "old.ckpt").shapes()


def test_a_file_of_no_family_is_refused_with_the_families_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"x\.safetensors.*SD 1\.x"):
        recognise(CheckpointFile(model(tmp_path / "x.safetensors")), load_plugins())


REFUSED = {
    "SD 3": (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "a transformer of SD 3."),
    "FLUX": (["double_blocks.0.img_attn.norm.key_norm.scale"], "a transformer of FLUX.1."),
    "FLUX with its prefix": (
        ["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"],
        "a transformer of FLUX.1.",
    ),
    "FLUX.2": (
        ["double_stream_modulation_img.lin.weight", "double_blocks.0.img_attn.qkv.weight"],
        "a transformer of FLUX.2.",
    ),
    "Chroma": (
        ["distilled_guidance_layer.in_proj.weight", "double_blocks.0.img_attn.qkv.weight"],
        "a transformer of Chroma.",
    ),
    "Qwen-Image": (
        ["transformer_blocks.0.img_mlp.net.0.proj.weight", "txt_norm.weight"],
        "a transformer of Qwen-Image.",
    ),
    "Z-Image": (["layers.0.adaLN_modulation.0.weight", "noise_refiner.0.x"], "a transformer of Z-Image."),
    "Stable Cascade": (["clip_txt_pooled_mapper.weight", "down_blocks.0.0.depthwise.weight"], "a Stable Cascade"),
    "PixArt": (["t_block.1.weight", "x_embedder.proj.weight"], "a PixArt"),
    "Wan": (["blocks.0.cross_attn.norm_k.weight", "patch_embedding.weight"], "a Wan video"),
    "Stable Video Diffusion": (["model.diffusion_model.input_blocks.1.0.time_stack.emb_layers.1.bias"], "Video"),
    "a ControlNet": (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
    "LoRA": (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight"], "a LoRA"),
    "a LoRA of diffusers": (["unet.down_blocks.0.attentions.0.to_q.lora_A.weight"], "a LoRA"),
    "an embedding": (["emb_params"], "an embedding"),
    "a VAE": (["encoder.conv_in.weight", "decoder.conv_in.weight"], "a VAE"),
    "a part": (["down_blocks.0.resnets.0.conv1.weight"], "a single component"),
    "no VAE": (["model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.transformer.x"], "no VAE"),
    "no text encoder": (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x"], "no text encoder"),
    "no UNet": (["first_stage_model.x", "cond_stage_model.transformer.x"], "no UNet"),
    "SDXL without a VAE": (
        [
            "conditioner.embedders.0.transformer.text_model.x",
            "conditioner.embedders.1.model.ln_final.weight",
            "model.diffusion_model.input_blocks.0.0.weight",
        ],
        "no VAE",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_sdterm_does_not_draw_with_is_known_and_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    keys, words = REFUSED[kind]
    _, match = recognise_any(CheckpointFile(model(tmp_path / "m.safetensors", *keys)), load_plugins())
    assert match.refusal and match.refusal.startswith("m.safetensors ") and words in match.refusal
    assert match.refusal.endswith(".")


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path, obedient: Obedient) -> None:
    model(tmp_path / "m.safetensors").chmod(0o000)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError\n"
        "try:\n    CheckpointFile(Path(sys.argv[1])).shapes()\nexcept ModelFileError as error:\n    print(error)\n"
    )
    path = tmp_path / "m.safetensors"
    assert obedient(program, path) == f"{path} cannot be read: Permission denied.\n"


LIES: dict[str, object] = {
    "no table": 7,
    "a size that is no number": {"native_size": "big"},
    "a size below nothing": {"native_size": -512},
    "a size that is no whole number of cells": {"native_size": 100},
    "a size beyond all memory": {"native_size": 8 * 10**9},
    "a UNet that is a number": {"unet": 5},
    "heads that are text": {"unet": {"attention_head_dim": "x"}},
    "heads that do not fit": {"text_encoder": {"num_attention_heads": 7}},
    "a schedule of text": {"schedule": {"linear_start": "x"}},
    "a schedule without steps": {"schedule": {"timesteps": 0}},
    "a schedule that goes backwards": {"schedule": {"timesteps": -1}},
    "a scale of text": {"vae": {"scaling_factor": "x"}},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_checkpoint_that_lies_about_its_architecture_ends_in_one_sentence(lie: str, tmp_path: Path) -> None:
    """What a file's header says of its model is a stranger's word."""
    with safe_open(EMBEDDED_MODEL, "np") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    told: object = json.loads(metadata["sdterm.architecture"])
    match (told, LIES[lie]):
        case (dict(truth), dict(claims)):
            told = truth | {k: truth.get(k, {}) | v if isinstance(v, dict) else v for k, v in claims.items()}
        case (_, claim):
            told = claim
    save_file(tensors, tmp_path / "liar.safetensors", {"sdterm.architecture": json.dumps(told)})
    engine = Engine(library=Library(tmp_path, chosen=tmp_path / "liar.safetensors"), device="cpu")
    *_, last = engine.run(GenerationRequest(prompt="cat", steps=1), load_plugins())
    assert isinstance(last, Failed) and "liar.safetensors" in last.message


@pytest.mark.parametrize("text", ["{", "- a list", "model: 5", "model: {params: {unet_config: 7}}", "\0", "a: &a [*a]"])
def test_a_yaml_that_makes_no_sense_beside_a_checkpoint_is_one_sentence(text: str, tmp_path: Path) -> None:
    with safe_open(EMBEDDED_MODEL, "np") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    save_file(tensors, tmp_path / "m.safetensors")
    (tmp_path / "m.yaml").write_text(text)
    known = recognition(CheckpointFile(tmp_path / "m.safetensors"), load_plugins())
    assert not known.usable and re.search(r"m\.(yaml|safetensors)", known.note)
