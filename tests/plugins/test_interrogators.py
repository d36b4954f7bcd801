"""Pictures in words, by tiny models with random weights that lie where users put theirs."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture

from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.events import Described, Done, Event, Failed

PLUGINS = load_plugins()
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "red", "house", "by", "the", "lake"]


def write_captioner(folder: Path) -> None:
    """BLIP, as Hugging Face has it."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    folder.mkdir(parents=True)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(WORDS), "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(
        text_config={**small, **text, "encoder_hidden_size": 16, "projection_dim": 16},
        vision_config={**small, "image_size": 32, "patch_size": 16, "projection_dim": 16},
        projection_dim=16,
    )
    torch.manual_seed(1)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


def write_tagger(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder.mkdir(parents=True)
    names = {0: "1girl", 1: "red house", 2: "lake", 3: "sky"}
    config = ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16,
        id2label=names, label2id={name: number for number, name in names.items()},
    )  # fmt: skip
    torch.manual_seed(1)
    model = ViTForImageClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([-5.0, 3.0, 5.0, -1.0]))
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(library=Library(tmp_path), device="cpu")


def ask(engine: Engine, **fields: Any) -> list[Event]:
    buffer = BytesIO()
    Picture.new("RGB", (40, 30), (200, 30, 30)).save(buffer, "PNG")
    digest = Inputs(engine.library.root).put(buffer.getvalue())
    asked = {"prompt": "", "interrogate_images": (digest, digest)} | fields
    return list(engine.run(GenerationRequest.model_validate(asked), PLUGINS))


def test_a_model_writes_the_same_caption_again(engine: Engine, tmp_path: Path) -> None:
    write_captioner(tmp_path / "models" / "BLIP" / "tiny blip")
    *said, done = ask(engine)
    assert isinstance(done, Done)
    first, second = [event for event in said if isinstance(event, Described)]
    assert (first.interrogator, first.model) == ("Caption", "tiny blip")
    assert first.text and set(first.text.split()) <= {*WORDS} and first.text == second.text


def test_a_tagger_names_what_it_is_sure_of_the_surest_first(engine: Engine, tmp_path: Path) -> None:
    write_tagger(tmp_path / "models" / "interrogators" / "tagger")
    (first, _, _) = ask(engine, interrogator="tags")
    assert isinstance(first, Described) and first.text == "lake, red house"


def test_what_is_missing_is_said_with_the_files_and_the_folder(engine: Engine, tmp_path: Path) -> None:
    (failed,) = ask(engine)
    assert isinstance(failed, Failed)
    for word in ("BLIP", "config.json", "model.safetensors", str(tmp_path / "models" / "BLIP")):
        assert word in failed.message


@pytest.mark.parametrize("spoil", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_no_model(spoil: str, engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "interrogators" / "tagger"
    write_tagger(folder)
    (folder / spoil).unlink()
    (failed,) = ask(engine)
    assert isinstance(failed, Failed) and "There is no model for Interrogate." in failed.message


def test_a_damaged_model_fails_with_its_folder(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "interrogators" / "tagger"
    write_tagger(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    *_, failed = ask(engine)
    assert isinstance(failed, Failed) and str(folder) in failed.message and "Traceback" not in failed.message


def test_a_model_brings_no_code(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "interrogators" / "evil"
    write_tagger(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    *_, failed = ask(engine)
    assert isinstance(failed, Failed) and not (tmp_path / "ran").exists()
