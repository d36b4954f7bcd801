"""Models are fetched over bad lines, from bad servers, and nothing half or wrong is left under a model's name."""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from sdterm.core.library import downloading
from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.library.downloading import Added, NoRoomError, Wanted, fetch, look, remember, unfinished
from sdterm.core.library.sources import Keys
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL, EMBEDDINGS, LORAS
from sdterm.errors import SdtermError
from tests.core.library.serving import File, folder_hub, hub, serving
from tests.core.library.test_torch_files import saved

LORA = save({"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.randn(4000, 32)})
OTHER = save({"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.zeros(4000, 32)})
WORD = saved({"string_to_param": {"*": torch.ones(2, 768)}, "name": "word"})
SHA256 = hashlib.sha256(LORA).hexdigest()

Files = dict[str, File]


@pytest.fixture
def files() -> Files:
    return {}


@pytest.fixture
def url(files: Files) -> Iterator[str]:
    with serving(files) as url:
        yield url


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "PAUSE", 0.01)


def add(root: Path, source: str, environ: dict[str, str] | None = None, **wanted: str | int) -> Added:
    keys, told = Keys(environ or {}), list[int]()
    asked = Wanted(source, **wanted)  # type: ignore[arg-type]
    return fetch(look(asked, root, keys), root, keys, told.append, threading.Event())


def lying(root: Path) -> list[str]:
    """All files below a data root."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_file_goes_where_its_header_says(files: Files, url: str, tmp_path: Path) -> None:
    files["/dl/style.safetensors"] = File(LORA)
    offer = look(Wanted(f"{url}/dl/style.safetensors"), tmp_path, Keys({}))
    assert (offer.kind, offer.folder, offer.size) == ("lora", tmp_path / LORAS, len(LORA))
    assert not lying(tmp_path), "a look leaves nothing"
    added = add(tmp_path, f"{url}/dl/style.safetensors")
    assert added == Added(tmp_path / LORAS / "style.safetensors", "lora", SHA256)
    assert added.path.read_bytes() == LORA and lying(tmp_path) == ["models/Lora/style.safetensors"]


def test_kinds_that_only_the_whole_file_tells_and_kinds_that_are_said(files: Files, url: str, tmp_path: Path) -> None:
    files["/word.pt"] = File(WORD)
    files["/odd.safetensors"] = File(save({"x": torch.ones(3)}))
    assert add(tmp_path, f"{url}/word.pt").path == tmp_path / EMBEDDINGS / "word.pt"
    with pytest.raises(
        SdtermError, match=r"The kind of model of odd\.safetensors is not known.* --kind: checkpoint, vae"
    ):
        add(tmp_path, f"{url}/odd.safetensors")
    assert add(tmp_path, f"{url}/odd.safetensors", kind="vae").path == tmp_path / "models" / "VAE" / "odd.safetensors"
    with pytest.raises(SdtermError, match="There is no model kind 'vea'"):
        add(tmp_path, f"{url}/odd.safetensors", kind="vea")


def test_a_file_of_this_machine_is_copied(tmp_path: Path) -> None:
    shutil.copy(EMBEDDED_MODEL, tmp_path / "mine.safetensors")
    added = add(tmp_path / "data", str(tmp_path / "mine.safetensors"))
    assert added.path == tmp_path / "data" / CHECKPOINTS / "mine.safetensors"
    assert added.path.read_bytes() == EMBEDDED_MODEL.read_bytes()
    with pytest.raises(SdtermError, match=r"mine\.safetensors already exists in .*.*--as"):
        add(tmp_path / "data", str(tmp_path / "mine.safetensors"))
    other = add(tmp_path / "data", str(tmp_path / "mine.safetensors"), name="two.safetensors")
    assert other.path.name == "two.safetensors"
    with pytest.raises(SdtermError, match=r"nothing\.safetensors cannot be read: No such file"):
        add(tmp_path / "data", str(tmp_path / "nothing.safetensors"))


# --- bad lines --------------------------------------------------------------------------------------------------------


def test_a_broken_connection_goes_on_where_it_broke(files: Files, url: str, tmp_path: Path) -> None:
    file = files["/a.safetensors"] = File(LORA, breaks_at=[len(LORA), 100_000, 300_000])
    assert add(tmp_path, f"{url}/a.safetensors").sha256 == SHA256
    assert [heard.get("Range") for heard in file.heard] == [None, None, "bytes=100000-", "bytes=300000-"]


def test_after_too_many_breaks_the_next_try_goes_on(files: Files, url: str, tmp_path: Path) -> None:
    file = files["/a.safetensors"] = File(LORA, breaks_at=[len(LORA), 200_000, *[200_000] * 5])
    with pytest.raises(SdtermError, match="cannot be downloaded"):
        add(tmp_path, f"{url}/a.safetensors")
    assert [name for name in lying(tmp_path) if not name.startswith("models/.downloads/")] == []
    file.breaks_at.clear()
    assert add(tmp_path, f"{url}/a.safetensors").sha256 == SHA256
    assert file.heard[-1]["Range"] == "bytes=200000-"
    assert lying(tmp_path) == ["models/Lora/a.safetensors"]


@pytest.mark.parametrize("how", ["no ranges", "no validator", "another file", "another file, if-range ignored"])
def test_where_it_cannot_go_on_it_begins_again(how: str, files: Files, url: str, tmp_path: Path) -> None:
    file = files["/a.safetensors"] = File(LORA, breaks_at=[len(LORA), *[200_000] * 6], ranges=how != "no ranges")
    if how == "no validator":
        file.etag = None
    with pytest.raises(SdtermError):
        add(tmp_path, f"{url}/a.safetensors")
    file.breaks_at.clear()
    if how.startswith("another file"):
        file.content = OTHER
        file.etag = '"2"'
    if how.endswith("ignored"):
        file.etag = '"1"'  # what decides about the range
        file.headers["ETag"] = '"2"'
    expected = hashlib.sha256(file.content).hexdigest()
    assert add(tmp_path, f"{url}/a.safetensors").sha256 == expected


def test_a_server_that_fails_for_a_moment_is_asked_again(files: Files, url: str, tmp_path: Path) -> None:
    files["/a.safetensors"] = File(status=503, etag=None)
    with pytest.raises(SdtermError, match="status 503"):
        add(tmp_path, f"{url}/a.safetensors")


# --- bad servers ------------------------------------------------------------------------------------------------------

BAD = {
    "a web page": (File(b"<html>log in</html>", headers={"Content-Type": "text/html"}), "is a web page, not a model"),
    "a web page under a false type": (File(b"<!DOCTYPE html>" + bytes(100)), "is a web page, not a model"),
    "less than it says": (File(LORA, length=len(LORA) + 8), "8 bytes more"),
    "less than it says, without a header": (File(WORD, length=len(WORD) + 8), "cannot be downloaded|has changed"),
    "half a file": (File(LORA[:1000]), "incomplete download"),
    "packed": (File(LORA, headers={"Content-Encoding": "gzip"}), "compressed"),
    "nothing": (File(b""), "not a valid"),
    "not there": (File(status=404), r"^http://127\.0\.0\.1:\d+/a\.safetensors does not exist\."),
    "forbidden": (File(status=403), "not public"),
    "elsewhere": (File(status=302, headers={"Location": "http://example.org/a.safetensors"}), "https only"),
    "GGUF": (File(b"GGUF" + bytes(1000)), "not a valid .gguf file|--kind"),
    "a pickle that runs": (File(saved({"a": os.system})), "not data|--kind|GGUF"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_answer_is_one_sentence_and_leaves_nothing(case: str, files: Files, url: str, tmp_path: Path) -> None:
    files["/a.safetensors"], words = BAD[case]
    with pytest.raises(SdtermError, match=words) as raised:
        add(tmp_path, f"{url}/a.safetensors?x=secret", kind="lora")
    assert "secret" not in str(raised.value)
    assert not [name for name in lying(tmp_path) if not name.startswith("models/.downloads/")]


def test_more_than_was_said_and_another_checksum_are_thrown_away(files: Files, url: str, tmp_path: Path) -> None:
    files["/a.safetensors"] = File(LORA + bytes(8), length=-1)
    with pytest.raises(SdtermError, match="bytes more"):
        add(tmp_path, f"{url}/a.safetensors", kind="lora")
    files["/a.safetensors"] = File(LORA)
    with pytest.raises(SdtermError, match=f"SHA-256 is {SHA256}, but should be {'0' * 64}"):
        add(tmp_path, f"{url}/a.safetensors", sha256="0" * 64)
    assert lying(tmp_path) == []
    with pytest.raises(SdtermError, match=r"has changed: .*Add it again"):
        add(tmp_path, f"{url}/a.safetensors", size=7)
    assert add(tmp_path, f"{url}/a.safetensors", sha256=SHA256, size=len(LORA)).sha256 == SHA256


@pytest.mark.parametrize("name", ["../../evil.safetensors", "/etc/evil.safetensors", "..\\evil.safetensors"])
def test_a_server_does_not_choose_the_folder(name: str, files: Files, url: str, tmp_path: Path) -> None:
    files["/a"] = File(LORA, headers={"Content-Disposition": f'attachment; filename="{name}"'})
    assert add(tmp_path, f"{url}/a").path == tmp_path / LORAS / "evil.safetensors"


@pytest.mark.parametrize("name", [".a.safetensors", "a.exe", "a\u202etesnefas.safetensors", f"{'a' * 300}.safetensors"])
def test_a_hostile_name_is_refused(name: str, files: Files, url: str, tmp_path: Path) -> None:
    files["/a.safetensors"] = File(LORA)
    with pytest.raises(SdtermError, match="--as"):
        add(tmp_path, f"{url}/a.safetensors", name=name)


def test_a_full_disk_is_said_before_it_begins(files: Files, url: str, tmp_path: Path) -> None:
    tensor = {"dtype": "U8", "shape": [1 << 46], "data_offsets": [0, 1 << 46]}
    header = json.dumps({"lora_a.lora_up.weight": tensor}).encode()
    content = len(header).to_bytes(8, "little") + header
    files["/a.safetensors"] = File(content, length=len(content) + (1 << 46))
    with pytest.raises(NoRoomError, match=r"a\.safetensors needs 70368\.74 GB, but the disk has only .* free\. Free"):
        look(Wanted(f"{url}/a.safetensors"), tmp_path, Keys({}))


# --- hubs and tokens --------------------------------------------------------------------------------------------------


def test_hugging_face_is_asked_what_it_has(files: Files, url: str, tmp_path: Path) -> None:
    files |= hub(LORA, SHA256, token="hf_secret")
    environ = {"HF_ENDPOINT": url, "HF_TOKEN": "hf_secret"}
    offer = look(Wanted("hf:owner/name"), tmp_path, Keys(environ))
    assert (offer.licence, offer.sha256, offer.name) == ("openrail", SHA256, "model.safetensors")
    assert add(tmp_path, "hf:owner/name/model.safetensors", environ).sha256 == SHA256
    for source in (f"{url}/owner/name/blob/main/model.safetensors", f"{url}/owner/name/resolve/main/model.safetensors"):
        assert look(Wanted(source, name="b.safetensors"), tmp_path, Keys(environ)).licence == "openrail"
    with pytest.raises(SdtermError, match=r"needs a token: put one into the variable HF_TOKEN"):
        look(Wanted("hf:owner/name"), tmp_path, Keys({"HF_ENDPOINT": url}))
    with pytest.raises(SdtermError, match=r"owner/name has no file other\.safetensors"):
        look(Wanted("hf:owner/name/other.safetensors"), tmp_path, Keys(environ))
    for source in ("hf:owner", "hf:../name", "hf:owner/name?x=1"):
        with pytest.raises(SdtermError, match="is not a model"):
            look(Wanted(source), tmp_path, Keys(environ))


def diffusers_folder() -> tuple[Files, dict[str, bytes]]:
    """(a repository that is one, with much besides; what of it is to come)."""
    index: dict[str, object] = {"_class_name": "X", "unet": ["a", "B"], "vae": ["a", "B"], "text_encoder": ["a", "B"]}
    index |= {"safety_checker": ["a", "B"], "scheduler": ["a", "BScheduler"], "tokenizer": ["a", "CLIPTokenizer"]}
    index |= {"gone": [None, None], "parts": ["a"], "number": 3}
    weights = {name: save({name: torch.randn(3000)}) for name in ("unet", "vae", "one", "two", "half", "safe")}
    shards = {"weight_map": {"one": "model-00001-of-00002.safetensors", "two": "model-00002-of-00002.safetensors"}}
    wanted = {
        "model_index.json": json.dumps(index).encode(),
        "README.md": b"---\nlicense: openrail\n---\n",
        "LICENSE.md": b"x",
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"a b",
        "unet/config.json": b'{"a": 1}',
        "unet/diffusion_pytorch_model.safetensors": weights["unet"],
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": weights["vae"],
        "text_encoder/config.json": b"{}",
        "text_encoder/model.safetensors.index.json": json.dumps(shards).encode(),
        "text_encoder/model-00001-of-00002.safetensors": weights["one"],
        "text_encoder/model-00002-of-00002.safetensors": weights["two"],
    }
    besides = {
        "pipeline.py": b"import os",
        "tokenizer/tokenization.py": b"import os",
        "tokenizer/x/vocab.json": b"{}",
        "unet/diffusion_pytorch_model.fp16.safetensors": weights["half"],
        "unet/diffusion_pytorch_model.bin": b"pickle",
        "text_encoder/model-00001-of-00002.fp16.safetensors": weights["half"],
        "safety_checker/model.safetensors": weights["safe"],
        "vae_1_0/diffusion_pytorch_model.safetensors": weights["half"],
        "../x/model-00001-of-00002.safetensors": weights["half"],
    }
    sums = {name: hashlib.sha256(it).hexdigest() for name, it in wanted.items() if name.endswith(".safetensors")}
    return folder_hub(wanted | besides, sums), wanted


AT = f"/owner/name/resolve/{'a' * 40}/"


@pytest.mark.heavy
def test_a_repository_that_is_a_diffusers_folder_comes_as_one(files: Files, url: str, tmp_path: Path) -> None:
    served, wanted = diffusers_folder()
    files |= served
    environ = {"HF_ENDPOINT": url}
    offer = look(Wanted("hf:owner/name"), tmp_path, Keys(environ))
    size = sum(map(len, wanted.values()))
    assert (offer.name, offer.kind, offer.size, offer.licence) == ("name", "checkpoint", size, "openrail")
    assert offer.folder == tmp_path / CHECKPOINTS and len(offer.remote.files) == len(wanted)
    told: list[int] = []
    added = fetch(offer, tmp_path, Keys(environ), told.append, threading.Event())
    assert added.path == tmp_path / CHECKPOINTS / "name" and told == sorted(told) and told[-1] == size
    assert lying(tmp_path) == sorted(f"{CHECKPOINTS}/name/{name}" for name in wanted)
    assert all((added.path / name).read_bytes() == content for name, content in wanted.items())
    assert set(CheckpointFile(added.path).shapes()) == {"unet.unet", "vae.vae", "text_encoder.one", "text_encoder.two"}
    assert not any(file.heard for at, file in served.items() if at.removeprefix(AT) not in wanted and AT in at)
    with pytest.raises(SdtermError, match=r"name already exists in "):
        add(tmp_path, "hf:owner/name", environ)
    assert add(tmp_path, "hf:owner/name/model_index.json", environ, name="again").path.name == "again"
    for wrong, said in (({"kind": "lora"}, "is a diffusers folder"), ({"sha256": "0" * 64}, "no single SHA-256")):
        with pytest.raises(SdtermError, match=said):
            add(tmp_path, "hf:owner/name", environ, name="third", **wrong)


def test_a_folder_comes_without_the_weights_that_are_not_wanted(files: Files, url: str, tmp_path: Path) -> None:
    """What has them is a file of its own: it needs the folder's configurations and vocabularies."""
    served, wanted = diffusers_folder()
    files |= served
    environ, index = {"HF_ENDPOINT": url}, "hf:owner/name/model_index.json"
    added = add(tmp_path, f"{index}?without=unet,vae", environ).path
    left = [name for name in wanted if not re.match(r"(unet|vae)/.*safetensors", name)]
    assert lying(tmp_path) == sorted(f"{CHECKPOINTS}/name/{name}" for name in left)
    assert CheckpointFile(added).parts["unet"] == () and len(CheckpointFile(added).parts["text_encoder"]) == 2
    assert add(tmp_path, f"{index}?without=weights", environ, name="small").path.name == "small"
    assert not list((tmp_path / CHECKPOINTS / "small").rglob("*.safetensors"))
    with pytest.raises(SdtermError, match=r"has no component x with weights\. It has unet, vae, text_encoder\."):
        add(tmp_path, f"{index}?without=x", environ, name="third")


def test_a_folder_goes_on_with_the_file_where_it_broke(files: Files, url: str, tmp_path: Path) -> None:
    served, wanted = diffusers_folder()
    files |= served
    environ = {"HF_ENDPOINT": url}
    broken, whole = served[f"{AT}vae/diffusion_pytorch_model.safetensors"], served[f"{AT}unet/config.json"]
    broken.breaks_at = [5000] * downloading.TRIES
    asked = Wanted("hf:owner/name")
    remember(asked, look(asked, tmp_path, Keys(environ)), tmp_path)
    with pytest.raises(SdtermError, match="cannot be downloaded"):
        add(tmp_path, "hf:owner/name", environ)
    assert [each.source for each in unfinished(tmp_path)] == ["hf:owner/name"]
    assert not (tmp_path / CHECKPOINTS).exists()
    heard = len(whole.heard)
    assert add(tmp_path, "hf:owner/name", environ).path.is_dir()
    assert len(whole.heard) == heard, "what is whole is not asked for again"
    assert broken.heard[-1]["Range"] == "bytes=5000-"
    assert lying(tmp_path) == sorted(f"{CHECKPOINTS}/name/{name}" for name in wanted)


def test_a_folder_that_is_not_sound_is_refused_and_what_is_good_of_it_stays(
    files: Files, url: str, tmp_path: Path
) -> None:
    served, _ = diffusers_folder()
    files |= served
    environ = {"HF_ENDPOINT": url}
    bad = served[f"{AT}text_encoder/model-00002-of-00002.safetensors"]
    good, bad.content = bad.content, bytes(len(bad.content))
    with pytest.raises(SdtermError, match=r"model-00002-of-00002.*should have.*kept for the next try") as refused:
        add(tmp_path, "hf:owner/name", environ)
    assert "\n" not in str(refused.value)
    bad.content = good
    heard = len(served[f"{AT}unet/config.json"].heard)
    assert add(tmp_path, "hf:owner/name", environ).path.is_dir()
    assert len(served[f"{AT}unet/config.json"].heard) == heard
    served[f"{AT}model_index.json"].content = json.dumps({"unet": ["a", "B"], "prior": ["a", "B"]}).encode()
    with pytest.raises(SdtermError):
        add(tmp_path, "hf:owner/name", environ, name="other")
    served[f"{AT}model_index.json"].content = b"{}"
    with pytest.raises(SdtermError, match="without weights"):
        add(tmp_path, "hf:owner/name", environ, name="other")
    assert not (tmp_path / CHECKPOINTS / "other").exists()


def test_a_folder_that_nobody_wants_any_more_is_deleted(files: Files, url: str, tmp_path: Path) -> None:
    served, _ = diffusers_folder()
    files |= served
    keys, stop = Keys({"HF_ENDPOINT": url}), threading.Event()
    offer = look(Wanted("hf:owner/name"), tmp_path, keys)
    with pytest.raises(SdtermError, match="was stopped"):
        fetch(offer, tmp_path, keys, lambda have: stop.set() if have > 5000 else None, stop)
    assert lying(tmp_path) == [] and not list((tmp_path / downloading.TEMPORARY).iterdir())


def test_civitai_is_asked_what_it_has(files: Files, url: str, tmp_path: Path) -> None:
    file = {"name": "style.safetensors", "type": "Model", "primary": True, "sizeKB": len(LORA) / 1024}
    file |= {"hashes": {"SHA256": SHA256.upper()}, "downloadUrl": f"{url}/api/download/models/7"}
    told = {"type": "LORA", "allowNoCredit": False, "allowCommercialUse": ["Image"]}
    told["modelVersions"] = [{"id": 7, "files": [file]}]
    files["/api/v1/models/42"] = File(json.dumps(told).encode())
    with serving({"/s3/x?sig=1": File(LORA)}) as elsewhere:
        led = {"Location": f"{elsewhere}/s3/x?sig=1"}
        files["/api/download/models/7"] = File(status=302, headers=led, token="secret")
        environ = {"CIVITAI_ENDPOINT": url, "CIVITAI_TOKEN": "secret"}
        offer = look(Wanted("civitai:42@7"), tmp_path, Keys(environ))
        assert offer.licence == "commercial use: image; credit required"
        assert add(tmp_path, "civitai:42", environ) == Added(tmp_path / LORAS / "style.safetensors", "lora", SHA256)
    with pytest.raises(SdtermError, match="has no version 8"):
        look(Wanted("civitai:42@8"), tmp_path, Keys(environ))


def test_a_token_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SdtermError, match="CIVITAI_TOKEN") as raised:
        look(Wanted("https://civitai.com/api/download/models/1?token=abcdef"), tmp_path, Keys({}))
    assert "abcdef" not in str(raised.value)


def test_what_was_begun_is_known_after_a_restart_and_holds_no_token(files: Files, url: str, tmp_path: Path) -> None:
    files |= hub(LORA, SHA256, token="hf_secret")
    keys = Keys({"HF_ENDPOINT": url, "HF_TOKEN": "hf_secret"})
    wanted = Wanted("hf:owner/name", name="x.safetensors")
    remember(wanted, look(wanted, tmp_path, keys), tmp_path)
    assert list(unfinished(tmp_path)) == [wanted]
    assert not any(b"hf_secret" in (tmp_path / name).read_bytes() for name in lying(tmp_path))
    fetch(look(wanted, tmp_path, keys), tmp_path, keys, lambda _: None, threading.Event())
    assert list(unfinished(tmp_path)) == []


def test_what_is_stopped_is_deleted(files: Files, url: str, tmp_path: Path) -> None:
    files["/a.safetensors"] = File(LORA)
    stop = threading.Event()
    offer = look(Wanted(f"{url}/a.safetensors"), tmp_path, Keys({}))
    with pytest.raises(SdtermError, match="was stopped"):
        fetch(offer, tmp_path, Keys({}), lambda _: stop.set(), stop)
    assert lying(tmp_path) == []
