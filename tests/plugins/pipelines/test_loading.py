"""Small pipelines are loaded from what users have: folders of all kinds, and parts in files of their own."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.hooks import PluginError
from sdterm.plugins.pipelines import detect, load
from sdterm.plugins.pipelines.loading import filled, unscaled
from sdterm.plugins.pipelines.single_files import is_vae
from tests.pipelines.building import build

CPU = torch.device("cpu")
State = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Z-Image: a text encoder, a transformer and a VAE."""
    return build("z-image", tmp_path_factory.mktemp("built") / "z-image")


@pytest.fixture
def library(built: Path, tmp_path: Path) -> Iterator[Library]:
    shutil.copytree(built, tmp_path / CHECKPOINTS / "z")
    yield Library(tmp_path)


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def loaded(library: Library, name: str, dtype: torch.dtype = torch.float32) -> Any:
    checkpoint = library.find(name)
    match = detect(checkpoint)
    assert match and not match.refusal
    pipe = load(checkpoint, CPU, dtype)
    assert not any(module.training for module in pipe.components.values() if isinstance(module, torch.nn.Module))
    return pipe


def assert_same(module: torch.nn.Module, wanted: State) -> None:
    own = module.state_dict()
    assert own.keys() >= wanted.keys()
    assert all(torch.equal(own[key], tensor.to(own[key].dtype)) for key, tensor in wanted.items())


def test_a_folder_is_loaded_as_diffusers_loads_it_and_tells_how_far_it_is(library: Library, built: Path) -> None:
    import diffusers

    read: list[int] = []
    checkpoint = library.find("z")
    object.__setattr__(checkpoint, "on_read", read.append)
    pipe, theirs = load(checkpoint, CPU, torch.bfloat16), diffusers.DiffusionPipeline.from_pretrained(built)
    assert type(pipe) is type(theirs)
    for part in ("transformer", "text_encoder", "vae"):
        assert_same(pipe.components[part], theirs.components[part].state_dict())
        assert pipe.components[part].dtype == torch.bfloat16
    match = detect(checkpoint)
    assert match and sum(read) == sum(match.numbers.values()) > 0 and len(read) == 3


def test_halves_and_shards_are_read_where_there_is_nothing_better(library: Library, built: Path) -> None:
    import diffusers

    at = library.root / CHECKPOINTS / "z"
    pipe = diffusers.DiffusionPipeline.from_pretrained(built)
    shutil.rmtree(at / "transformer")
    pipe.transformer.save_pretrained(at / "transformer", variant="fp16", max_shard_size="30KB")
    assert len([*(at / "transformer").glob("*.fp16-*.safetensors")]) > 1
    shutil.rmtree(at / "vae")
    pipe.vae.half().save_pretrained(at / "vae", variant="fp16")
    again = loaded(library, "z")
    assert_same(again.transformer, pipe.transformer.state_dict())
    assert_same(again.vae, pipe.vae.state_dict())


@pytest.mark.parametrize(
    ("part", "key"), [("text_encoder", "layers.0.mlp.up_proj.weight"), ("transformer", "x_pad_token")]
)
def test_weights_that_a_folder_lacks_are_named_and_not_made_up(part: str, key: str, library: Library) -> None:
    """Both libraries would fill them with random numbers, others each time."""
    (file,) = (library.root / CHECKPOINTS / "z" / part).glob("*.safetensors")
    state = load_file(file)
    (there,) = (each for each in state if each.endswith(key))
    del state[there]
    save_file(state, file, {"format": "pt"})
    with pytest.raises(PluginError, match=rf"^z/{part} lacks the tensor .*{re.escape(key)} of a \w+"):
        loaded(library, "z")


def test_pickles_are_read_and_never_run(library: Library, built: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "harm",)

    at = library.root / CHECKPOINTS / "z"
    for part in ("text_encoder", "vae"):
        state = state_of(built / part)
        shutil.rmtree(at / part)
        shutil.copytree(built / part, at / part, ignore=shutil.ignore_patterns("*.safetensors"))
        torch.save(
            state, at / part / ("pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin")
        )
    pipe = loaded(library, "z")
    for part in ("text_encoder", "vae"):
        assert_same(pipe.components[part], state_of(built / part))
    torch.save({"a": Harm()}, at / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(Exception, match=r"diffusion_pytorch_model\.bin"):
        loaded(library, "z")
    assert not (tmp_path / "harm").exists()


def test_code_that_a_folder_brings_is_not_run(library: Library, tmp_path: Path) -> None:
    at = library.root / CHECKPOINTS / "z"
    index = json.loads((at / "model_index.json").read_text()) | {"tokenizer": ["transformers", "Qwen2VLProcessor"]}
    (at / "model_index.json").write_text(json.dumps(index))
    shutil.rmtree(at / "tokenizer")
    (at / "tokenizer").mkdir()
    (at / "tokenizer" / "mine.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')\nclass Mine: pass\n")
    said = {"image_processor_type": "Mine", "auto_map": {"AutoImageProcessor": "mine.Mine"}}
    (at / "tokenizer" / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(PluginError, match=r"^z cannot be loaded: .*custom code"):
        load(library.find("z"), CPU, torch.float32)
    assert not (tmp_path / "harm").exists()


def original(state: State) -> dict[str, torch.Tensor]:
    """Z-Image's keys as its makers and ComfyUI have them."""
    renamed = {"all_final_layer.2-1.": "final_layer.", "all_x_embedder.2-1.": "x_embedder."}
    renamed |= {".attention.to_out.0.": ".attention.out.", ".norm_k.": ".k_norm.", ".norm_q.": ".q_norm."}
    found = {}
    for key, tensor in state.items():
        if ".attention.to_q." in key:
            parts = [state[key.replace("to_q", each)] for each in ("to_q", "to_k", "to_v")]
            key, tensor = key.replace("to_q", "qkv"), torch.cat(parts)
        elif ".attention.to_k." in key or ".attention.to_v." in key:
            continue
        for theirs, its in renamed.items():
            key = key.replace(theirs, its)
        found[f"model.diffusion_model.{key}"] = tensor.contiguous()
    return found


def test_a_transformer_and_its_parts_in_files_of_their_own_are_the_same_model(library: Library, built: Path) -> None:
    at, models = library.root / CHECKPOINTS, library.root / "models"
    for part in ("transformer", "text_encoder", "vae"):
        for file in (at / "z" / part).glob("*.safetensors"):
            file.unlink()
    save_file(original(state_of(built / "transformer")), at / "mine.safetensors")
    for folder, part in (("text_encoder", "text_encoder"), ("VAE", "vae")):
        (models / folder).mkdir()
        state = state_of(built / part)
        if part == "text_encoder":  # as it is saved with what would go on writing
            state = {f"model.{key}": tensor for key, tensor in state.items()} | {"lm_head.weight": torch.zeros(2, 2)}
        save_file(state, models / folder / "its.safetensors")
    pipe = loaded(library, "mine")
    for part in ("transformer", "text_encoder", "vae"):
        assert_same(pipe.components[part], state_of(built / part))


def test_a_file_that_lacks_tensors_is_one_sentence(library: Library, built: Path) -> None:
    state = original(state_of(built / "transformer"))
    gone = next(key for key in state if "feed_forward" in key)
    del state[gone]
    save_file(state, library.root / CHECKPOINTS / "half.safetensors")
    with pytest.raises(PluginError, match=r"^half\.safetensors lacks the tensor .* of a ZImageTransformer2DModel"):
        load(library.find("half"), CPU, torch.float32)


def test_a_vae_under_its_makers_keys_is_the_same_vae(tmp_path: Path) -> None:
    """FLUX.2's, which diffusers' own table of such files does not have."""
    at = build("flux2-klein", tmp_path / CHECKPOINTS / "klein")
    renamed = {r"^(post_)?quant_conv\.": lambda m: f"{'de' if m[1] else 'en'}coder.{m[0]}"}
    renamed |= {r"encoder\.down_blocks\.(\d)\.": lambda m: f"encoder.down.{m[1]}."}
    renamed |= {r"decoder\.up_blocks\.(\d)\.": lambda m: f"decoder.up.{3 - int(m[1])}."}
    renamed |= {r"mid_block\.resnets\.(\d)\.": lambda m: f"mid.block_{int(m[1]) + 1}."}
    plain = {
        "mid_block.attentions.0.": "mid.attn_1.",
        "group_norm.": "norm.",
        "to_out.0.": "proj_out.",
        ".resnets.": ".block.",
    }
    plain |= {
        "to_q.": "q.",
        "to_k.": "k.",
        "to_v.": "v.",
        "conv_shortcut.": "nin_shortcut.",
        "conv_norm_out.": "norm_out.",
    }
    plain |= {"downsamplers.0.": "downsample.", "upsamplers.0.": "upsample."}
    state, theirs = state_of(at / "vae"), {}
    for key, tensor in state.items():
        own = key
        for pattern, change in renamed.items():
            own = re.sub(pattern, change, own)
        for its, name in plain.items():
            own = own.replace(its, name)
        theirs[own] = tensor
    assert theirs.keys() != state.keys()
    for file in (at / "vae").glob("*.safetensors"):
        file.unlink()
    (tmp_path / "models" / "VAE").mkdir()
    save_file(theirs, tmp_path / "models" / "VAE" / "flux2-vae.safetensors")
    assert_same(loaded(Library(tmp_path), "klein").vae, state)


def test_qwen_images_vae_under_its_makers_keys_is_the_same_vae(tmp_path: Path) -> None:
    import diffusers

    vae: Any = diffusers.AutoencoderKLQwenImage(base_dim=8, z_dim=4)
    vae.save_pretrained(tmp_path / "vae")
    residual = {"norm1.": "residual.0.", "conv1.": "residual.2.", "norm2.": "residual.3.", "conv2.": "residual.6."}
    ends = {r"coder\.conv_in\.": "coder.conv1.", r"norm_out\.": "head.0.", r"conv_out\.": "head.2."}
    ends |= {r"^quant_conv\.": "conv1.", r"^post_quant_conv\.": "conv2.", r"mid_block\.attentions\.0": "middle.1"}
    theirs = {}
    for key, tensor in vae.state_dict().items():
        own = key
        for pattern, name in ends.items():
            own = re.sub(pattern, name, own)
        own = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"middle.{2 * int(m[1])}", own)
        own = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"upsamples.{4 * int(m[1]) + int(m[2])}", own)
        own = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"upsamples.{4 * int(m[1]) + 3}", own)
        own = own.replace("down_blocks.", "downsamples.").replace("conv_shortcut.", "shortcut.")
        if "middle.1" not in own and re.search(r"(middle|samples)\.\d+\.(norm|conv)\d", own):
            for its, name in residual.items():
                own = own.replace(f".{its}", f".{name}")
        theirs[own] = tensor
    assert is_vae(dict(vae.config), {key: tuple(tensor.shape) for key, tensor in theirs.items()})
    again = filled(type(vae), tmp_path / "vae", theirs, "qwen_image_vae.safetensors", torch.float32)
    assert_same(again, vae.state_dict())


def test_a_vae_that_was_asked_for_takes_the_place_of_its_own(library: Library, built: Path) -> None:
    from dataclasses import replace

    state = {key: tensor + 1 for key, tensor in state_of(built / "vae").items()}
    (library.root / "models" / "VAE").mkdir()
    save_file(state, library.root / "models" / "VAE" / "other.safetensors")
    checkpoint = replace(library.find("z"), vae=library.find_vae("other", library.find("z")))
    assert_same(load(checkpoint, CPU, torch.float32).vae, state)


def test_weights_that_were_scaled_to_eight_bits_get_their_size_back() -> None:
    weight = torch.tensor([[1.0, -2.0]]).to(torch.float8_e4m3fn)
    state = {"a.weight": weight, "a.scale_weight": torch.tensor(0.5), "a.scale_input": torch.tensor(3.0)}
    state |= {"scaled_fp8": torch.zeros(2), "b.weight": torch.ones(1)}
    plain = unscaled(state, torch.float32)
    assert plain.keys() == {"a.weight", "b.weight"} and plain["a.weight"].tolist() == [[0.5, -1.0]]


def test_a_packed_transformer_stays_packed_and_computes_nearly_the_same(library: Library, built: Path) -> None:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(library.root / CHECKPOINTS / "small.gguf", "lumina2")
    for key, tensor in original(state_of(built / "transformer")).items():
        numbers, name = tensor.numpy(), key.removeprefix("model.diffusion_model.")
        if numbers.ndim == 2 and numbers.shape[1] % 32 == 0 and "pad_token" not in name:
            packed = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole, small = loaded(library, "z"), loaded(library, "small")
    weights = dict(small.transformer.named_parameters())
    assert sum(weight.dtype == torch.uint8 for weight in weights.values()) > 5
    latents = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    text = torch.randn(7, whole.transformer.config.cap_feat_dim, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (full,), (packed,) = (
            pipe.transformer([latents], torch.tensor([0.5]), [text], return_dict=False)[0] for pipe in (whole, small)
        )
    assert (
        not torch.equal(full, packed)
        and torch.nn.functional.cosine_similarity(full.flatten(), packed.flatten(), 0) > 0.99
    )
