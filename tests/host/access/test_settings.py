"""Settings over a port: which can be changed, and which are locked."""

import json
from typing import Any

import pytest

from sdterm.core.settings.logins import logins
from sdterm.core.settings.settings import PATHS, SETTINGS
from sdterm.host.access.scopes import NEEDED
from sdterm.host.services import HostServices
from tests.host.access.test_gate import Guests
from tests.host.sdapi.test_access import asking

CLIP = "CLIP_stop_at_last_layers"


@pytest.fixture
def guests(services: HostServices) -> Guests:
    return Guests(services)


def config(services: HostServices) -> str:
    path = services.settings.root / "config.toml"
    return path.read_text() if path.exists() else ""


def test_a_setting_is_changed_for_good_and_taken_back(guests: Guests) -> None:
    assert NEEDED["PUT /v1/settings/{key}"] == "admin"
    changed = guests.ask("admin", "PUT", "/v1/settings/clip_skip", json={"value": 2})
    assert changed.status_code == 200 and (changed.json()["key"], changed.json()["value"]) == ("clip_skip", 2)
    assert "clip_skip = 2" in config(guests.services)
    shown = {view["key"]: view for view in guests.ask("read", "GET", "/v1/settings").json()}
    assert shown["clip_skip"]["value"] == 2 and shown["clip_skip"]["source"].endswith("config.toml")
    assert guests.ask("admin", "PUT", "/v1/settings/clip_skip", json={"value": None}).json()["source"] == "default"
    assert "clip_skip" not in config(guests.services)


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("clip_skip", 99, "value"),
        ("clip_skip", "many", "value"),
        ("clip_skp", 1, "key"),
        ("clip_skip", {"a": 1}, "value"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(guests: Guests, key: str, value: object, field: str) -> None:
    answer = guests.ask("admin", "PUT", f"/v1/settings/{key}", json={"value": value})
    assert (
        answer.status_code == 422 and answer.json()["field"] == field and answer.json()["message"].endswith((".", "?"))
    )
    assert config(guests.services) == ""


def test_over_the_network_no_setting_names_a_file_or_steers_the_host(guests: Guests) -> None:
    for setting in SETTINGS:
        if setting.scope == "host" or setting.key in (*PATHS, "keymap", "plain", "nowebui"):
            answer = guests.ask("admin", "PUT", f"/v1/settings/{setting.key}", json={"value": "/etc/passwd"})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), setting.key
    ask = asking(guests.services)
    for name in ("outdir_samples", "outdir_txt2img_samples", "temp_dir"):
        ask("POST", "/sdapi/v1/options", json={name: "/srv/elsewhere"})
    for name, value in {"sd_checkpoints_limit": 7, "sd_checkpoints_keep_in_cpu": True}.items():
        ask("POST", "/sdapi/v1/options", json={name: value})
    assert config(guests.services) == ""
    kept = guests.services.settings.root / "a1111-options.json"
    assert not kept.exists() or "elsewhere" not in kept.read_text()


@pytest.mark.parametrize(
    "freeze",
    [
        {"freeze_settings": True},
        pytest.param({"freeze_settings_in_sections": ()}, marks=pytest.mark.heavy),
        pytest.param({"freeze_specific_settings": (CLIP,)}, marks=pytest.mark.heavy),
        pytest.param({"freeze_specific_settings": ("clip_skip",)}, marks=pytest.mark.heavy),
    ],
    ids=str,
)
def test_what_is_locked_stays_whoever_asks(guests: Guests, freeze: dict[str, Any]) -> None:
    services = guests.services
    section = next(setting.section for setting in SETTINGS if setting.key == "clip_skip")
    for key, value in freeze.items():
        chosen = (section,) if key == "freeze_settings_in_sections" else value
        services.settings = services.settings.with_value(key, chosen, "the command line")
    ask = asking(services)
    told = ask("GET", "/sdapi/v1/options").json()
    assert ask("POST", "/sdapi/v1/options", json={CLIP: told[CLIP]}).status_code == 200, "nothing would change"
    refused = ask("POST", "/sdapi/v1/options", json={CLIP: 3})
    assert refused.status_code == 422 and "locked" in refused.json()["detail"]
    over_v1 = guests.ask("admin", "PUT", "/v1/settings/clip_skip", json={"value": 3})
    assert over_v1.status_code == 422 and "locked" in over_v1.json()["message"]
    job = ask("POST", "/sdapi/v1/txt2img?wait=false", json={"prompt": "x", "override_settings": {CLIP: 3}})
    assert job.status_code == 422 and "locked" in json.dumps(job.json())
    same = ask("POST", "/sdapi/v1/txt2img?wait=false", json={"prompt": "x", "override_settings": {CLIP: told[CLIP]}})
    assert same.status_code == 202, same.text
    assert config(services) == ""


def test_a_lock_on_one_setting_leaves_the_others_and_what_is_only_kept_is_locked_too(services: HostServices) -> None:
    services.settings = services.settings.with_value("freeze_specific_settings", ("eta_ddim",), "the command line")
    ask = asking(services)
    assert ask("POST", "/sdapi/v1/options", json={CLIP: 2}).status_code == 200
    refused = ask("POST", "/sdapi/v1/options", json={"eta_ddim": 0.5})
    assert refused.status_code == 422 and "eta_ddim is locked" in refused.json()["detail"]
    assert "clip_skip = 2" in config(services)


def test_flags_are_told_and_no_password(services: HostServices) -> None:
    given = {"listen": True, "subpath": "sd", "cors_allow_origins": ("https://a",)}
    for key, value in given.items():
        services.settings = services.settings.with_value(key, value, "the command line")
    ask = asking(services, api_auth=logins("alice:secret"))
    flags = ask("GET", "/sdapi/v1/cmd-flags", auth=("alice", "secret")).json()
    assert flags["listen"] is True and flags["server_name"] == "0.0.0.0" and flags["subpath"] == "sd"
    assert flags["cors_allow_origins"] == "https://a"
    assert flags["api_auth"] is None and flags["gradio_auth"] is None and "alice" not in json.dumps(flags)
