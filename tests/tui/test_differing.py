"""What pictures were drawn with, compared."""

import pytest

from sdterm.core.infotext.grammar import write
from sdterm.core.settings.paths import shipped
from sdterm.tui.differing import changed, differing, in_short, parameters, table
from sdterm.tui.language import use

PLAIN = {"Steps": 20, "Sampler": "Euler", "CFG scale": 7, "Seed": 5, "Size": "64x64", "Model": "demo", "Version": "1"}


def infotext(prompt: str = "a house", negative: str = "", **other: object) -> str:
    return write(prompt, negative, {**PLAIN, **{name.replace("_", " "): value for name, value in other.items()}})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (infotext(CFG_scale=9), ["CFG 9"]),
        (infotext(Sampler="Euler a"), ["Euler a"]),
        (infotext("a red house"), ["prompt"]),
        (infotext(negative="rain"), ["negative"]),
        (infotext(Seed=6), ["Seed 6"]),
        (infotext("a red house", Seed=6, Steps=30, Clip_skip=2), ["prompt", "Steps 30", "Clip 2", "Seed 6"]),
        (infotext(Version="2", sdterm="v=9&torch=3"), []),
        (infotext(sdterm="set.sampler_options=%7B%22eta%22%3A0.5%7D"), ["Sampler options eta 0.5"]),
        (infotext(sdterm="set.resize_mode=%22Resize%20and%20fill%22"), ["Resize mode Resize and fill"]),
        (infotext(Model="\x1b[31mevil\u202e"), ["�[31mevil�"]),
    ],
)
def test_what_changed_is_told_in_a_word_or_two(now: str, said: list[str]) -> None:
    assert [*changed(infotext(), now).values()] == said


def test_names_are_in_the_users_language_and_those_of_others_only_text() -> None:
    folder = shipped("localizations")
    assert folder
    use("ja", [folder])
    try:
        told = changed(infotext(), infotext(Denoising_strength=0.5, Mine=1))
        assert [*told.values()] == ["ノイズ除去強度 0.5", "Mine 1"]
    finally:
        use(None)


def test_what_is_gone_is_told_too() -> None:
    assert [*changed(infotext(Clip_skip=2), infotext()).values()] == ["no Clip skip"]


def test_what_is_gone_with_one_thing_is_told_once_and_in_its_words() -> None:
    upscaled = infotext(Postprocess_upscale_by=4, Postprocess_upscaler="Lanczos")
    assert [*changed(infotext(), upscaled).values()] == ["upscaled by 4", "Upscaler Lanczos"]
    gone = changed(upscaled, infotext(Seed=6))
    assert [*gone.values()] == ["not upscaled", "Seed 6"]
    assert in_short(gone, 6, 8) == " 6", "no half of what says the opposite"
    assert in_short(gone, 6, 13) == " not upscaled"
    hires = infotext(Hires_upscale=2, Hires_steps=5, Hires_upscaler="Latent")
    assert [*changed(hires, infotext()).values()] == ["no hires fix"]


def test_pictures_are_told_by_the_beginnings_of_their_digests() -> None:
    record = "v=1&set.init_images=%5B%22" + "a1" * 32 + "%22%5D&set.mask=%22" + "b2" * 32 + "%22"
    assert differing((infotext(), infotext(sdterm=record))) == {
        "Init image": ("", "a1a1a1a1…"),
        "Mask": ("", "b2b2b2b2…"),
    }


def test_a_table_has_what_differs_and_nothing_else() -> None:
    rows = differing((infotext(Seed=1, CFG_scale=9), infotext(Seed=2), infotext(Seed=1)))
    assert rows == {"Seed": ("1", "2", "1"), "CFG scale": ("9", "7", "7")} | {}
    assert differing((infotext(), infotext())) == {}
    assert "Version" not in parameters(infotext())


def test_of_long_texts_the_place_is_shown_where_they_part() -> None:
    same = "a very long prompt about a castle, " * 5
    ((name, values),) = table({"Prompt": (same + "red house", same + "blue house")})
    assert name == "Prompt" and all(value.startswith("…") and len(value) <= 48 for value in values)
    assert "red house" in values[0] and "blue house" in values[1]
    assert table({"Clip skip": ("", "2")}) == [("Clip skip", ["-", "2"])]


def test_there_is_little_room_below_a_picture() -> None:
    assert in_short({"CFG scale": "CFG 9", "Seed": "Seed 5"}, 5, 6) == " CFG 9"
    assert in_short({"Seed": "Seed 1234567890"}, 1234567890, 6) == " …7890"
    assert in_short({}, 7, 8) == " 7"
    for room in (5, 8):
        assert in_short({"Variation seed strength": "Vary 0.15"}, 5, room) == " Vary", "no half of a number"
    assert in_short({"Prompt": "prompt", "Sampler": "Euler a"}, 5, 8) == " prompt"
