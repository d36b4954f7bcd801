"""What is pasted: an infotext in any program's order of keys, or just words."""

import pytest

from sdterm.tui.pasted import changes, infotext_in


@pytest.mark.parametrize(
    "text",
    [
        "a castle\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1",
        "a castle\nNegative prompt: rain\nSampler: Euler a, Seed: 1, Steps: 20, Size: 512x512",
        "Seed: 1, Steps: 20, CFG scale: 7",
    ],
)
def test_an_infotext_is_known_whatever_key_comes_first(text: str) -> None:
    assert infotext_in(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("a castle", "a: b, c: d, e: f", "(red:1.2), Steps: 20", "a\n" * 50_000, "Steps: 1"),
        *("~dreamy lake", "~nobody-at-all/lake.png", "\0.png", "a" * 5000 + ".png"),
    ],
)
def test_words_are_none(text: str) -> None:
    assert infotext_in(text) is None


def test_what_would_change_is_said_by_the_forms_labels() -> None:
    now: dict[str, object] = {
        "steps": "20",
        "width": None,
        "height": None,
        "init_images": (),
        "hires": False,
        "sampler_options": {},
    }
    then = {"steps": 20, "width": 64, "height": 96, "init_images": ("ab12cd34" * 8,), "hires": True}
    assert changes(now, {**then, "sampler_options": {"eta": 0.5}}) == [
        "Size: - → 64x96",
        "Init image: - → ab12cd34…",
        "Hires fix: off → on",
        "Sampler options: - → eta 0.5",
    ]
