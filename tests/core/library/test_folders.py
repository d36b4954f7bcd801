"""Where model files are looked for."""

from pathlib import Path
from typing import Any

import pytest

from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError, library_of
from sdterm.core.library.folders import folders_of
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.settings import Settings, resolve
from tests.core.library.test_scan import touch


def settings(root: Path, **values: Any) -> Settings:
    return resolve({"the command line": {"data_dir": str(root), **values}}, {})


def found(these: Settings, kind: str) -> list[str]:
    return [file.file_name for file in library_of(these).files(kind) if "sdterm-demo" not in file.location]


@pytest.mark.parametrize("kind", MODEL_KINDS, ids=lambda kind: kind.id)
def test_each_kind_lies_where_a1111_has_it(kind: Any, tmp_path: Path) -> None:
    suffix = kind.suffixes[0]
    for folder in kind.folders:
        touch(tmp_path / folder, f"{folder.name}{suffix}")
    assert found(settings(tmp_path), kind.id) == [f"{folder.name}{suffix}" for folder in kind.folders]


def test_folders_of_settings_come_first_then_the_data_root_then_other_installations(tmp_path: Path) -> None:
    for place in ("own/a", "data/models/Lora/b", "a1111/models/Lora/c", "a1111/models/LyCORIS/d", "more/Lora/e"):
        touch(tmp_path, f"{place}.safetensors")
    touch(tmp_path, "comfy/models/loras/f.safetensors", "comfy/models/checkpoints/g.safetensors")
    these = settings(
        tmp_path / "data",
        lora_dirs=(str(tmp_path / "own"),),
        models_dir=str(tmp_path / "more"),
        a1111_dir=str(tmp_path / "a1111"),
        comfyui_dir=str(tmp_path / "comfy"),
    )
    assert found(these, "lora") == [f"{name}.safetensors" for name in "aebcdf"]
    assert found(these, "checkpoint") == ["g.safetensors"]


COMFYUI = """
a111:
    base_path: webui
    checkpoints: models/Stable-diffusion
    vae: models/VAE
    loras: |
         models/Lora
         models/LyCORIS
    controlnet: models/ControlNet
elsewhere:
    is_default: true
    loras: {there}
"""


def test_comfyuis_extra_paths_are_read_as_comfyui_reads_them(tmp_path: Path) -> None:
    touch(tmp_path, "comfy/webui/models/Lora/a.safetensors", "comfy/webui/models/LyCORIS/b.safetensors")
    touch(tmp_path, "comfy/webui/models/Stable-diffusion/c.safetensors", "there/d.safetensors")
    (tmp_path / "comfy/extra_model_paths.yaml").write_text(COMFYUI.format(there=tmp_path / "there"))
    for given in (
        {"comfyui_dir": str(tmp_path / "comfy")},
        {"extra_model_paths": (str(tmp_path / "comfy/extra_model_paths.yaml"),)},
    ):
        these = settings(tmp_path / "data", **given)
        assert found(these, "lora") == ["a.safetensors", "b.safetensors", "d.safetensors"]
        assert found(these, "checkpoint") == ["c.safetensors"]


@pytest.mark.parametrize("text", ["- a list", "a: [", "\0", "a: &a [*a]\nb: {loras: 7}", "x: {loras: [1]}", None])
def test_a_file_of_paths_that_makes_no_sense_is_a_sentence_at_most(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "paths.yaml"
    if text is not None:
        path.write_text(text)
    these = settings(tmp_path / "data", extra_model_paths=(str(path),))
    problems = folders_of(these).problems
    assert all("paths.yaml cannot be read" in problem and "\n" not in problem for problem in problems)
    assert found(these, "lora") == [] and (text is not None or problems)


def test_a_vae_that_was_named_comes_first(tmp_path: Path) -> None:
    touch(tmp_path, "x/mine.safetensors", "data/models/VAE/a.pt")
    assert found(settings(tmp_path / "data", vae_path=str(tmp_path / "x/mine.safetensors")), "vae") == [
        "mine.safetensors",
        "a.pt",
    ]


def test_a_vae_that_was_named_by_its_path_is_used_for_all(tmp_path: Path) -> None:
    touch(tmp_path, "x/mine.safetensors", "data/models/VAE/b.pt")
    model = CheckpointFile(tmp_path / "b.safetensors")
    named = library_of(settings(tmp_path / "data", vae_path=str(tmp_path / "x/mine.safetensors")))
    plain = library_of(settings(tmp_path / "data"))
    for asked, without in (("Automatic", "b.pt"), ("None", None), ("b", "b.pt")):
        forced, usual = named.find_vae(asked, model), plain.find_vae(asked, model)
        assert forced and forced.path == tmp_path / "x" / "mine.safetensors"
        assert (usual and usual.path.name) == without
    gone = library_of(settings(tmp_path / "data", vae_path=str(tmp_path / "gone.pt")))
    with pytest.raises(ModelFileError, match=r"There is no .*gone\.pt, which --vae-path"):
        gone.find_vae("Automatic", model)
