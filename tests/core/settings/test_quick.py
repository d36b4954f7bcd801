from pathlib import Path
from typing import Any

import pytest

from sdterm.core.settings.file import unset, write_setting
from sdterm.core.settings.quick import EQUALS, LATER, quick
from sdterm.core.settings.settings import SETTINGS, ConfigError, frozen_reason, resolve
from sdterm.request import GenerationRequest


def test_a1111s_names_mean_what_is_here() -> None:
    known = {setting.key for setting in SETTINGS} | {*GenerationRequest.model_fields}
    assert {*EQUALS.values()} <= known and not {*EQUALS} & {*LATER}


def test_what_cannot_be_pinned_is_named() -> None:
    found, missing = quick(
        ["sd_model_checkpoint", "CLIP_stop_at_last_layers", "upcast_attn", "stps", "steps", "emphasis"]
    )
    assert found == ["model", "clip_skip", "steps", "emphasis"]
    assert "attention in float32" in missing[0] and "Did you mean 'steps'" in missing[1]


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"freeze_settings": True}, "steps", "All settings are locked"),
        ({"freeze_settings_in_sections": ("sampler parameters",)}, "steps", "'Sampler parameters' are locked"),
        ({"freeze_specific_settings": ("CLIP_stop_at_last_layers",)}, "clip_skip", "clip_skip is locked"),
    ],
)
def test_a_locked_setting_says_why_and_is_not_written(
    tmp_path: Path, given: dict[str, Any], key: str, said: str
) -> None:
    settings = resolve({"the command line": given}, {"SDTERM_DATA": str(tmp_path)})
    assert said in (frozen_reason(settings, key) or "")
    assert bool(frozen_reason(settings, "theme")) == ("freeze_settings" in given)
    with pytest.raises(ConfigError, match="locked"):
        write_setting(settings, key, "2")
    assert not (tmp_path / "config.toml").exists()


def test_a_setting_is_written_beside_comments_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("# mine\nsteps = 30 # more\n")
    environ = {"SDTERM_DATA": str(tmp_path)}
    settings = write_setting(resolve({}, environ), "ckpt_dirs", "one,two")
    settings = write_setting(settings, "steps", "25")
    assert path.read_text().startswith("# mine\nsteps = 25 # more\n")
    again = resolve({}, environ)
    assert (again["steps"], again["ckpt_dirs"]) == (25, (str(tmp_path / "one"), str(tmp_path / "two")))
    assert unset(settings, "steps", 20)["steps"] == 20 and "# mine" in path.read_text()


@pytest.mark.parametrize(
    ("key", "text"), [("steps", "0"), ("preview", "loud"), ("filename_pattern", "[seed<1>]"), ("mouse", "x")]
)
def test_a_value_that_is_wrong_is_not_written(tmp_path: Path, key: str, text: str) -> None:
    settings = resolve({}, {"SDTERM_DATA": str(tmp_path)})
    with pytest.raises(ConfigError):
        write_setting(settings, key, text)
    assert not (tmp_path / "config.toml").exists()


def test_an_unknown_key_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("steps = 3\n\nstpes = 4\n")
    with pytest.raises(ConfigError, match=r"line 3: .*Did you mean 'steps'"):
        resolve({}, {"SDTERM_DATA": str(tmp_path)})
