"""Models come into their folders by the host, whoever leaves meanwhile."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from sdterm.api import Download, DownloadRequest
from sdterm.client import Client, RefusedError, connect
from sdterm.core.settings.paths import CHECKPOINTS, LORAS
from sdterm.core.settings.rundir import run_folder_of
from sdterm.events import Done, DownloadChanged
from tests.core.library.serving import File, hub, serving
from tests.core.library.test_downloading import diffusers_folder
from tests.host.conftest import StartHost, hosts, settings_of
from tests.host.running import running

LORA = save({"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.randn(4000, 32)})
SHA256 = hashlib.sha256(LORA).hexdigest()
ENDED = ("done", "failed", "cancelled")


@pytest.fixture
def files() -> dict[str, File]:
    return hub(LORA, SHA256, token="hf_secret")


@pytest.fixture
def url(files: dict[str, File], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(files) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield url


def until_ended(host: Client, number: int) -> Download:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = next(each for each in host.downloads() if each.id == number)
        if seen.state in ENDED:
            return seen
        time.sleep(0.05)
    raise AssertionError("it does not end")


@pytest.mark.heavy
def test_a_model_comes_its_token_is_not_kept_and_events_tell(
    files: dict[str, File], url: str, start_host: StartHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = start_host(tmp_path)  # it has no token: this process has
    request = DownloadRequest(source="hf:owner/name")
    with pytest.raises(RefusedError, match="needs a token"):
        host.look_at_download(request)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    offer = host.look_at_download(request)
    assert (offer.name, offer.kind, offer.size, offer.licence) == ("model.safetensors", "lora", len(LORA), "openrail")
    after = host.health().last_event
    begun = host.add_model(request)
    seen = until_ended(host, begun.id)
    assert seen.state == "done" and seen.sha256 == SHA256 and seen.path == str(tmp_path / LORAS / "model.safetensors")
    states = []
    for entry in host.events(after=after):
        if isinstance(entry.event, DownloadChanged) and entry.event.download == begun.id:
            states.append(entry.event.state)
            if entry.event.state in ENDED:
                break
    assert states[0] == "waiting" and states[-1] == "done"
    with pytest.raises(RefusedError, match="already"):
        host.add_model(request)
    with pytest.raises(RefusedError, match="There is no download 99") as refused:
        host.cancel_download(99)
    assert refused.value.status == 404
    for file in run_folder_of(tmp_path).folder.rglob("*"):
        assert not file.is_file() or b"hf_secret" not in file.read_bytes(), file


def test_it_survives_clients_and_a_killed_host_and_can_be_stopped(
    files: dict[str, File], url: str, start_host: StartHost, tmp_path: Path
) -> None:
    file = files["/big.safetensors"] = File(LORA, held=threading.Event())
    other = files["/other.safetensors"] = File(LORA, held=threading.Event())
    host = start_host(tmp_path)
    request = DownloadRequest(source=f"{url}/big.safetensors")
    number = host.add_model(request).id
    assert host.add_model(request).id == number, "the same one"
    stopped = host.add_model(DownloadRequest(source=f"{url}/other.safetensors"))
    deadline = time.monotonic() + 30
    while sum(each.received > 0 for each in host.downloads()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    host.cancel_download(stopped.id)
    assert other.held and file.held
    other.held.set()
    assert until_ended(host, stopped.id).state == "cancelled"
    (process,) = hosts(tmp_path)
    process.kill()
    process.wait(20)
    file.held.set()
    with connect(settings_of(tmp_path)) as again:
        deadline = time.monotonic() + 30
        while not (found := again.downloads()) and time.monotonic() < deadline:
            time.sleep(0.02)
        seen = until_ended(again, found[0].id)
    assert (seen.state, seen.sha256) == ("done", SHA256)
    assert any(heard.get("Range") for heard in file.heard), "it went on where it was"
    left = [path.name for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert left == ["big.safetensors"]


@pytest.mark.heavy
def test_a_diffusers_folder_comes_as_one_model(
    files: dict[str, File], url: str, start_host: StartHost, tmp_path: Path
) -> None:
    served, wanted = diffusers_folder()
    files.clear()
    files |= served
    host = start_host(tmp_path)
    request = DownloadRequest(source="hf:owner/name")
    offer = host.look_at_download(request)
    size = sum(map(len, wanted.values()))
    assert (offer.name, offer.kind, offer.size, offer.files) == ("name", "checkpoint", size, len(wanted))
    seen = until_ended(host, host.add_model(request).id)
    assert (seen.state, seen.received, seen.path) == ("done", size, str(tmp_path / CHECKPOINTS / "name")), seen.message
    assert "name" in [model.name for model in host.models()]


@pytest.mark.heavy
def test_drawing_does_not_wait_for_a_download(files: dict[str, File], url: str, tmp_path: Path) -> None:
    file = files["/big.safetensors"] = File(LORA, held=threading.Event())
    assert file.held
    with running(tmp_path, HF_ENDPOINT=url) as host:
        number = host.client.add_model(DownloadRequest(source=f"{url}/big.safetensors")).id
        assert isinstance(host.events(host.submit(steps=2))[-1], Done)
        (seen,) = host.client.downloads()
        assert seen.state == "running" and 0 < seen.received < len(LORA)
        file.held.set()
        assert until_ended(host.client, number).state == "done"
