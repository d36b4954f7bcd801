"""Models that diffusers has a pipeline for are recognised by what lies on the disk, without importing any of it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, Library
from sdterm.core.library.kinds import kind_by_shapes
from sdterm.core.library.recognition import Recognition, recognise_any, recognition
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.plugins.pipelines import options_of, tasks
from tests.core.library.test_gguf_header import gguf

PLUGINS = load_plugins(None, third_party=False)
TRANSFORMER = {"num_layers": 2, "num_single_layers": 1, "num_attention_heads": 2, "attention_head_dim": 16}
CLIP = {"hidden_size": 12, "vocab_size": 50, "num_hidden_layers": 1}
T5 = {"d_model": 20, "vocab_size": 60, "num_layers": 2}
VAE = {"latent_channels": 16, "block_out_channels": [8, 8, 8, 24]}
Parts = Mapping[str, tuple[str, str, Mapping[str, Any]]]
FLUX: Parts = {
    "transformer": ("diffusers", "FluxTransformer2DModel", TRANSFORMER),
    "text_encoder": ("transformers", "CLIPTextModel", CLIP),
    "text_encoder_2": ("transformers", "T5EncoderModel", T5),
    "vae": ("diffusers", "AutoencoderKL", VAE),
}
BESIDE = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
}
SMALL = {
    "scheduler": "scheduler_config.json",
    "tokenizer": "vocab.json",
    "tokenizer_2": "tokenizer.json",
}
CHECKER = ["stable_diffusion", "StableDiffusionSafetyChecker"]
WEIGHTS: Mapping[str, dict[str, tuple[int, ...]]] = {
    "transformer": {"double_blocks.1.img_attn.qkv.weight": (96, 32), "single_blocks.0.linear1.weight": (96, 32)},
    "text_encoder": {
        "text_model.embeddings.token_embedding.weight": (50, 12),
        "text_model.encoder.layers.0.mlp.fc1.weight": (12, 12),
    },
    "text_encoder_2": {"shared.weight": (60, 20), "encoder.block.1.layer.0.SelfAttention.q.weight": (20, 20)},
    "vae": {"decoder.conv_in.weight": (24, 16, 3, 3)},
}
"""As the files of ComfyUI have them."""


def weights(path: Path, shapes: Mapping[str, tuple[int, ...]], prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({prefix + key: np.zeros(shape, np.float16) for key, shape in shapes.items()}, path)
    return path


def folder(
    root: Path,
    parts: Parts = FLUX,
    kind: Any = "FluxPipeline",
    without: tuple[str, ...] = (),
    **more: Any,
) -> Path:
    """A diffusers folder, its weights a tensor each."""
    root.mkdir(parents=True, exist_ok=True)
    index = {"_class_name": kind, **BESIDE, **{name: each[:2] for name, each in parts.items()}, **more}
    (root / "model_index.json").write_text(json.dumps(index))
    for name, small in SMALL.items():
        (root / name).mkdir(exist_ok=True)
        (root / name / small).write_text("{}")
    for name, (library, _, config) in parts.items():
        stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
        (root / name).mkdir(exist_ok=True)
        (root / name / "config.json").write_text(json.dumps(config))
        if name not in without:
            weights(root / name / f"{stem}.safetensors", {"weight": (3, 5)})
    return root


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


def known(library: Library, name: str) -> Recognition:
    return recognition(library.find(name), PLUGINS)


def test_a_folder_is_listed_with_its_family_size_and_licence(library: Library) -> None:
    at = folder(library.root / CHECKPOINTS / "tiny-flux")
    (at / "README.md").write_text(
        "---\nlicense: other\nlicense_name: flux-1-dev\ntags:\n- text-to-image\n---\n# Flux\n"
    )
    found = known(library, "tiny-flux")
    assert (found.usable, found.family, found.native_size, found.process) == (True, "Flux", 1024, "flow")
    assert found.licence == "flux-1-dev" and not found.depends
    (file,) = (file for file in library.files("checkpoint") if file.is_folder)
    assert file.size == sum(path.stat().st_size for path in at.rglob("*") if path.is_file())
    checkpoint = library.find("tiny-flux")
    _, match = recognise_any(checkpoint, PLUGINS)
    assert match.numbers == dict.fromkeys(FLUX, 15) and (match.downscale, match.size_step) == (8, 16)
    assert tasks(checkpoint) == {"txt2img", "img2img", "inpaint"}
    assert {"max_sequence_length"} <= {option.name for option in options_of(checkpoint)}


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("WanPipeline", {}, "x is a WanPipeline, which makes videos; sdterm generates images."),
        ("StableAudioPipeline", {}, "x is a StableAudioPipeline, which makes sound; sdterm generates images."),
        ("KandinskyV22CombinedPipeline", {}, "two pipelines in two folders"),
        ("FluxPriorReduxPipeline", {}, "makes no image by itself"),
        ("Flux9Pipeline", {}, "which the installed diffusers does not have"),
        (["mine", "Mine"], {}, "contains its own pipeline as Python code, which sdterm does not run"),
        ("FluxPipeline", {"vae": ["os", "system"]}, "for vae its model_index.json asks for system from os"),
        ("FluxPipeline", {"feature_extractor": ["mine", "Mine"]}, "only loads code from diffusers and transformers"),
        ("FluxPipeline", {"vae": ["kolors", "Anything"]}, "asks for Anything from kolors"),
    ],
)
def test_what_is_not_drawn_with_says_so_in_one_sentence(
    kind: Any, more: dict[str, Any], said: str, library: Library
) -> None:
    folder(library.root / CHECKPOINTS / "x", kind=kind, without=("vae",), **more)
    found = known(library, "x")
    assert not found.usable and said in found.note and found.note.endswith(".") and found.note.isprintable()


@pytest.mark.parametrize(
    "config",
    [
        {"sample_size": ["x", 64], "block_out_channels": ["a"] * 99, "num_layers": "many", "attention_head_dim": None},
        {"sample_size": -1, "block_out_channels": [{}], "z_dim": [], "base_dim": 10**18, "dim_mult": ["a"]},
        {"sample_size": 10**18, "vocab_size": "x", "text_config": 3, "quantization_config": "x", "latent_channels": {}},
    ],
)
def test_configurations_without_sense_are_no_trouble(config: dict[str, Any], library: Library) -> None:
    parts = {name: (*each[:2], config) for name, each in FLUX.items()}
    folder(library.root / CHECKPOINTS / "x", parts)
    folder(library.root / CHECKPOINTS / "small", parts, without=tuple(parts))
    weights(library.root / CHECKPOINTS / "mine.safetensors", WEIGHTS["transformer"])
    weights(library.root / "models" / "VAE" / "ae.safetensors", WEIGHTS["vae"])
    weights(library.root / "models" / "text_encoder" / "t.safetensors", WEIGHTS["text_encoder"])
    for name in ("x", "small", "mine"):
        found = known(library, name)
        assert (found.usable and 0 < (found.native_size or 0) < 2**20) or found.note.endswith(".")
        assert "raised" not in found.note and "Error" not in found.note


def test_a_part_of_a_folder_of_diffusers_own_pipelines_is_its_own(library: Library) -> None:
    parts = {**FLUX, "text_encoder": ("kolors", "ChatGLMModel", CLIP)}
    folder(library.root / CHECKPOINTS / "x", parts, "KolorsPipeline")
    assert known(library, "x").family == "Kolors"


def test_a_quantized_part_names_the_package_that_reads_it(library: Library) -> None:
    said = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    folder(library.root / CHECKPOINTS / "x", {**FLUX, "transformer": (*FLUX["transformer"][:2], TRANSFORMER | said)})
    found = known(library, "x")
    assert not found.usable and "needs a package: `pip install bitsandbytes`." in found.note


def test_a_single_file_says_what_it_lacks_until_all_is_there(library: Library) -> None:
    """As ComfyUI's users have them: each part a file, and of the folder only what is small."""
    models = library.root / "models"
    weights(library.root / CHECKPOINTS / "mine.safetensors", WEIGHTS["transformer"], "model.diffusion_model.")

    def note() -> str:
        found = known(library, "mine")
        assert not found.usable and found.depends
        return found.note

    assert "is a transformer of FLUX.1" in note()
    assert "sdterm models add hf:black-forest-labs/FLUX.1-dev/model_index.json --without" in note()
    folder(library.root / CHECKPOINTS / "small", without=tuple(FLUX))
    assert "its text encoder text_encoder (CLIPTextModel), which belongs in models/text_encoder" in note()
    assert "; its VAE (AutoencoderKL), which belongs in models/VAE or small/vae." in note()
    weights(models / "text_encoder" / "a.safetensors", WEIGHTS["text_encoder_2"])
    weights(models / "text_encoder" / "b.safetensors", WEIGHTS["text_encoder"])
    assert "text_encoder" not in note()
    weights(models / "VAE" / "wrong.safetensors", {"decoder.conv_in.weight": (24, 4, 3, 3)})
    assert "its VAE" in note()
    weights(models / "VAE" / "ae.safetensors", WEIGHTS["vae"])
    assert known(library, "mine").family == "Flux"
    _, match = recognise_any(library.find("mine"), PLUGINS)
    assert match.files == {
        "text_encoder": models / "text_encoder" / "b.safetensors",
        "text_encoder_2": models / "text_encoder" / "a.safetensors",
        "vae": models / "VAE" / "ae.safetensors",
    }
    lacking = "small lacks the weights of its transformer (FluxTransformer2DModel), which belong in small/transformer."
    assert known(library, "small").note == lacking


def test_a_folder_that_lacks_a_part_says_which(library: Library) -> None:
    """Whatever else its keys look like: PixArt's are those of other models, too."""
    parts = {**FLUX, "transformer": ("diffusers", "PixArtTransformer2DModel", TRANSFORMER)}
    at = folder(library.root / CHECKPOINTS / "x", parts, "PixArtSigmaPipeline", without=("vae",))
    weights(at / "transformer" / "diffusion_pytorch_model.safetensors", {"scale_shift_table": (2, 32)})
    said = "x lacks its VAE (AutoencoderKL), which belongs in models/VAE or x/vae."
    assert known(library, "x").note == said


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("tokenizer/vocab.json", "x lacks tokenizer/tokenizer.json (CLIPTokenizer)."),
        ("scheduler", "x lacks scheduler/scheduler_config.json (FlowMatchEulerDiscreteScheduler)."),
        ("transformer/config.json", "x lacks transformer/config.json (FluxTransformer2DModel)."),
        ("feature_extractor", "x lacks feature_extractor (CLIPImageProcessor)."),
    ],
)
def test_a_folder_that_lacks_a_small_file_is_not_drawn_with_by_what_a_library_makes_up(
    gone: str, said: str, library: Library
) -> None:
    at = folder(library.root / CHECKPOINTS / "x", feature_extractor=["transformers", "CLIPImageProcessor"])
    (at / "feature_extractor").mkdir()
    (at / "feature_extractor" / "preprocessor_config.json").write_text("{}")
    (at / "tokenizer" / "tokenizer_config.json").write_text("{}")
    assert known(library, "x").usable
    if (at / gone).is_dir():
        shutil.rmtree(at / gone)
    else:
        (at / gone).unlink()
    found = known(library, "x")
    assert not found.usable and found.note == f"{said} Copy or download the complete folder again."


def test_a_whole_folder_lends_all_that_a_transformer_needs(library: Library) -> None:
    lent = folder(library.root / CHECKPOINTS / "whole")
    weights(library.root / CHECKPOINTS / "mine.safetensors", WEIGHTS["transformer"])
    _, match = recognise_any(library.find("mine"), PLUGINS)
    assert match.label == "Flux" and match.files == dict.fromkeys(("text_encoder", "text_encoder_2", "vae"), lent)


def test_a_broken_folder_beside_it_leaves_a_transformer_alone(library: Library) -> None:
    broken = folder(library.root / CHECKPOINTS / "broken")
    (broken / "transformer" / "config.json").write_text('{"num_lay')
    folder(library.root / CHECKPOINTS / "whole")
    weights(library.root / CHECKPOINTS / "mine.safetensors", WEIGHTS["transformer"])
    assert known(library, "mine").family == "Flux"
    assert "transformer/config.json is not valid JSON" in known(library, "broken").note


def test_files_that_are_added_go_where_they_are_looked_for() -> None:
    kinds = {part: kind_by_shapes(shapes) for part, shapes in WEIGHTS.items()}
    text = dict.fromkeys(("text_encoder", "text_encoder_2"), "text_encoder")
    assert kinds == {"transformer": "checkpoint", "vae": "vae", **text}
    assert (
        kind_by_shapes({"model.diffusion_model.x": (1,), "text_encoders.t5xxl.shared.weight": (2, 2)}) == "checkpoint"
    )


def test_a_folder_of_another_depth_lends_nothing(library: Library) -> None:
    deeper = {**FLUX, "transformer": (*FLUX["transformer"][:2], TRANSFORMER | {"num_layers": 7})}
    folder(library.root / CHECKPOINTS / "whole", deeper)
    weights(library.root / CHECKPOINTS / "mine.safetensors", WEIGHTS["transformer"])
    assert "hf:black-forest-labs/FLUX.1-dev" in known(library, "mine").note


def test_one_file_may_hold_all(library: Library) -> None:
    parts = {"model.diffusion_model.": "transformer", "text_encoders.clip_l.transformer.": "text_encoder"}
    parts |= {"text_encoders.t5xxl.transformer.": "text_encoder_2", "first_stage_model.": "vae"}
    whole = {prefix + key: shape for prefix, part in parts.items() for key, shape in WEIGHTS[part].items()}
    weights(library.root / CHECKPOINTS / "all.safetensors", whole)
    folder(library.root / CHECKPOINTS / "small", without=tuple(FLUX))
    assert known(library, "all").family == "Flux"
    _, match = recognise_any(library.find("all"), PLUGINS)
    assert match.files == {} or set(match.files.values()) == {library.root / CHECKPOINTS / "small"}


def test_a_packed_transformer_is_known_by_its_header(library: Library) -> None:
    folder(library.root / CHECKPOINTS / "whole")
    shapes = {key: ("F16", shape) for key, shape in WEIGHTS["transformer"].items()}
    (library.root / CHECKPOINTS / "mine.gguf").write_bytes(gguf(shapes))
    assert known(library, "mine").family == "Flux"


def test_folders_of_sd_and_sdxl_stay_native_and_can_be_drawn_by_their_pipeline(library: Library) -> None:
    parts: Parts = {
        "unet": ("diffusers", "UNet2DConditionModel", {"sample_size": 64}),
        "vae": ("diffusers", "AutoencoderKL", VAE),
        "text_encoder": ("transformers", "CLIPTextModel", CLIP | {"hidden_act": "quick_gelu"}),
    }
    at = folder(library.root / CHECKPOINTS / "sd", parts, "StableDiffusionPipeline", safety_checker=CHECKER)
    weights(at / "unet" / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (8, 4, 3, 3)})
    checkpoint = library.find("sd")
    assert recognition(checkpoint, PLUGINS).family == "SD 1.x"
    (pipeline,) = (each for each in [PLUGINS.pipeline("diffusers")])
    _, match = recognise_any(checkpoint, PLUGINS, pipeline)
    assert (match.label, match.native_size, match.size_step, match.process) == ("SD", 512, 8, "flow")


def test_a_folder_whose_files_changed_is_looked_at_again(library: Library) -> None:
    at = folder(library.root / CHECKPOINTS / "x")
    before = library.files("checkpoint")[0].stamp
    shutil.copy(at / "vae" / "config.json", at / "vae" / "again.json")
    assert library.files("checkpoint")[0].stamp != before


def test_a_checkpoint_by_its_path_alone_has_nothing_around_it(tmp_path: Path) -> None:
    path = weights(tmp_path / "mine.safetensors", WEIGHTS["transformer"])
    assert CheckpointFile(path).others("vae") == ()
    assert "is a transformer of FLUX.1" in recognition(CheckpointFile(path), PLUGINS).note
