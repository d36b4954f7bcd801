"""The Gallery's columns: which fit, and what of a prompt is seen."""

from rich.cells import cell_len

from sdterm.api import Picture
from sdterm.core.settings.settings import GALLERY_COLUMNS, SETTINGS_BY_KEY
from sdterm.host.gallery_order import KEYS
from sdterm.tui.gallery_columns import cells, columns, excerpt, fit

PARAMETERS = "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 4294967295, Size: 512x768, Model: one"


def picture(prompt: str, number: int = 1) -> Picture:
    infotext = f"{prompt}\n{PARAMETERS}"
    return Picture(
        id=number, job=1, number=0, path="a.png", seed=4294967295, width=512, height=768, infotext=infotext, saved=0.0
    )


def test_every_column_of_the_setting_is_known_and_the_host_sorts_by_it() -> None:
    assert {*columns()} == {*GALLERY_COLUMNS} and {*columns()} <= {*KEYS}


def test_forty_four_cells_have_number_seed_sampler_and_prompt_and_more_have_more() -> None:
    wanted = [columns()[name] for name in SETTINGS_BY_KEY["gallery_columns"].default]
    rows = [cells(wanted, picture("a castle on a hill"))]

    def names(width: int) -> list[str]:
        fitted = fit(wanted, rows, width)
        assert sum(cells for _, cells in fitted) == width
        return [column.id for column, _ in fitted]

    assert names(44)[:3] == ["number", "seed", "sampler"] and names(44)[-1] == "prompt"
    assert names(120) == [column.id for column in wanted]
    assert fit(wanted, rows, 0) == [(columns()["prompt"], 0)]


def test_what_tells_prompts_apart_is_seen() -> None:
    near = ["a castle on a hill, morning mist", "a castle on a hill, evening light", "a castle on a hill, night"]
    shown = [excerpt(prompt, near, 16) for prompt in near]
    assert len({*shown}) == 3 and all(cell_len(text) <= 16 for text in shown)
    assert "morning" in shown[0] and "evening" in shown[1] and "night" in shown[2]
    assert excerpt(near[0], [near[0]], 16) == "a castle on a h…", "nothing to tell it from"
    assert excerpt("a boat", near, 16) == "a boat"
    wide = ["一座山上的城堡，早晨的薄雾里", "一座山上的城堡，夜晚"]
    assert cell_len(excerpt(wide[0], wide, 12)) <= 12


def test_a_hostile_infotext_is_harmless() -> None:
    text = "".join(cells([*columns().values()], picture("\x1b[31mred\x9b2J\u202ehidden\ttab")).values())
    assert not {"\x1b", "\x9b", "\u202e", "\t", "\n"} & {*text}


def test_variations_of_one_seed_are_told_apart_in_so_many_cells() -> None:
    batch = [
        picture("a castle").model_copy(update={"infotext": f"a castle\n{PARAMETERS}, Variation seed: {seed}"})
        for seed in (3647049374, 3647049375, 7)
    ]
    wanted = [columns()[name] for name in SETTINGS_BY_KEY["gallery_columns"].default]
    rows = [cells(wanted, each) for each in batch]
    assert [row["seed"] for row in rows] == ["4294967295~…74", "4294967295~…75", "4294967295~7"]
    fitted = {column.id: width for column, width in fit(wanted, rows, 44)}
    assert fitted["seed"] == 15 and "sampler" in fitted, "whole, and not in its place"
