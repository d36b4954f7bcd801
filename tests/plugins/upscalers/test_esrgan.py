"""ESRGAN's networks in every layout that users have, against torch's own layers, and A1111's pictures."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.upscalers import find_upscaler
from sdterm.engine.upscale import Upscaling, upscaled
from sdterm.hooks import LoadedUpscaler, PluginError
from sdterm.plugins.upscalers import esrgan
from tests import network_files
from tests.engine.golden import psnr
from tests.tiny_checkpoint import GOLDEN

CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "upscaled.json").read_text())
PICTURES = np.load(GOLDEN / "upscaled.npz")
UPSCALING = Upscaling(load_plugins(), torch.device("cpu"))
FEATURES, GROWTH, BLOCKS = 8, 4, 2
Weights = dict[str, torch.Tensor]


class Reference(nn.Module):
    """RRDBNet of torch's modules, written down once more, with BasicSR's names."""

    def __init__(
        self,
        ups: int,
        unshuffle: int = 1,
        plus: bool = False,
        *,
        features: int = FEATURES,
        growth: int = GROWTH,
        blocks: int = BLOCKS,
    ) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.conv_first = conv(3 * unshuffle**2, features)
        self.body = nn.Sequential(*[Block(features, growth, plus) for _ in range(blocks)])
        self.conv_body = conv(features, features)
        self.up = [conv(features, features) for _ in range(ups)]
        for number, layer in enumerate(self.up, 1):
            self.add_module(f"conv_up{number}", layer)
        self.conv_hr, self.conv_last = conv(features, features), conv(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.conv_first(nn.functional.pixel_unshuffle(x, self.unshuffle))
        x = first + self.conv_body(self.body(first))
        for layer in self.up:
            x = leaky(layer(nn.Upsample(scale_factor=2)(x)))
        out: torch.Tensor = self.conv_last(leaky(self.conv_hr(x)))
        return out


class Block(nn.Module):
    def __init__(self, features: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(features, growth, plus) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner: torch.Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + 0.2 * inner


class Dense(nn.Module):
    def __init__(self, features: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = (
            conv(features + i * growth, features if i == 4 else growth) for i in range(5)
        )
        self.conv1x1 = nn.Conv2d(features, growth, 1, bias=False) if plus else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = leaky(self.conv1(x))
        two = leaky(self.conv2(torch.cat([x, one], 1)))
        two = two + self.conv1x1(x) if self.conv1x1 else two
        three = leaky(self.conv3(torch.cat([x, one, two], 1)))
        four = leaky(self.conv4(torch.cat([x, one, two, three], 1)))
        four = four + two if self.conv1x1 else four
        five: torch.Tensor = self.conv5(torch.cat([x, one, two, three, four], 1))
        return x + 0.2 * five


def conv(reads: int, gives: int) -> nn.Conv2d:
    return nn.Conv2d(reads, gives, 3, padding=1)


def leaky(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.leaky_relu(x, 0.2)


def basicsr(weights: Weights) -> Weights:
    return {f"params_ema.{key}": tensor for key, tensor in weights.items()} | {
        f"params.{key}": torch.zeros_like(tensor) for key, tensor in weights.items()
    }


def bare(weights: Weights) -> Weights:
    return weights


def parallel(weights: Weights) -> Weights:
    return {f"module.{key}": tensor for key, tensor in weights.items()}


def renamed(*pairs: tuple[str, str]) -> Callable[[Weights], Weights]:
    def rename(weights: Weights) -> Weights:
        for pattern, name in pairs:
            weights = {re.sub(f"^{pattern}", name, key): tensor for key, tensor in weights.items()}
        return weights

    return rename


authors = renamed(
    (r"body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2"),
    (r"conv_body", "trunk_conv"),
    (r"conv_up(\d)", r"upconv\1"),
    (r"conv_hr", "HRconv"),
)


def oldest(weights: Weights) -> Weights:
    ups = len([key for key in weights if re.match(r"conv_up\d\.weight", key)])
    return renamed(
        (r"conv_first", "model.0"),
        (r"body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0."),
        (r"conv_body", f"model.1.sub.{BLOCKS}"),
        *((f"conv_up{number}", f"model.{3 * number}") for number in range(1, ups + 1)),
        (r"conv_hr", f"model.{3 * ups + 2}"),
        (r"conv_last", f"model.{3 * ups + 4}"),
    )(weights)


LAYOUTS: Mapping[str, Callable[[Weights], Weights]] = {
    "basicsr": basicsr,
    "bare": bare,
    "parallel": parallel,
    "authors": authors,
    "oldest": oldest,
}


def loaded(path: Path, weights: Weights) -> LoadedUpscaler:
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path)
    file = CheckpointFile(path)
    assert esrgan.matches(file)
    return esrgan.build(file, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("ups", "unshuffle", "scale"), [(0, 1, 1), (1, 1, 2), (2, 1, 4), (3, 1, 8), (2, 2, 2), (2, 4, 1)]
)
def test_every_layout_and_scale_gives_the_networks_picture(
    layout: str, ups: int, unshuffle: int, scale: int, tmp_path: Path
) -> None:
    reference = Reference(ups, unshuffle)
    network = loaded(tmp_path / "net.safetensors", LAYOUTS[layout](reference.state_dict()))
    pixels = torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        assert network.scale == scale
        assert torch.allclose(network.apply(pixels), reference(pixels.flip(1)).flip(1), atol=1e-6)


@pytest.mark.parametrize("layout", ["basicsr", "authors"])
def test_the_plus_variant_has_its_shortcuts(layout: str, tmp_path: Path) -> None:
    reference = Reference(2, plus=True)
    network = loaded(tmp_path / "plus.safetensors", LAYOUTS[layout](reference.state_dict()))
    pixels = torch.rand(1, 3, 6, 5)
    with torch.inference_mode():
        assert torch.allclose(network.apply(pixels), reference(pixels.flip(1)).flip(1), atol=1e-6)


@pytest.mark.parametrize("size", [(7, 9), (1, 1), (2, 5)])
def test_a_side_that_does_not_come_out_even_keeps_its_size(size: tuple[int, int], tmp_path: Path) -> None:
    network = loaded(tmp_path / "net.safetensors", Reference(2, 2).state_dict())
    with torch.inference_mode():
        assert network.apply(torch.rand(1, 3, *size)).shape == (1, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights.pop("conv_hr.bias"),
        lambda weights: weights.update({"conv_first.weight": torch.zeros(FEATURES, 4, 3, 3)}),
        lambda weights: weights.update({"body.1.rdb2.conv3.weight": torch.zeros(GROWTH, 2, 3, 3)}),
        lambda weights: weights.update({"attention.weight": torch.zeros(1)}),
        lambda weights: weights.update({"conv_last.weight": torch.zeros(1, FEATURES, 3, 3)}),
    ],
)
def test_a_network_of_another_structure_is_refused_with_a_sentence(
    spoil: Callable[[Weights], object], tmp_path: Path
) -> None:
    weights = dict(Reference(2).state_dict())
    spoil(weights)
    with pytest.raises(PluginError, match=r"^odd.safetensors looks like ESRGAN, but sdterm does not support"):
        loaded(tmp_path / "odd.safetensors", weights)


@pytest.mark.parametrize("keys", [["a"], ["conv_first.weight"], ["model.0.weight", "model.1.weight"], []])
def test_other_files_are_not_its(keys: list[str], tmp_path: Path) -> None:
    save_file({key: torch.zeros(1) for key in keys}, tmp_path / "other.safetensors")
    assert not esrgan.matches(CheckpointFile(tmp_path / "other.safetensors"))


def test_a_file_that_would_run_code_runs_none(tmp_path: Path) -> None:
    """The strict reader refuses what a pickle may do besides holding tensors."""
    folder = tmp_path / "models" / "ESRGAN"
    folder.mkdir(parents=True)
    (folder / "evil.pth").write_bytes(b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00touch\x85R.")
    with pytest.raises(ModelFileError, match=r"evil\.pth"):
        find_upscaler("evil", UPSCALING.plugins, Library(tmp_path))


LIGHT = {"D01-lanczos-2", "D05-lanczos-1.3-odd", "D08-nearest-0.5", "D38-rrdb-x4-default-tile", "D43-rrdb-x2-odd-by2"}
SINGLE = {
    name: case
    for name, case in CASES.items()
    if case["status"] == 200
    and "image" in case["request"]
    and case["request"].get("resize_mode") == 0
    and case["request"].get("upscaler_1", "None") != "None"
    and "extras_upscaler_2_visibility" not in case["request"]
    and name != "D28-rgba"
    and name != "D45-rrdb-x4-by1"  # three times there and back; A1111 1.10, and sdterm, once
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root = tmp_path_factory.mktemp("upscalers")
    network_files.write_upscalers(root)
    return Library(root)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in LIGHT else [pytest.mark.heavy]) for name in SINGLE]
)
def test_pictures_are_a1111s(name: str, library: Library, record_property: Callable[[str, object], None]) -> None:
    request, options = CASES[name]["request"], CASES[name]["options"]
    upscaling = replace(UPSCALING, tile=options.get("ESRGAN_tile", 192))
    chosen = find_upscaler(request["upscaler_1"], UPSCALING.plugins, library)
    larger = upscaled(upscaling, chosen, PICTURES[request["image"]], request["upscaling_resize"])
    quality = psnr(larger, PICTURES[name])
    record_property("case", f"upscale {name}")
    record_property("psnr", quality)
    assert quality >= 60


def test_networks_are_found_by_the_files_of_all_folders_of_a1111(tmp_path: Path) -> None:
    weights = {key: tensor.contiguous() for key, tensor in Reference(1).state_dict().items()}
    for folder in ("ESRGAN", "RealESRGAN", "BSRGAN"):
        (tmp_path / "models" / folder).mkdir(parents=True)
        save_file(weights, tmp_path / "models" / folder / f"2x_{folder}.safetensors")
        assert find_upscaler(f"2x_{folder}", UPSCALING.plugins, Library(tmp_path)).of.id == "esrgan"


def test_a_flat_picture_stays_flat(tmp_path: Path) -> None:
    """Of a network that passes colours on, tiles and whole are the same, and red stays red."""
    network_files.write_upscalers(tmp_path)
    chosen = find_upscaler("rrdb-x2", UPSCALING.plugins, Library(tmp_path))
    red = np.asarray(Image.new("RGB", (40, 24), (200, 30, 30)))
    larger = upscaled(replace(UPSCALING, tile=0), chosen, red, 2).reshape(-1, 3).mean(0)
    assert larger[0] > 150 and larger[1:].max() < 80
