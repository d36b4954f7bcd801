"""Token merging: the matching, what it leaves behind, and what the infotext says."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.library.checkpoints import Library
from sdterm.events import Failed, Image, ModelLoading
from sdterm.plugins.memory.token_merging.merging import Matching


@pytest.fixture(scope="module")
def plugins() -> PluginSet:
    return load_plugins(None)


@pytest.mark.parametrize(("height", "width", "ratio"), [(8, 8, 0.5), (9, 7, 0.4), (2, 2, 0.75), (16, 4, 0.9)])
def test_each_merged_token_is_in_the_mean_of_the_most_similar_one(height: int, width: int, ratio: float) -> None:
    """Held against the definition, token by token."""
    tokens = torch.randn(2, height * width, 12, generator=torch.Generator().manual_seed(0))
    matching = Matching.of(tokens, height, width, ratio)
    assert matching
    merged = matching.merge(tokens)
    count = min(int(height * width * ratio), height * width - (height // 2) * (width // 2))
    assert merged.shape == (2, height * width - count, 12)
    places = [y * width + x for y in range(0, height // 2 * 2, 2) for x in range(0, width // 2 * 2, 2)]
    for image, whole, back in zip(tokens, merged, matching.unmerge(merged), strict=True):
        others = [place for place in range(height * width) if place not in places]
        alike = torch.nn.functional.cosine_similarity(image[others][:, None], image[places][None], dim=-1)
        best, into = alike.max(dim=1)
        gone = best.argsort(descending=True)[:count].tolist()
        for number, place in enumerate(places):
            group = [place] + [others[g] for g in gone if into[g] == number]
            mean = image[group].mean(dim=0)
            assert torch.allclose(back[group], mean.expand(len(group), -1), atol=1e-5)
            assert torch.allclose(whole[-len(places) + number], mean, atol=1e-5)
        kept = [place for number, place in enumerate(others) if number not in gone]
        assert torch.equal(back[kept], image[kept])


def test_the_matching_is_that_of_tomesd_as_a1111_calls_it() -> None:
    """What tomesd 0.1.3 gives, bipartite_soft_matching_random2d(x, 4, 4, 2, 2, 8, no_rand=True), merged and spread
    out again."""
    x = torch.sin(torch.arange(16 * 3, dtype=torch.float32) ** 1.5).reshape(1, 16, 3)
    matching = Matching.of(x, 4, 4, 0.5)
    assert matching
    assert torch.allclose(matching.unmerge(matching.merge(x))[0, :, 0], torch.tensor(TOMESD), atol=1e-5)


TOMESD = [
    0.608063,
    -0.885251,
    0.877538,
    0.895664,
    -0.819229,
    0.608063,
    0.608063,
    0.895664,
    -0.819229,
    0.877538,
    0.895664,
    0.877538,
    0.696059,
    -0.996682,
    0.877538,
    0.272775,
]


def test_nothing_is_merged_at_ratio_0() -> None:
    assert Matching.of(torch.randn(1, 16, 4), 4, 4, 0.0) is None


def pixels(image: Image) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(image.data))).astype(int)


FINE = {"token_merging.downsample": 2}
"""The demo model attends to tokens that are reduced by 2, as SDXL does."""


def test_a_picture_changes_with_the_ratio_and_comes_back_without_it(plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")

    def run(**fields: object) -> tuple[Image, bool]:
        small = {"prompt": "red circle", "seed": 7, "steps": 2, "width": 128, "height": 128}
        events = [*engine.run(GenerationRequest.model_validate(small | fields), plugins)]
        assert not isinstance(events[-1], Failed), events[-1]
        (image,) = (event for event in events if isinstance(event, Image))
        return image, any(isinstance(event, ModelLoading) for event in events)

    plain, _ = run()
    half = FINE | {"token_merging.ratio": 0.5}
    merged, loaded = run(options=half)
    assert not loaded and "Token merging ratio: 0.5, RNG: NV, Token merging downsample: 2," in merged.infotext
    assert np.abs(pixels(merged) - pixels(plain)).max() > 8
    little, _ = run(options=half | {"token_merging.ratio": 0.2})
    assert np.abs(pixels(merged) - pixels(little)).max() > 2
    coarse, _ = run(options={"token_merging.ratio": 0.5})
    assert "Token merging ratio: 0.5, RNG: NV, sdterm" in coarse.infotext, "where A1111 has it"
    assert np.array_equal(pixels(coarse), pixels(plain)), "as A1111: what is reduced is left alone"
    again, _ = run(**{**read(parse(merged.infotext), plugins).fields, "model": None})
    assert np.array_equal(pixels(again), pixels(merged))
    off, _ = run(**read(parse("red circle\nSteps: 2, Seed: 7, Size: 128x128, Token merging ratio: 0"), plugins).fields)
    assert "Token merging" not in off.infotext
    after, loaded = run()
    assert after.data == plain.data and not loaded, "its hooks are taken off; nothing is read anew"


@pytest.mark.heavy
def test_the_second_pass_has_a_ratio_of_its_own(plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")
    hires = {"hires": True, "hires_scale": 2.0, "hires_upscaler": "Latent", "denoising_strength": 0.5}

    def run(**options: float) -> tuple[bool, str, str]:
        small = {"prompt": "red circle <lora:sdterm-blueprint:0.5>", "seed": 7, "steps": 2, "width": 64, "height": 64}
        named = {f"token_merging.{name}": value for name, value in options.items()}
        request = GenerationRequest.model_validate(small | hires | {"options": named})
        events = [*engine.run(request, plugins)]
        assert not isinstance(events[-1], Failed), events[-1]
        (image,) = (event for event in events if isinstance(event, Image))
        return any(isinstance(event, ModelLoading) for event in events), image.pixel_hash, image.infotext

    _, plain, _ = run()
    loaded, second, said = run(ratio=0, ratio_hr=0.5, downsample=2)
    assert not loaded and second != plain
    assert "Token merging ratio hr: 0.5" in said and "Token merging ratio: " not in said, "as A1111 writes it"
    _, both, _ = run(ratio=0.5, downsample=2)
    _, same, _ = run(ratio=0.5, ratio_hr=0.5, downsample=2)
    assert both == same and both not in (plain, second)
    assert run()[:2] == (False, plain)


def test_asked_for_without_a_ratio_it_says_so(plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")
    *_, last = engine.run(GenerationRequest(prompt="x", steps=1, memory=("Token merging",)), plugins)
    assert isinstance(last, Failed) and "--set token_merging.ratio=0.5" in last.message


def test_an_image_of_a_batch_is_the_single_image(plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")
    asked = {
        "prompt": "red circle",
        "steps": 2,
        "width": 64,
        "height": 64,
        "options": FINE | {"token_merging.ratio": 0.5},
    }
    batch = [*engine.run(GenerationRequest.model_validate({**asked, "seed": 6, "batch_size": 2}), plugins)]
    alone = [*engine.run(GenerationRequest.model_validate({**asked, "seed": 7}), plugins)]
    (second,) = (event for event in batch if isinstance(event, Image) and event.index == 1)
    (single,) = (event for event in alone if isinstance(event, Image))
    assert np.abs(pixels(second) - pixels(single)).max() <= 1
