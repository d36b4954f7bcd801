"""What a header says, and what a user wrote beside a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdterm.core.library.about import Notes, header_facts, licence_of, notes_of
from sdterm.core.library.scan import scan


@pytest.mark.parametrize(
    ("metadata", "tensors", "base"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, {}, "SDXL"),
        ({"ss_v2": "True"}, {}, "SD2"),
        ({"ss_v2": "False", "ss_base_model_version": "sd_v1"}, {}, "SD1"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, {}, "SDXL"),
        ({}, {"lora_unet_a_attn2_to_k.lora_down.weight": (4, 768)}, "SD1"),
        ({}, {"lora_unet_a_attn2_to_k.lora_down.weight": (4, 1024)}, "SD2"),
        ({}, {"unet.a.attn2.to_k.lora_A.weight": (4, 2048)}, "SDXL"),
        ({}, {"emb_params": (2, 768)}, "SD1"),
        ({}, {"clip_l": (2, 768), "clip_g": (2, 1280)}, "SDXL"),
        ({}, {"x": (1,)}, ""),
    ],
)
def test_the_models_that_a_file_is_for_stand_in_its_header(
    metadata: dict[str, str], tensors: dict[str, tuple[int, ...]], base: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({key: np.zeros(shape, np.float16) for key, shape in tensors.items()}, path, metadata)
    assert header_facts(path).get("base", "") == base


NOTES = {"description": "ink\nand\x1b[31m water", "sd version": "SDXL", "activation text": "inkpunk", "notes": "…"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            json.dumps({**NOTES, "preferred weight": 0.7, "negative text": "oil"}),
            Notes("ink and�[31m water", "SDXL", "inkpunk", "oil", 0.7),
        ),
        (json.dumps({"preferred weight": 0, "sd version": "Unknown"}), Notes()),  # A1111 writes 0 for none
        (json.dumps({"preferred weight": "much", "description": 7, "sd version": []}), Notes()),
        ('{"preferred weight": 1e999}', Notes()),
        ("[" * 100_000, Notes()),
        ("no json", Notes()),
    ],
)
def test_a1111s_user_metadata_is_read_as_far_as_it_makes_sense(text: str, expected: Notes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").touch()
    (tmp_path / "x.json").write_text(text)
    (file,) = scan("lora", [tmp_path])
    assert notes_of(file) == expected


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# It\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: its-own\n---\n", "its-own"),
        ("---\nlicense: [a]\n---\n", ""),
        ('---\nlicense: "a\\e[31mb"\n---\n', "a\ufffd[31mb"),
        ("---\n- x\n---\n", ""),
        ("---\nlicense: {\n---\n", ""),
        ("# no head\n", ""),
        (None, ""),
    ],
)
def test_a_folder_says_its_licence_in_the_head_of_its_readme(readme: str | None, licence: str, tmp_path: Path) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert licence_of(tmp_path, {}) == licence


def test_a_file_says_its_licence_in_its_header(tmp_path: Path) -> None:
    assert licence_of(tmp_path / "x.safetensors", {"modelspec.license": "CreativeML Open RAIL-M"}).startswith(
        "Creative"
    )
