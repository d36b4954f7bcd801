"""Checkpoints as a host sees them: what each is, loaded and freed on wish, hashed."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from sdterm.api import Model, Words
from sdterm.client import Client, RefusedError
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext.files import read_pixels
from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.library.recognition import Recognition, recognition
from sdterm.core.library.scan import single
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL, EMBEDDINGS, HYPERNETWORKS, LORAS
from sdterm.events import Event, Failed, ModelHashed, ModelLoading, Warning
from sdterm.host import checkpoints
from sdterm.host.services import HostServices
from tests.engine.test_engine import changed_model
from tests.host.conftest import StartHost, opened_files
from tests.host.running import Running, images, names, running, wait_until

DEMO = "sdterm-demo"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("models")
    folder = data / CHECKPOINTS
    folder.mkdir(parents=True)
    whole = EMBEDDED_MODEL.read_bytes()
    (folder / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "copy.safetensors").write_bytes(whole)
    with running(data, SDTERM_DEVICE="cpu") as it:
        yield it


def told(client: Client, after: int, *, last: type[Event]) -> list[Event]:
    """The events of no job up to the first of that kind; a model that is loaded is one that is done."""
    found = []
    for entry in client.events(after=after):
        if entry.job is None:
            found.append(entry.event)
            if isinstance(entry.event, last) and getattr(entry.event, "done", True):
                return found
    raise AssertionError("the host ended")


def loaded(client: Client) -> list[str]:
    return [model.name for model in client.models() if model.loaded]


@pytest.mark.heavy
def test_a_checkpoint_is_loaded_and_freed_on_wish_and_drawing_reads_it_no_more(host: Running) -> None:
    client, before = host.client, host.client.health().last_event
    client.load_model("SDTERM_demo")
    events = told(client, before, last=ModelLoading)
    assert [event.done for event in events if isinstance(event, ModelLoading)][:: len(events) - 1] == [False, True]
    assert loaded(client) == [DEMO] and client.health().workers[0].phase == "idle"
    assert names(host.events(host.submit(steps=1, model=DEMO)), "model_loading") == []
    while client.health().workers[0].job:  # its end is told a moment before its worker is free
        time.sleep(0.02)

    before = client.health().last_event
    client.load_model(DEMO)
    (event,) = told(client, before, last=ModelLoading)
    assert isinstance(event, ModelLoading) and event.done, "it is there, and that is told"

    client.unload_models()
    assert loaded(client) == [] and client.health().workers[0].pid is None
    client.unload_models()
    assert "model_loading" in names(host.events(host.submit(steps=1, model=DEMO)))
    assert loaded(client) == [DEMO]


@pytest.mark.heavy
def test_all_models_that_stay_in_memory_are_told(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    for name, scale in (("one", 0.9), ("two", 0.8), ("three", 0.7)):
        changed_model(tmp_path / CHECKPOINTS / f"{name}.safetensors", **{"model.diffusion_model.out.2.weight": scale})
    with running(tmp_path, SDTERM_DEVICE="cpu", SDTERM_CHECKPOINTS_LIMIT="2") as host:
        for name, there in (("one", {"one"}), ("two", {"one", "two"}), ("three", {"two", "three"})):
            host.events(host.submit(steps=1, model=name))
            assert {*loaded(host.client)} == there
        before = host.client.health().last_event
        host.client.load_model("three")
        told(host.client, before, last=ModelLoading)
        assert {*loaded(host.client)} == {"two", "three"}
        host.client.unload_models()
        assert loaded(host.client) == []


def test_what_cannot_be_loaded_is_a_sentence_and_the_host_goes_on(host: Running) -> None:
    with pytest.raises(RefusedError, match=r"no model named 'sdterm-dmo'. Did you mean 'sdterm-demo'") as caught:
        host.client.load_model("sdterm-dmo")
    assert (caught.value.status, caught.value.problem.field) == (422, "name")
    before = host.client.health().last_event
    host.client.load_model("half")
    event = told(host.client, before, last=Warning)[-1]
    assert isinstance(event, Warning) and event.code == "model_not_loaded"
    assert "half.safetensors is not a valid .safetensors file" in event.message
    assert "done" in names(host.events(host.submit(steps=1)))


def test_nobody_who_draws_is_disturbed(host: Running) -> None:
    job = host.submit(steps=500, width=256, height=256)
    host.at_step(job, 2)
    with pytest.raises(RefusedError, match="A job is running") as caught:
        host.client.load_model("copy")
    assert caught.value.status == 409
    host.client.unload_models()
    worker = host.worker.pid
    host.at_step(job, 4)
    assert host.worker.pid == worker
    host.client.cancel(job)
    assert not {"interrupted", "resumed"} & {*names(host.events(job))}


@pytest.mark.heavy
def test_a_job_that_comes_while_models_are_freed_loses_no_process(host: Running) -> None:
    assert "done" in names(host.events(host.submit(steps=1)))
    freeing = threading.Thread(target=host.client.unload_models)
    freeing.start()
    events = host.events(host.submit(steps=1))
    freeing.join()
    assert names(events, "interrupted", "done") == ["done"]


@pytest.mark.heavy
def test_reading_a_checkpoint_can_be_given_up(host: Running) -> None:
    """A stopped process stands in for a slow disk."""
    before = host.client.health().last_event
    host.client.load_model(DEMO)
    told(host.client, before, last=ModelLoading)
    worker, before = host.worker, host.client.health().last_event
    os.kill(worker.pid, signal.SIGSTOP)
    host.client.load_model(DEMO)
    host.client.unload_models()
    (event,) = told(host.client, before, last=Warning)
    assert isinstance(event, Warning) and not worker.is_running()
    assert event.message.startswith("sdterm-demo.safetensors was not loaded. It was given up")


def test_a_checkpoint_that_nobody_began_to_read_is_told_of_too(services: HostServices) -> None:
    """No worker is at work here."""
    for path in (EMBEDDED_MODEL, EMBEDDED_MODEL, Path("b.safetensors")):
        services.dispatcher.preload(path)
    asyncio.run(services.dispatcher.unload())
    asyncio.run(services.dispatcher.unload())
    told = [json.loads(row["event"])["message"] for row in services.database.rows("SELECT event FROM events")]
    assert told == [
        "sdterm-demo.safetensors was not loaded. Another was asked for since.",
        "b.safetensors was not loaded. It was given up: models were to be freed.",
    ]


def test_a_hash_is_computed_on_wish_and_kept(host: Running) -> None:
    def known() -> str | None:
        return next(model.sha256 for model in host.client.models() if model.name == "half")

    assert known() is None
    before = host.client.health().last_event
    host.client.hash_model("half")
    path = host.settings.root / CHECKPOINTS / "half.safetensors"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told(host.client, before, last=ModelHashed)[-1] == ModelHashed(model="half", sha256=expected)
    assert known() == expected


def test_a_file_that_is_gone_when_it_is_to_be_hashed_is_a_warning(services: HostServices, tmp_path: Path) -> None:
    async def gone() -> None:
        services.hasher.add([single("checkpoint", tmp_path / "gone.safetensors")], asked=True)
        while services.hasher.is_busy:
            await asyncio.sleep(0)

    asyncio.run(gone())
    row, _ = services.database.rows("SELECT event FROM events")
    assert '"model_unreadable"' in row["event"] and "No such file" in row["event"]


@pytest.mark.heavy
def test_a_host_ends_though_it_reads_a_large_file(start_host: StartHost, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    with (tmp_path / CHECKPOINTS / "large.safetensors").open("wb") as file:
        file.truncate(2**40)  # nothing on the disk, hours to read
    client = start_host(tmp_path, device="cpu")
    client.hash_model("large")
    client.stop()


def test_models_are_described_once_for_each_state_of_their_files(
    services: HostServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / CHECKPOINTS
    folder.mkdir(parents=True)
    shutil.copy(EMBEDDED_MODEL, folder / "good.safetensors")
    (folder / "noise.safetensors").write_bytes(b"\x00" * 100)
    (folder / "old.ckpt").write_bytes(b"PK")
    looks = []

    def look(checkpoint: CheckpointFile, plugins: PluginSet) -> Recognition:
        looks.append(checkpoint.name)
        return recognition(checkpoint, plugins)

    monkeypatch.setattr(checkpoints, "recognition", look)
    found = {model.name: model for model in services.models()}
    good, noise, old = found["good"], found["noise"], found["old"]
    assert (good.family, good.native_size, good.usable, good.note) == ("SD 1.x", found[DEMO].native_size, True, "")
    assert not noise.usable and "not a valid .safetensors" in noise.note and noise.family is None
    assert not old.usable and "neither a safetensors nor a PyTorch file" in old.note
    assert sorted(looks) == ["good", "noise", "old", DEMO]
    assert [*services.models()] == [*found.values()] and len(looks) == 4
    (folder / "good.yaml").write_text("model: {}")
    shutil.copy(EMBEDDED_MODEL, folder / "noise.safetensors")
    assert {model.name: model for model in services.models()}["noise"].usable and sorted(looks[4:]) == ["good", "noise"]
    assert not any(model.loaded for model in services.models())


LARGE = """
import os
from sdterm.hooks import ModelFamily, ModelMatch, hookimpl
from sdterm.plugins.sd import sd1

class Small:
    def __init__(self, reader):
        self._reader, self.path, self.metadata = reader, reader.path, reader.metadata
        self.config, self.preview, self.read = reader.config, reader.preview, reader.read
        self.vae = None

    def shapes(self):
        return {key: shape for key, shape in self._reader.shapes().items() if not key.startswith("conditioner.")}

def detect(reader):
    if "conditioner.embedders.1.model.ln_final.weight" in reader.shapes():
        return ModelMatch(native_size=72)
    if "deadly" in reader.shapes():
        os._exit(3)

@hookimpl
def sdterm_model_families():
    return [ModelFamily("large", "Large", detect, lambda reader, *how: sd1.build(Small(reader), *how))]
"""


@pytest.mark.heavy
def test_a_checkpoint_that_only_a_family_of_an_extension_knows_is_listed_as_usable_and_drawn_with(
    host: Running,
) -> None:
    """Ours take it for an SDXL file that is not complete, and refuse it."""
    root = host.settings.root
    with safe_open(EMBEDDED_MODEL, "np") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    large, extension = root / CHECKPOINTS / "large.safetensors", root / "extensions" / "large.py"
    save_file({**tensors, "conditioner.embedders.1.model.ln_final.weight": np.zeros(1)}, large, metadata)

    def listed(name: str) -> Model:
        return next(model for model in host.client.models() if model.name == name)

    assert not listed("large").usable and "has no first text encoder" in listed("large").note
    extension.write_text(LARGE)
    wait_until(lambda: listed("large").usable)
    known = listed("large")
    assert (known.usable, known.family, known.native_size, known.note) == (True, "Large", 72, "")
    assert listed("copy").family == "SD 1.x"
    (image,) = images(host.events(host.submit(steps=1, model="large")))
    assert (image.width, image.height) == (72, 72)

    deadly = root / CHECKPOINTS / "deadly.safetensors"
    save_file({"deadly": np.zeros(1)}, deadly)
    assert "belongs to no model family that sdterm supports" in listed("deadly").note and listed("large").usable
    for path in (deadly, large, extension):
        path.unlink()
    assert listed("copy").usable


def test_files_whose_names_are_not_utf_8_are_listed_and_chosen_by_what_is_listed(host: Running) -> None:
    root = host.settings.root
    odd = Path(os.fsdecode(b"z\xe9"))
    (root / CHECKPOINTS / odd).mkdir()
    (root / LORAS).mkdir(parents=True, exist_ok=True)
    files = [root / CHECKPOINTS / odd / f"{odd}{number}.safetensors" for number in range(2)]
    files += [root / LORAS / f"{odd}.safetensors"]
    shutil.copy(EMBEDDED_MODEL, files[0])
    for path in files[1:]:
        path.write_bytes(b"no model")
    try:
        whole, broken = (model for model in host.client.models() if model.name.startswith("z"))
        assert (whole.name, whole.usable, broken.name, broken.usable) == ("z\ufffd0", True, "z\ufffd1", False)
        assert "z\ufffd1.safetensors is not a valid" in broken.note
        assert host.client.networks().lora == ("sdterm-blueprint", "z\ufffd")
        for name in (whole.name, whole.path):
            events = host.events(host.submit(steps=1, width=64, height=64, model=name))
            (image,) = images(events)
            assert "Model: z\ufffd0" in image.infotext and image.path and read_pixels(Path(image.path)).size
        failed = host.events(host.submit(steps=1, model=broken.path))[-1]
        assert isinstance(failed, Failed) and failed.code == "bad_model"
        before = host.client.health().last_event
        host.client.load_model(whole.name)
        assert isinstance(told(host.client, before, last=ModelLoading)[-1], ModelLoading)
        (picture, *_) = host.client.pictures().pictures
        assert host.client.thumbnail(picture.id)
    finally:
        for path in files:
            path.unlink()


def test_a_checkpoint_is_read_once_however_often_prompts_are(services: HostServices, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    path, opened = tmp_path / CHECKPOINTS / "model.safetensors", opened_files()
    shutil.copy(EMBEDDED_MODEL, path)

    def reads(text: str) -> bool:
        opened.clear()
        assert services.read_prompt(Words(text=text)).tokens == (2,)
        return str(path) in opened

    assert [reads("a lake"), reads("a house")] == [True, False]
    path.touch()
    assert [reads("a lake"), reads("a house")] == [True, False]


def test_styles_and_networks_are_those_of_the_data_folder(host: Running) -> None:
    root = host.settings.root
    assert host.client.styles() == []
    (root / "styles.csv").write_text(
        'name,prompt,negative_prompt\nnight,"{prompt}, by night",sun\n#---,,\nred,all red,\n'
    )
    assert [(style.name, style.prompt, style.negative_prompt) for style in host.client.styles()] == [
        ("night", "{prompt}, by night", "sun"),
        ("red", "all red", ""),
    ]
    for folder, name in ((LORAS, "sub/ink.safetensors"), (HYPERNETWORKS, "h.pt"), (EMBEDDINGS, "bad hands.pt")):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (root / folder / name).touch()
    there = host.client.networks()
    assert (there.lora, there.hypernet) == (("ink", "sdterm-blueprint"), ("h", "sdterm-autumn"))
    assert there.embeddings == ("bad hands", "sdterm-dusk")
    (root / "styles.csv").write_bytes(b"name,prompt\n\xff\xfe")
    with pytest.raises(RefusedError, match=r"The styles file .* cannot be read"):
        host.client.styles()
    (root / "styles.csv").unlink()
