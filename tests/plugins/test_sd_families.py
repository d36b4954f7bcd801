"""SD 2, SDXL, its refiner, inpainting and v-prediction models draw A1111's pictures, measured on narrow checkpoints."""

import json
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from sdterm import Engine, load_plugins
from sdterm.core.infotext.recall import recall
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.events import Failed, Step
from sdterm.hooks import Components, ModelFamily, Sampler, SamplingOptions, TextOptions
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import read_values
from sdterm.plugins.sd import architecture, keys, sd2, sdxl
from sdterm.plugins.sd.keys import VAE
from sdterm.testing import assert_components_conform
from tests.engine.conftest import images, request
from tests.engine.golden import pixels, psnr
from tests.narrow_checkpoints import write
from tests.plugins.test_sd1 import Header
from tests.tiny_checkpoint import GOLDEN
from tools import full_size

CASES = json.loads((GOLDEN / "narrow.json").read_text())
ARRAYS = np.load(GOLDEN / "narrow.npz")
CPU, PLUGINS = torch.device("cpu"), load_plugins()
EVERY_DAY = {
    *("narrow-xl", "narrow-sd2-v", "vdemo"),
    *("X28-long2-negative", "X33-and-weights", "X56-100x70", "X91-clipskip2-crop-emphasis"),
    *("W20-ztsnr-euler", "W26-size", "W30-lcm", "V01-2mk"),
}
"""Models and pictures; the others are of the same code, so they are among the heavy tests."""
FAMILIES = {
    "narrow-xl": ("sdxl", 1024),
    "narrow-xl-v": ("sdxl", 1024),
    "narrow-xl-inpaint": ("sdxl", 1024),
    "narrow-xl-refiner": ("sdxl_refiner", 1024),
    "narrow-sd2": ("sd2", 512),
    "narrow-sd2-v": ("sd2", 768),
    "vdemo": ("sd1", 128),
}

Record = Callable[[str, object], None]


def weighed(name: str, value: object, **more: Any) -> Any:
    return pytest.param(value, marks=[pytest.mark.heavy] * (name not in EVERY_DAY), **more)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Its checkpoints are built when they are asked for."""
    root = tmp_path_factory.mktemp("narrow")
    (root / CHECKPOINTS).mkdir(parents=True)
    return Engine(library=Library(root), device="cpu")


def have(model: str, engine: Engine) -> Path:
    path = engine.library.root / CHECKPOINTS / f"{model}.safetensors"
    if not path.exists() and model == "vdemo":
        shutil.copy(EMBEDDED_MODEL, path)
        path.with_suffix(".yaml").write_text("model: {params: {parameterization: v, unet_config: {params: {}}}}")
    elif not path.exists():
        write(model, path.parent)
    return path


def built(model: str, engine: Engine) -> Components:
    have(model, engine)
    checkpoint = engine.library.find(model)
    family, match = recognise(checkpoint, PLUGINS)
    assert (family.id, match.native_size, match.refusal) == (*FAMILIES[model], None)
    return family.build(checkpoint, CPU, torch.float32)


@pytest.mark.few(1)
@pytest.mark.parametrize("model", [weighed(model, model) for model in FAMILIES])
def test_a_checkpoint_is_recognised_and_its_prompts_become_what_a1111_makes_of_them(
    model: str, engine: Engine, record_property: Record
) -> None:
    components = built(model, engine)
    assert_components_conform(components)
    for case in (case for case in CASES["conditionings"] if case["model"] == model):
        settings = case["settings"]
        options = TextOptions(
            width=case["width"],
            height=case["height"],
            negative=case["negative"],
            clip_skip=settings.get("CLIP_stop_at_last_layers", 1),
            crop_top=settings.get("sdxl_crop_top", 0),
            crop_left=settings.get("sdxl_crop_left", 0),
        )
        with torch.inference_mode():
            found = components.encode(case["texts"], options)
        for index in range(len(case["texts"])):
            parts = {"context": found["context"][index, ::13]}
            parts |= {"vector": found["vector"][index]} if "vector" in found.tensors else {}
            for part, tensor in parts.items():
                expected = ARRAYS[f"{case['id']}/{index}/{part}"]
                assert tensor.shape == expected.shape, case["id"]
                error = float(np.abs(tensor.numpy() - expected).max() / max(1e-9, np.abs(expected).max()))
                record_property(f"{case['id']}_{part}_error", error)
                assert error <= 1e-4, (case["id"], part)


@pytest.mark.few(4)
@pytest.mark.parametrize("case", [weighed(case["id"], case, id=case["id"]) for case in CASES["images"]])
def test_a_picture_is_a1111s(case: dict[str, Any], engine: Engine, record_property: Record) -> None:
    have(case["model"], engine)
    settings = {"randn_source": "NV", **case["settings"]}
    request = asked(read_values(case["request"]), settings, PLUGINS, {}).request
    (image,) = images(list(engine.run(request.model_copy(update={"model": case["model"]}), PLUGINS)))
    found = psnr(pixels(image.data), ARRAYS[case["id"]])
    record_property("case", f"{case['model']} {case['id']}")
    record_property("psnr", found)
    assert found >= 45
    ours, theirs = (
        re.sub(r", (?:sdterm|Version): .*|Model hash: \w+, ", "", t) for t in (image.infotext, case["infotext"])
    )
    assert ours == theirs


def test_old_emphasis_is_refused_where_a1111_refuses_it(engine: Engine) -> None:
    have("narrow-xl", engine)
    request = asked({"prompt": "x", "steps": 1}, {"use_old_emphasis_implementation": True}, PLUGINS, {}).request
    small = request.model_copy(update={"model": "narrow-xl", "width": 64, "height": 64})
    failed = list(engine.run(small, PLUGINS))[-1]
    assert isinstance(failed, Failed) and "Old emphasis works only with SD 1.x" in failed.message


ENDLESS = "DPM adaptive"  # hundreds of calls: random weights are not smooth, and it draws one image at a time anyway
SAMPLERS = [sampler.label for sampler in PLUGINS.all(Sampler) if sampler.label != ENDLESS]
STEPS = {"UniPC": 3}  # its least


def global_numbers() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


@pytest.mark.heavy
@pytest.mark.parametrize("model", ["narrow-sd2-v", "narrow-xl", "narrow-xl-refiner"])  # sd1: the demo model
def test_every_sampler_keeps_its_rules_with_the_model(model: str, engine: Engine) -> None:
    """Those of engine/test_sampler_conformance.py that a network can break: images of a batch are what they are alone,
    steps count up, no random numbers of the process are used."""
    have(model, engine)
    broken = []
    for name in SAMPLERS:
        small = {"model": model, "sampler": name, "steps": STEPS.get(name, 2), "cfg_scale": 1.0}
        small |= {"vae_decoder": "Approx cheap"}  # shows each latent, in no time
        before = global_numbers()
        together = list(engine.run(request(batch_size=2, **small), PLUGINS))
        first, second = images(together)
        (alone,) = images(list(engine.run(request(seed=second.seed, **small), PLUGINS)))
        steps = [event for event in together if isinstance(event, Step)]
        rules = {
            "a batch": np.abs(pixels(second.data).astype(int) - pixels(alone.data)).max() <= 1,
            "another seed": first.pixel_hash != second.pixel_hash,
            "steps": [step.step for step in steps] == [*range(1, steps[0].steps + 1)],
            "random numbers": global_numbers() == before,
        }
        broken += [(name, rule) for rule, kept in rules.items() if not kept]
    assert not broken


UNETS: dict[str, dict[str, Any]] = {  # as in the unet/config.json of stabilityai's own folders
    "sdxl": {
        "block_out_channels": [320, 640, 1280],
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "projection_class_embeddings_input_dim": 2816,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    },
    "sdxl_refiner": {
        "block_out_channels": [384, 768, 1536, 1536],
        "transformer_layers_per_block": [1, 4, 4, 4],
        "attention_head_dim": [6, 12, 24, 24],
        "cross_attention_dim": 1280,
        "projection_class_embeddings_input_dim": 2560,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    },
    "sd2": {
        "block_out_channels": [320, 640, 1280, 1280],
        "transformer_layers_per_block": [1, 1, 1, 1],
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    },
}


@pytest.mark.parametrize("name", UNETS)
def test_a_file_of_full_size_has_the_configuration_and_the_names_that_diffusers_gives_it(name: str) -> None:
    """By its header alone: what diffusers' own converter makes of each tensor's name."""
    from diffusers.loaders import single_file_utils as theirs
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    shapes = dict(full_size.shapes({"sd2": "sd21"}.get(name, name)))
    header = Header(shapes)
    family = next(family for family in PLUGINS.all(ModelFamily) if family.id == name)
    match = family.detect(header)
    assert match and match.refusal is None
    config = architecture.unet_config(header, sdxl.USUAL)
    assert {key: config[key] for key in UNETS[name]} == UNETS[name] and config["use_linear_projection"]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    came_from = {id(tensor): key for key, tensor in tensors.items()}

    def named(converted: dict[str, torch.Tensor]) -> dict[str, str]:
        return {came_from[id(t)]: key for key, t in converted.items() if id(t) in came_from}  # all but split ones

    def ours(names: keys.Names) -> dict[str, str]:
        return {key: owns[0] for key, owns in names.items() if len(owns) == 1}

    assert ours(keys.unet_keys(shapes)) == named(theirs.convert_ldm_unet_checkpoint(tensors, config))
    vae = architecture.vae_config(header, sdxl.USUAL, shapes)
    assert (vae["block_out_channels"], vae["layers_per_block"]) == ([128, 256, 512, 512], 2)
    found = ours(keys.vae_keys(shapes))
    converted = named(theirs.convert_ldm_vae_checkpoint(tensors, vae))
    assert converted.items() <= found.items()
    assert all(".mid_block.attentions.0." in found[key] for key in found.keys() - converted.keys()), "reshaped there"
    prefix = {"sdxl": sdxl.TEXT_G, "sdxl_refiner": sdxl.TEXT_REFINER, "sd2": sd2.TEXT}[name]
    text = architecture.open_clip_config(header, prefix)
    with torch.device("meta"):
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**text))
    converted = named(theirs.convert_open_clip_checkpoint(encoder, tensors, prefix))
    found = {key: f"text_model.{own}" for key, own in ours(keys.open_clip_keys(shapes, prefix)).items()}
    missing = found.items() - converted.items()
    assert not {key for key, _ in missing if "resblocks.23" not in key or name != "sd2"}, (
        "diffusers leaves SD 2's last out"
    )


@dataclass(frozen=True)
class Folder:
    """A loaded model as the reader of a folder gives it: tensors by `part.name`, each part's configuration."""

    tensors: Mapping[str, torch.Tensor]
    config: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    preview: None = None
    vae: None = None
    content: None = None
    path: Path = Path("folder")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}

    def read(self, keys: Sequence[str], device: torch.device, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        return {key: self.tensors[key].to(device=device, dtype=dtype) for key in keys}


def as_folder(components: Components, prediction: str, alone: bool = False) -> Folder:
    """As diffusers' own folders are: size and text embedded by `add_embedding`, SD 2's last text layer left out."""
    tensors: dict[str, torch.Tensor] = {}
    modules: dict[str, Any] = dict(components.modules)
    if alone:  # the refiner's only text encoder is called the second
        modules["text_encoder_2"] = modules.pop("text_encoder")
    config: dict[str, Any] = {"scheduler": {"prediction_type": prediction, "beta_start": 0.00085, "beta_end": 0.012}}
    for part, module in modules.items():
        config[part] = dict(module.config._asdict() if part.startswith("text") else module.config)
        for key, tensor in module.state_dict().items():
            if key == "text_projection":
                tensors[f"{part}.text_projection.weight"] = tensor.T
            elif part.startswith("text"):
                tensors[f"{part}.text_model.{key}"] = tensor
            else:
                tensors[f"{part}.{key.replace('class_embedding', 'add_embedding')}"] = tensor
    if config["unet"]["class_embed_type"]:
        config["unet"] |= {"class_embed_type": None, "addition_embed_type": "text_time"}
    elif config["text_encoder"]["hidden_act"] == "gelu":
        config["text_encoder"]["num_hidden_layers"] -= 1
        last = f"text_encoder.text_model.encoder.layers.{config['text_encoder']['num_hidden_layers']}."
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(last)}
    return Folder(tensors, config)


@pytest.mark.parametrize("model", [weighed(name, name) for name in FAMILIES if name != "narrow-xl-inpaint"])
def test_a_folder_of_diffusers_is_the_same_model(model: str, engine: Engine) -> None:
    original = built(model, engine)
    is_v = model.endswith("-v") or model == "vdemo"
    folder = as_folder(original, "v_prediction" if is_v else "epsilon", alone="refiner" in model)
    matches = [(family, family.detect(folder)) for family in PLUGINS.all(ModelFamily)]
    ((family, match),) = [(family, match) for family, match in matches if match]
    assert (family.id, match.refusal) == (FAMILIES[model][0], None)
    again = family.build(folder, CPU, torch.float32)
    levels, options = original.sampling(SamplingOptions()), TextOptions(width=64, height=64)
    assert torch.equal(again.sampling(SamplingOptions()).sigmas, levels.sigmas)
    x = 5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    made = []
    for components in (original, again):
        with torch.inference_mode():
            cond = components.encode(["a (red:1.3) house", "lake"], options)
            x0 = components.denoise(x, torch.tensor([5.0, 5.0]), cond, levels)
            made.append((*cond.tensors.values(), x0, components.decode(x0[:1])))
    for ours, theirs in zip(*made, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5 * float(theirs.abs().max()))


def test_a_model_that_predicts_v_is_known_by_what_its_network_makes_of_grey_where_nothing_says_it(
    engine: Engine,
) -> None:
    """A1111's way for SD 2; the narrow model's network is no trained one, so the answer is put into its last bias."""
    from sdterm.plugins.sd.sd2 import seems_v

    unet: Any = built("narrow-sd2-v", engine).modules["unet"]
    before = unet.conv_out.bias.clone()
    answers = []
    for shift in (-5.0, 5.0):
        unet.conv_out.bias = torch.nn.Parameter(before + shift, requires_grad=False)
        answers.append(seems_v(unet))
    assert answers == [True, False]


def test_two_copies_of_a_file_with_other_configurations_are_two_models(engine: Engine) -> None:
    have("vdemo", engine)
    fields = {"prompt": "lake", "steps": "2", "seed": 1, "width": 64, "height": 64}
    request = asked(read_values(fields), {}, PLUGINS, {}).request
    drawn = [
        images(list(engine.run(request.model_copy(update={"model": model}), PLUGINS)))[0].pixel_hash
        for model in ("vdemo", "sdterm-demo", "vdemo")
    ]
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_separate_vae_is_used_by_name_and_automatically_as_a1111_does(engine: Engine) -> None:
    """A file whose name begins with the checkpoint's; what decodes is said in the infotext, and named again from it."""
    root = engine.library.root
    (root / "models" / "VAE").mkdir(exist_ok=True)
    with safe_open(EMBEDDED_MODEL, "np") as file:
        stage = {k.removeprefix(VAE): file.get_tensor(k) for k in file.keys() if k.startswith(VAE)}
    stage["decoder.conv_out.bias"] = stage["decoder.conv_out.bias"] + np.float16(0.5)
    save_file(stage, root / "models" / "VAE" / "sdterm-demo-light.safetensors")

    def draw(**options: str) -> tuple[np.ndarray, str]:
        fields = {"prompt": "lake", "steps": "2", "seed": 1, "width": 64, "height": 64}
        request = asked(read_values(fields), options, PLUGINS, {"model": "sdterm-demo"}).request
        (image,) = images(list(engine.run(request, PLUGINS)))
        return pixels(image.data).astype(int), image.infotext

    own, text = draw(sd_vae="None")
    assert "VAE" not in text.replace("vae", "")
    for name in ("Automatic", "sdterm-demo-light.safetensors", "sdterm-demo-light"):
        light, text = draw(sd_vae=name)
        assert (light - own).mean() > 20 and re.search(
            r"VAE hash: [0-9a-f]{10}, VAE: sdterm-demo-light.safetensors", text
        )
        recalled = recall(text, PLUGINS, engine.library, {})
        assert recalled.fields["vae"].startswith(name) and not recalled.warnings
    (root / "models" / "VAE" / "sdterm-demo-light.safetensors").unlink()
    assert np.array_equal(draw(sd_vae="Automatic")[0], own)
    gone = recall(text, PLUGINS, engine.library, {})
    assert gone.fields["vae"] == "None" and "The VAE sdterm-demo-light is missing" in gone.warnings["vae_missing"]
