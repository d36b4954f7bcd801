"""Every pattern and prompt gives legal file and folder names below the folder for images."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdterm.core.output.naming import (
    TOKENS,
    NameFacts,
    PatternError,
    check_folder_pattern,
    check_pattern,
    file_name,
    file_names,
    folder_name,
    sanitised,
)
from sdterm.events import Image, Started
from sdterm.request import GenerationRequest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
HOSTILE = (
    "../../etc/passwd", "/etc/passwd", "..\\..\\x", "\0", "\N{CAT}" * 400, "--out", ".hidden", "CON.png", "nul", "COM¹",
    "   ", "...", "a. . ", "\udcff\ud83d",
    "\u202egnp.exe", "\x1b]0;x\x07", "\x85\u2028", "\u0958" * 200, "e\u0301" * 200, "~/x",
)  # fmt: skip
WORDS = TEXT | st.sampled_from(HOSTILE)


def facts(index: int = 0, number: int = 0, prompt: str = "cat", **fields: Any) -> NameFacts:
    """What is known of an image of 64x128 pixels; `fields` are the request's."""
    request = GenerationRequest.model_construct(**{"prompt": prompt, **fields})
    image = Image(
        index=index, seed=5 + index, prompt=prompt, width=64, height=128, infotext="", suffix=".png", data=b"",
        pixel_hash="0123456789abcdef" * 4,
    )  # fmt: skip
    job = Started(
        model="demo v1", model_hash="abcdef0123", sampler="DPM++ 2M", scheduler="SGM Uniform", seed=5, width=64,
        height=128, images=request.batch_size * request.batch_count,
    )  # fmt: skip
    saved = datetime.fromisoformat("2026-01-02T23:04:05+00:00").astimezone().replace(tzinfo=None)
    return NameFacts(request, job, image, datetime(2026, 1, 1, 12), saved, number)


def is_safe(name: str, more: str = "") -> bool:
    """A name that every file system, shell and terminal takes, with `more` behind it."""
    return (
        0 < len((name + more).encode()) <= 255
        and not set(name) & set('/\\:*?"<>|\0\n\x1b\x85\u2028\u202e')
        and name[0] not in ".- "
        and name[-1] not in ". "
        and name.split(".")[0].strip().lower() not in ("con", "nul", "com1", "com¹")
    )


@given(WORDS)
@example("\N{CAT}" * 400)
@example("../../etc/passwd")
@example("CON .txt")
def test_any_text_becomes_one_safe_name(text: str) -> None:
    assert is_safe(sanitised(text))


TOKEN = st.sampled_from([f"[{token}]" for token in TOKENS]) | st.sampled_from(
    ["[datetime<%H/%M><Asia/Tokyo>]", "[prompt_hash<64>]", "[hasprompt<../|..><\0|/>]", "[IMAGE_HASH<3>]"]
)
PATTERN = st.lists(TOKEN | st.sampled_from(["-", "/", "\\", "..", " ", ".", "~", "nul"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="[]"), max_size=5), max_size=12
).map("".join)  # fmt: skip


@given(PATTERN, WORDS, WORDS, WORDS, st.integers(0, 10**9), st.booleans())
def test_any_pattern_with_any_values_stays_inside_the_folder(
    pattern: str, prompt: str, style: str, model: str, number: int, add_number: bool
) -> None:
    check_pattern(pattern)
    known = facts(3, prompt=prompt, negative_prompt=style, styles=(style,), batch_size=4)
    known = replace(known, job=known.job.model_copy(update={"model": model, "sampler": style}))
    for name in islice(file_names(pattern, known, count(number), add_number=add_number), 3):
        assert is_safe(name, ".abcdefghijklmno")
    folder = folder_name(pattern, known)
    assert all(is_safe(level) for level in folder.parts) and not folder.is_absolute()
    root = Path("root").absolute()
    assert Path(os.path.normpath(root / folder / "x")).is_relative_to(root)


@given(st.sampled_from(["[prompt]-[number]", "[prompt_spaces] [number]", "[seed][prompt][number]", "[prompt]"]), WORDS)
@example("[prompt]-[number]", "x" * 300)
@example("x" * 300 + "[number]", "cat")
@example("\u0958" * 70 + "[number]", "cat")
@pytest.mark.parametrize("add_number", [True, False])
def test_no_two_names_are_alike_however_long_the_prompt(add_number: bool, pattern: str, prompt: str) -> None:
    """Else a writer that looks for a free name would look for ever."""
    numbers: Iterator[int] = iter([0, 1, 99_999, 1_000_000])
    names = list(islice(file_names(pattern, facts(prompt=prompt), numbers, add_number=add_number), 4))
    assert len(set(names)) == 4


PROMPT = "Red house, (snow:1.2) at_night; 日本"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("[seed]-[seed_first]-[seed_last]", "7-5-10"),
        ("[steps] [cfg] [width]x[height] [clip_skip]", "20 7.5 64x128 2"),
        ("[styles]", "film, noir"),
        ("[sampler]+[scheduler]+[sampler_scheduler]", "DPM++ 2M+Sgm uniform+DPM++ 2M Sgm uniform"),
        ("[model_name] [model_hash] [vae_filename]", "demo v1 abcdef0123 NoneType"),
        ("[job_timestamp]", "20260101120000"),
        ("[datetime<%Y-%m-%d %H.%M><UTC>] [datetime<><Asia/Tokyo>]", "2026-01-02 23.04 20260103080405"),
        ("[datetime<%H/%M:%S><UTC>]", "23_04_05"),
        ("[prompt]", "Red_house,_(snow_1.2)_at_night;_日本,_film"),
        ("[prompt_spaces]", "Red house, (snow_1.2) at_night; 日本, film"),
        ("[prompt_no_styles]", "Red house, (snow_1.2) at_night; 日本"),
        ("[prompt_words]", "Red house snow 1 2 at night 日本"),
        ("[prompt_hash]", hashlib.sha256(f"{PROMPT}, film".encode()).hexdigest()[:8]),
        ("[prompt_hash<3>]", hashlib.sha256(f"{PROMPT}, film".encode()).hexdigest()[:3]),
        ("[negative_prompt_hash<64>]", hashlib.sha256(b"fog").hexdigest()),
        ("[full_prompt_hash]", hashlib.sha256(f"{PROMPT} fog".encode()).hexdigest()[:8]),
        ("b[batch_number]of[batch_size] g[generation_number]", "b3of3 g3"),
        ("[hasprompt<HOUSE><cat|no cat><dog>]", "houseno_cat"),
        ("[image_hash<6>] [image_hash]", f"012345 {'0123456789abcdef' * 4}"),
        ("a[denoising]b[user]c", "c"),
        ("[Seed]", "7"),
        ("[none]", ""),
        ("plain", "plain"),
    ],
)
def test_tokens_say_what_a1111s_say(pattern: str, name: str) -> None:
    """By reading modules/images.py, FilenameGenerator."""
    known = facts(2, 42, PROMPT, negative_prompt="fog", styles=("film", "noir"), cfg_scale=7.5, clip_skip=2,
                  batch_size=3, batch_count=2)  # fmt: skip
    known = replace(known, image=known.image.model_copy(update={"prompt": f"{PROMPT}, film"}))
    check_pattern(pattern)
    assert file_name(pattern, known) == f"00042-{name}".removesuffix("-")
    light = replace(known, job=known.job.model_copy(update={"vae": "light-vae.safetensors"}))
    assert file_name("[vae_filename]", light) == "00042-light-vae"


def test_what_tells_nothing_takes_the_text_before_it_along() -> None:
    single = facts(0, 1)
    assert (
        file_name("[seed]-[seed_first]-last[seed_last]-b[batch_number]-g[generation_number]!", single) == "00001-5-5!"
    )
    several = facts(1, 1, batch_count=3)
    assert file_name("[seed_first]-b[batch_number]-g[generation_number]", several) == "00001-6-g2"


def test_networks_are_not_part_of_the_prompt() -> None:
    prompt = "cat <lora:hat:0.8>with <hypernet:y>a hat <3"
    assert (
        file_name("[prompt_spaces]+[prompt_words]", facts(prompt=prompt)) == "00000-cat with a hat _3+cat with a hat 3"
    )
    assert file_name("[hasprompt<lora><hat>]", facts(prompt=prompt)) == "00000-hat"


def test_the_seeds_of_variations_are_all_the_first() -> None:
    assert file_name("[seed_last]", facts(batch_size=3, variation_strength=0.2)) == "00000-5"


def test_the_number_stands_where_the_pattern_says() -> None:
    assert file_name("[seed]_[number]", facts(number=3)) == "5_00003"
    plain = islice(file_names("[seed]", facts(), count(7), add_number=False), 3)
    assert [*plain] == ["5", "5-1", "5-2"]
    assert next(file_names("[none]", facts(), count(7), add_number=False)) == "00007"


def test_a_long_prompt_does_not_push_out_what_follows_it() -> None:
    assert file_name("[prompt_spaces]-[seed]", facts(prompt="\N{CAT}" * 400)).endswith("\N{CAT}-5")


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("[date]", "2026-01-02"),
        ("", "."),
        ("[model_name]/[sampler]\\x", "demo v1/DPM++ 2M/x"),
        ("[prompt]/[seed]", "__.._.._etc/5"),
        ("../[batch_number]/..//./x", "_/_/_/x"),
        ("[datetime<%Y/%m><Etc/UTC>]", "2026_01"),
    ],
)
def test_only_a_slash_of_the_pattern_separates_folders(pattern: str, folder: str) -> None:
    known = facts(prompt="./../../etc")
    known = replace(known, saved=datetime(2026, 1, 2, 12))
    check_folder_pattern(pattern)
    assert folder_name(pattern, known) == Path(folder)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[sede]", r"\[sede\].*\[seed\]"),
        ("[]", "does not exist"),
        ("[seed<3>]", "takes no"),
        ("[prompt_hash<x>]", "number from 1 to 64"),
        ("[prompt_hash<65>]", "number from 1 to 64"),
        ("[prompt_hash<3]", "do not match"),
        ("[datetime<%Y><Nowhere/Else>]", "no time zone 'Nowhere/Else'"),
        ("[datetime<%Y><../../etc/passwd>]", "no time zone"),
        ("[datetime<%Y><Europe>]", "no time zone"),
        ("[datetime<a><><c>]", "only a format"),
        ("[datetime<\ud800>]", "not a valid time format"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_one_sentence(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "words"), [("a/" * 2000, "16 nested folders"), ("[Number]", "only files"), ("[x]", "x")]
)
def test_a_folder_pattern_that_cannot_be_used_is_one_sentence(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        check_folder_pattern(pattern)
