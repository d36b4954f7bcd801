"""What stands in for a VAE: TAESD, A1111's Approx NN and Approx cheap."""

import base64
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image as Picture
from safetensors.torch import save_file

from sdterm import Engine, PluginSet, load_plugins
from sdterm.cli.models import models
from sdterm.core.infotext.grammar import parse
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.kinds import kind_by_shapes
from sdterm.engine.run import PauseAt
from sdterm.events import Failed, Preview, Warning
from sdterm.hooks import PluginError
from sdterm.plugins.sd import sd1, sdxl, tiny
from tests.engine.conftest import images, request
from tests.engine.golden import pixels, psnr
from tests.tiny_checkpoint import GOLDEN

CPU = torch.device("cpu")
Tensors = Mapping[str, torch.Tensor]
Write = Callable[[str, Tensors], Path]


@pytest.fixture
def taesd() -> Any:
    """diffusers' own, with random weights; its types are loose."""
    torch.manual_seed(3)
    return tiny_autoencoder()


def tiny_autoencoder(**config: Any) -> Any:
    from diffusers import AutoencoderTiny

    made: Any = AutoencoderTiny(**config)
    return made.eval().requires_grad_(False)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(library=Library(tmp_path), device="cpu")


@pytest.fixture(scope="module")
def plugins() -> PluginSet:
    return load_plugins()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write tensors into the folder of approximate VAEs."""

    def written(name: str, tensors: Tensors) -> Path:
        path = tmp_path / "models" / "VAE-approx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
        if path.suffix == ".safetensors":
            save_file(tensors, path)
        else:
            torch.save(tensors, path)
        return path

    return written


def own_layout(model: Any, half: str) -> Tensors:
    """As TAESD's own files name tensors: a decoder's are numbered behind its clamp."""
    shift = 1 if half == "decoder" else 0
    found = {}
    for key, tensor in getattr(model, half).layers.state_dict().items():
        number, _, rest = key.partition(".")
        found[f"{int(number) + shift}.{rest}"] = tensor
    return found


def approx_nn_tensors() -> Tensors:
    torch.manual_seed(4)
    widths, sides = (4, 8, 16, 32, 64, 32, 16, 8, 3), (7, 5, 3, 3, 3, 3, 3, 3)
    layers = {f"conv{n + 1}": torch.nn.Conv2d(widths[n], widths[n + 1], side) for n, side in enumerate(sides)}
    return {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}


def latents() -> torch.Tensor:
    return torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1)) * 3


@pytest.mark.few(1)
@pytest.mark.parametrize("layout", ["TAESD's own, pickled", "TAESD's own", "diffusers'"])
def test_taesd_computes_what_diffusers_makes_of_it(layout: str, taesd: Any, write: Write) -> None:
    suffix = ".pth" if "pickled" in layout else ".safetensors"
    paths = {
        half: write("taesd.safetensors", taesd.state_dict())
        if layout == "diffusers'"
        else write(f"taesd_{half}{suffix}", own_layout(taesd, half))
        for half in ("decoder", "encoder")
    }
    found = tiny.taesd(CheckpointFile(paths["decoder"]), CPU, "decoder")(latents())
    assert torch.allclose(found, taesd.decode(latents()).sample, atol=1e-5) and found.shape == (2, 3, 48, 64)
    picture = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(2)) * 2 - 1
    found = tiny.taesd(CheckpointFile(paths["encoder"]), CPU, "encoder")(picture)
    assert torch.allclose(found, taesd.encode(picture).latents, atol=1e-5) and found.shape == (1, 4, 8, 6)


def test_taesd_of_other_widths_is_built_from_its_shapes(write: Write) -> None:
    torch.manual_seed(5)
    widths, blocks = (16, 16, 16, 16), (2, 1, 1, 1)
    other = tiny_autoencoder(
        encoder_block_out_channels=widths, decoder_block_out_channels=widths, num_decoder_blocks=blocks
    )
    path = write("taesd_decoder.safetensors", own_layout(other, "decoder"))
    found = tiny.taesd(CheckpointFile(path), CPU, "decoder")(latents())
    assert torch.allclose(found, other.decode(latents()).sample, atol=1e-5)


def test_approx_nn_is_a1111s_eight_convolutions(write: Write) -> None:
    tensors = approx_nn_tensors()
    found = tiny.approx_nn(CheckpointFile(write("model.pt", tensors)), CPU)(latents())
    x = torch.nn.functional.interpolate(latents(), (12, 16))  # sd_vae_approx.VAEApprox.forward
    x = torch.nn.functional.pad(x, (11, 11, 11, 11))
    for number in range(1, 9):
        x = torch.nn.functional.conv2d(x, tensors[f"conv{number}.weight"], tensors[f"conv{number}.bias"])
        x = torch.nn.functional.leaky_relu(x, 0.1)
    assert torch.allclose(found, x, atol=1e-6) and found.shape == (2, 3, 12, 16)


@pytest.mark.parametrize(
    ("family", "rows"),
    [  # sd_vae_approx.cheap_approximation
        (sd1.SD1, [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]]),
        (
            sdxl.SDXL,
            [[0.3448, 0.4168, 0.4395], [-0.1953, -0.029, 0.025], [0.1074, 0.0886, -0.0163], [-0.373, -0.2499, -0.2088]],
        ),
    ],
)
def test_approx_cheap_is_a1111s_matrix(family: Any, rows: list[list[float]]) -> None:
    (cheap,) = [each for each in family.approximations if each.label == "Approx cheap"]
    found = cheap.decoder.load(None, CPU)(latents())
    assert torch.allclose(found, torch.einsum("bchw,cr->brhw", latents(), torch.tensor(rows)), atol=1e-5)


def test_a1111s_picture_by_approx_cheap(engine: Engine, plugins: PluginSet) -> None:
    case = json.loads((GOLDEN / "approx_cheap.json").read_text())
    (image,) = images(list(engine.run(request(**case["request"]), plugins)))
    golden = np.asarray(Picture.open(BytesIO(base64.b64decode(case["image"]))))
    assert pixels(image.data).shape == golden.shape == (16, 16, 3)
    assert psnr(pixels(image.data), golden) >= 45
    assert list(parse(image.infotext).parameters)[:-2] == case["keys"]
    assert parse(image.infotext).parameters["VAE Decoder"] == "Approx cheap"


def test_an_image_is_decoded_by_taesd_and_its_infotext_says_so(
    engine: Engine, plugins: PluginSet, taesd: Any, write: Write
) -> None:
    write("taesd_decoder.pth", own_layout(taesd, "decoder"))
    (image,) = images(list(engine.run(request(vae_decoder="TAESD"), plugins)))
    assert (image.width, image.height) == (64, 64)
    assert parse(image.infotext).parameters["VAE Decoder"] == "TAESD"
    (own,) = images(list(engine.run(request(), plugins)))
    assert own.pixel_hash != image.pixel_hash and "VAE Decoder" not in parse(own.infotext).parameters


@pytest.mark.heavy
def test_the_picture_of_a_first_pass_is_encoded_by_taesd_and_the_infotext_says_so(
    engine: Engine, plugins: PluginSet, taesd: Any, write: Write
) -> None:
    write("taesd_encoder.pth", own_layout(taesd, "encoder"))
    hires = {"steps": 2, "hires": True, "hires_scale": 1.5, "hires_upscaler": "Lanczos"}
    (image,) = images(list(engine.run(request(**hires, vae_encoder="TAESD"), plugins)))
    assert parse(image.infotext).parameters["VAE Encoder"] == "TAESD"
    (own,) = images(list(engine.run(request(**hires), plugins)))
    assert own.pixel_hash != image.pixel_hash and "VAE Encoder" not in parse(own.infotext).parameters


@pytest.mark.parametrize(
    ("fields", "name", "said"),
    [
        ({"vae_decoder": "TAESD"}, "", "TAESD needs the file taesd_decoder"),
        ({"vae_decoder": "Approx NN"}, "", "Approx NN needs the file model"),
        ({"vae_encoder": "TAESD"}, "", "TAESD needs the file taesd_encoder"),
        ({"vae_decoder": "TAESD"}, "taesd_decoder.safetensors", "taesd_decoder.safetensors"),
        ({"vae_decoder": "Approx NN"}, "model.pt", "model.pt"),
    ],
)
def test_what_is_not_there_or_broken_fails_in_a_sentence(
    fields: dict[str, str], name: str, said: str, engine: Engine, plugins: PluginSet, write: Write
) -> None:
    if name:
        path = write(name, {"1.weight": torch.zeros(64, 4, 3, 3)})
        path.write_bytes(path.read_bytes()[:-100])
    events = list(engine.run(request(**fields), plugins))
    assert isinstance(events[-1], Failed) and said in events[-1].message, events[-1]
    assert not images(events) and "\n" not in events[-1].message


def test_files_of_something_else_are_refused_by_name(taesd: Any, write: Write) -> None:
    own = dict(own_layout(taesd, "decoder"))
    of_sixteen = own | {"1.weight": torch.zeros(64, 16, 3, 3)}
    refused: dict[str, tuple[Tensors, str]] = {
        "sixteen": (of_sixteen, "16 channels"),
        "encoder": (own_layout(taesd, "encoder"), "not the decoder of TAESD"),
        "lora": ({"lora_unet_x.lora_up.weight": torch.zeros(4, 4)}, "not the decoder of TAESD"),
        "short": ({k: v for k, v in own.items() if not k.startswith(("17.", "18.", "19."))}, "64 channels"),
        "more": (own | {"20.gate": torch.zeros(1)}, "20.gate"),
        "holes": ({k: v for k, v in own.items() if k != "8.conv.2.weight"}, "8.conv.2.weight"),
        "wrong": (own | {"8.conv.2.weight": torch.zeros(64, 32, 3, 3)}, "8.conv.2.weight"),
        "flat": (own | {"12.weight": torch.zeros(64, 64)}, "12.weight"),
    }
    for name, (tensors, said) in refused.items():
        with pytest.raises(PluginError, match=f"{name}.safetensors.*{said}"):
            tiny.taesd(CheckpointFile(write(f"{name}.safetensors", tensors)), CPU, "decoder")
    odd = dict(approx_nn_tensors()) | {"conv1.weight": torch.zeros(8, 4, 5, 5)}
    for tensors in (own, odd, {**odd, "conv8.bias": torch.zeros(4)}):
        with pytest.raises(PluginError, match=r"odd\.pt"):
            tiny.approx_nn(CheckpointFile(write("odd.pt", tensors)), CPU)
    with pytest.raises(ModelFileError):
        path = write("torn.pth", own)
        path.write_bytes(path.read_bytes()[:5000])
        tiny.taesd(CheckpointFile(path), CPU, "decoder")


def test_files_are_listed_with_what_they_are(taesd: Any, write: Write, tmp_path: Path) -> None:
    files = {
        "model.pt": (approx_nn_tensors(), "Approx NN"),
        "taesd_decoder.pth": (own_layout(taesd, "decoder"), "TAESD decoder"),
        "taesd_encoder.safetensors": (own_layout(taesd, "encoder"), "TAESD encoder"),
        "taesdxl.safetensors": (taesd.state_dict(), "TAESD encoder and decoder"),
    }
    for name, (tensors, _) in files.items():
        assert kind_by_shapes(CheckpointFile(write(name, tensors)).shapes()) == "vae_approx"
    torn = write("torn.pth", own_layout(taesd, "decoder"))
    torn.write_bytes(torn.read_bytes()[:5000])
    write("ink.pt", {"lora_unet_x.lora_up.weight": torch.zeros(4, 4)})
    listed = CliRunner().invoke(models, ["--kind", "vae_approx", "--json", "--data-dir", str(tmp_path)])
    rows = {Path(row["path"]).name: row for row in json.loads(listed.stdout)}
    assert {name: (rows[name]["note"], rows[name]["usable"]) for name in files} == {
        name: (said, True) for name, (_, said) in files.items()
    }
    for name in ("torn.pth", "ink.pt"):
        assert not rows[name]["usable"] and name in rows[name]["note"]


def previews(engine: Engine, plugins: PluginSet, method: str) -> tuple[list[tuple[int, int]], list[Warning]]:
    """Of an image that is paused."""
    events = list(engine.run(request(preview_method=method), plugins, previews=True, pause_at=PauseAt(2)))
    shown = [Picture.open(BytesIO(event.data)).size for event in events if isinstance(event, Preview)]
    return shown, [event for event in events if isinstance(event, Warning)]


def test_previews_are_made_as_the_request_asks(engine: Engine, plugins: PluginSet, taesd: Any, write: Write) -> None:
    write("taesd_decoder.safetensors", own_layout(taesd, "decoder"))
    write("model.pt", approx_nn_tensors())
    for method, side in (("Approx cheap", 8), ("Approx NN", 16), ("TAESD", 64), ("Full", 64)):
        shown, warnings = previews(engine, plugins, method)
        assert {*shown} == {(side, side)} and not warnings, method


def test_a_preview_whose_file_is_missing_is_made_by_the_cheap_way(engine: Engine, plugins: PluginSet) -> None:
    shown, warnings = previews(engine, plugins, "TAESD")
    assert {*shown} == {(8, 8)}
    assert [warning.code for warning in warnings] == ["preview_method"] and "taesd_decoder" in warnings[0].message
