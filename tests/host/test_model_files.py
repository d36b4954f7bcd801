"""The library over HTTP: kinds, files, what people wrote beside them, previews; that files come and go is told."""

import json
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from sdterm.client import RefusedError
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.paths import LORAS
from sdterm.events import LibraryChanged
from tests.host.running import Running, running


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("library")
    lora(data / LORAS / "in" / "ink.safetensors", ss_output_name="Water Ink", ss_base_model_version="sdxl_base_v1-0")
    lora(data / LORAS / "plain.safetensors")
    notes = {"preferred weight": 0.7, "activation text": "inkpunk", "sd version": "SD1", "negative text": "oil"}
    (data / LORAS / "in" / "ink.json").write_text(json.dumps(notes))
    Image.new("RGB", (400, 200), "red").save(data / LORAS / "in" / "ink.preview.png")
    (data / LORAS / "plain.png").write_bytes(b"no picture")
    with running(data, SDTERM_DEVICE="cpu") as it:
        yield it


def lora(path: Path, **metadata: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"x": np.zeros(1)}, path, metadata)


def test_every_kind_has_its_files_with_what_is_known_of_each(host: Running) -> None:
    kinds = host.client.library()
    assert [kind.id for kind in kinds] == [kind.id for kind in MODEL_KINDS]
    assert {kind.id: kind.files for kind in kinds if kind.files} == {"checkpoint": 1, "lora": 2}
    (loras,) = (kind for kind in kinds if kind.id == "lora")
    assert loras.folders[0] == str(host.settings.root / LORAS) and loras.tag == "lora"
    ink, plain = host.client.library_files("lora")
    assert (ink.name, ink.alias, ink.base) == ("ink", "Water Ink", "SD1"), "a user's word outdoes the header's"
    assert (ink.weight, ink.activation, ink.negative, ink.preview, ink.hash) == (0.7, "inkpunk", "oil", True, None)
    assert (plain.alias, plain.base, plain.weight, plain.activation) == (None, None, None, "")


def test_a_preview_is_a_small_jpeg_and_what_is_none_is_a_sentence(host: Running) -> None:
    with Image.open(BytesIO(host.client.library_preview("lora", "Water Ink", 100))) as image:
        assert (image.format, image.size) == ("JPEG", (100, 50))
    for name, words in (("plain", "cannot be shown"), ("sdterm-demo", "no LoRA named")):
        with pytest.raises(RefusedError, match=words):
            host.client.library_preview("lora", name)
    with pytest.raises(RefusedError, match="no kind of model files named 'loras'"):
        host.client.library_files("loras")


def test_what_comes_and_goes_is_told_within_seconds(host: Running) -> None:
    before = host.client.health().last_event
    path = host.settings.root / LORAS / "in" / "new.safetensors"
    events = host.client.events(after=before)
    lora(path)
    began = time.monotonic()
    told = next(entry.event for entry in events if isinstance(entry.event, LibraryChanged))
    assert told == LibraryChanged(kinds=("lora",)) and time.monotonic() - began < 30
    assert [file.name for file in host.client.library_files("lora")] == ["ink", "new", "plain"]
    path.unlink()
    assert next(entry.event for entry in events if isinstance(entry.event, LibraryChanged)) == told
