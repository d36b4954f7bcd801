"""Making pictures larger: A1111's rule for sizes, tiles, and what goes wrong."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sdterm import load_plugins
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.upscalers import ChosenUpscaler, find_upscaler
from sdterm.core.names import UnknownNameError
from sdterm.engine.recorder import CancelledError
from sdterm.engine.upscale import Upscaling, enlarged, upscaled
from sdterm.hooks import LoadedUpscaler, PluginError, Upscaler

PLUGINS = load_plugins()
UPSCALING = Upscaling(PLUGINS, torch.device("cpu"))
Apply = Callable[[torch.Tensor], torch.Tensor]


def picture(width: int, height: int) -> NDArray[Any]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(image: NDArray[Any], width: int, height: int, by: Image.Resampling) -> NDArray[Any]:
    return np.asarray(Image.fromarray(image).resize((width, height), by))


def rule(name: str) -> ChosenUpscaler:
    return find_upscaler(name, PLUGINS, Library(Path("nowhere")))


def network(apply: Apply, scale: int = 2) -> ChosenUpscaler:
    """An upscaler whose network is that function."""
    upscaler = Upscaler(
        "test",
        "Test",
        matches=lambda reader: True,
        build=lambda reader, device, dtype: LoadedUpscaler(scale, apply),
    )
    return ChosenUpscaler("test", upscaler, CheckpointFile(Path(__file__)))


def doubled(pixels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(pixels, scale_factor=2)


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.3, 2.0, 2.7, 4.0])
@pytest.mark.parametrize("name", ["None", "Lanczos", "Nearest"])
def test_a_picture_gets_the_size_asked_for_down_to_multiples_of_eight(name: str, scale: float) -> None:
    larger = upscaled(UPSCALING, rule(name), picture(143, 117), scale)
    assert larger.dtype == np.uint8
    assert larger.shape == (int(117 * scale) // 8 * 8, int(143 * scale) // 8 * 8, 3)


def test_lanczos_resizes_twice_where_the_size_is_not_one_of_multiples_of_eight() -> None:
    image = picture(64, 64)
    first = resized(image, 83, 83, Image.Resampling.LANCZOS)
    assert np.array_equal(
        upscaled(UPSCALING, rule("lanczos"), image, 1.3), resized(first, 80, 80, Image.Resampling.LANCZOS)
    )


def test_a_smaller_picture_is_lanczos_whatever_the_upscaler() -> None:
    image = picture(64, 64)
    wanted = resized(image, 32, 32, Image.Resampling.LANCZOS)
    assert np.array_equal(upscaled(UPSCALING, rule("Nearest"), image, 0.5), wanted)


def test_a_network_runs_until_the_picture_is_large_enough_and_once_at_scale_one() -> None:
    sizes: list[int] = []

    def counting(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(pixels.shape[-1])
        return doubled(pixels)

    whole = replace(UPSCALING, tile=0)
    for scale, calls in ((1.0, [16]), (2.0, [16]), (3.0, [16, 32]), (20.0, [16, 32, 64]), (0.9, [])):
        sizes.clear()
        assert upscaled(whole, network(counting), picture(16, 16), scale).shape[0] == int(16 * scale) // 8 * 8
        assert sizes == calls


def test_a_size_is_reached_by_the_upscaler_only_where_that_is_larger() -> None:
    image = picture(40, 24)
    wanted = resized(image.repeat(2, 0).repeat(2, 1), 80, 80, Image.Resampling.LANCZOS)
    large = enlarged(UPSCALING, rule("Nearest"), image, 80, 40)
    assert large.shape == (40, 80, 3)
    assert enlarged(UPSCALING, rule("Nearest"), image, 80, 80).shape == wanted.shape
    small = enlarged(UPSCALING, rule("Nearest"), image, 30, 20)
    assert np.array_equal(small, resized(image, 30, 20, Image.Resampling.LANCZOS))


@pytest.mark.parametrize(("tile", "overlap"), [(16, 8), (16, 0), (24, 23), (24, 40), (200, 8), (17, 5)])
@pytest.mark.parametrize("size", [(33, 50), (16, 16), (64, 5), (15, 17)])
def test_tiles_join_without_a_seam(tile: int, overlap: int, size: tuple[int, int]) -> None:
    """Of a network that looks at one pixel, tiles are the whole, whatever overlaps, and reports count up to the end."""
    image, told = picture(*size), list[tuple[int, int]]()
    tiled = replace(UPSCALING, tile=tile, overlap=overlap, report=lambda *at: told.append(at))
    larger = upscaled(tiled, network(doubled), image, 2)
    whole = upscaled(replace(UPSCALING, tile=0), network(doubled), image, 2)
    assert np.array_equal(larger, whole)
    assert told == [(done + 1, told[-1][1]) for done in range(len(told))] and told[-1][0] == told[-1][1]


def test_what_a_network_gives_is_cut_off_and_rounded() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    for add, wanted in ((0.4 / 255, 100), (0.6 / 255, 101), (9.0, 255), (-9.0, 0), (float("nan"), 0)):
        larger = upscaled(UPSCALING, network(lambda pixels, add=add: doubled(pixels) + add), grey, 2)  # type: ignore[misc]
        assert (larger == wanted).all()


def test_cancelling_stops_before_the_next_tile() -> None:
    cancel, tiles = threading.Event(), list[int]()

    def cancelling(pixels: torch.Tensor) -> torch.Tensor:
        tiles.append(1)
        cancel.set()
        return doubled(pixels)

    with pytest.raises(CancelledError):
        upscaled(replace(UPSCALING, tile=16, cancel=cancel), network(cancelling), picture(64, 64), 2)
    assert tiles == [1]


@pytest.mark.parametrize(
    ("apply", "said"),
    [
        (lambda pixels: pixels, r"it made \[1, 3, 192, 192\] of a tile, not \[1, 3, 384, 384\]"),
        (lambda pixels: None, "it made"),
        (lambda pixels: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_network_that_fails_is_named(apply: Apply, said: str) -> None:
    with pytest.raises(PluginError, match=rf"The upscaler Test of .* failed: .*{said}"):
        upscaled(UPSCALING, network(apply), picture(16, 16), 2)


@pytest.mark.parametrize("gave", [None, np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_a_rule_that_gives_no_picture_is_named(gave: Any) -> None:
    broken = ChosenUpscaler("test", Upscaler("test", "Test", resize=lambda image, scale: gave))
    with pytest.raises(PluginError, match=r"The upscaler Test of .* failed: it returned"):
        upscaled(UPSCALING, broken, picture(16, 16), 2)


def test_names_are_found_like_all_others(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "ESRGAN"
    folder.mkdir(parents=True)
    (folder / "4x_Mine.pth").write_bytes(b"nothing")
    library = Library(tmp_path)
    assert find_upscaler("lanczos", PLUGINS, library).name == "Lanczos"
    with pytest.raises(UnknownNameError, match=r"no upscaler named 'Lanzos'. Did you mean 'Lanczos'"):
        find_upscaler("Lanzos", PLUGINS, library)
    with pytest.raises(UnknownNameError, match=rf"Did you mean '4x_Mine.*Upscalers belong in {folder}"):
        find_upscaler("4x_Mina", PLUGINS, library)
    with pytest.raises(ModelFileError, match=r"4x_Mine\.pth is neither a safetensors nor a PyTorch file"):
        find_upscaler("4x-mine", PLUGINS, library)


def test_an_upscaler_of_two_minds_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(
        "from sdterm.hooks import *\n@hookimpl\ndef sdterm_upscalers():\n    return [Upscaler('both', 'Both')]\n"
    )
    (problem,) = load_plugins(tmp_path).problems
    assert "must have either resize, or both matches and build" in str(problem.error)


def test_the_last_network_is_kept(tmp_path: Path) -> None:
    built: list[str] = []

    def build(reader: Any, device: torch.device, dtype: torch.dtype) -> LoadedUpscaler:
        built.append(reader.path.name)
        return LoadedUpscaler(2, doubled)

    reads = Upscaler("test", "Test", matches=lambda reader: True, build=build)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"1")
    for name in ("a", "a", "b", "a"):
        upscaled(UPSCALING, ChosenUpscaler(name, reads, CheckpointFile(tmp_path / name)), picture(8, 8), 2)
    assert built == ["a", "b", "a"]
