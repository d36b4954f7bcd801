"""Pictures in words: models that write captions, like BLIP, and taggers, from folders as Hugging Face has them. Nothing
is fetched, no code of a folder is run, and weights are read from safetensors alone."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Interrogator, Option, PluginError, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_CAPTIONS = ("ForConditionalGeneration", "ForImageTextToText", "VisionEncoderDecoderModel", "GitForCausalLM")
_TAGS = ("ForImageClassification",)
_WEIGHTS, _PREPARES = "*.safetensors", ("preprocessor_config.json", "processor_config.json")


def writes_captions(folder: Path) -> bool:
    return _is(folder, _CAPTIONS)


def gives_tags(folder: Path) -> bool:
    return _is(folder, _TAGS)


def _is(folder: Path, ends: tuple[str, ...]) -> bool:
    try:
        architectures = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or ()
    except (OSError, ValueError, AttributeError):
        return False
    is_whole = any(folder.glob(_WEIGHTS)) and any((folder / name).is_file() for name in _PREPARES)
    return is_whole and any(str(name).endswith(ends) for name in architectures)


def caption(image: NDArray[Any], folder: Path, device: torch.device, *, most: int, beams: int) -> str:
    from PIL import Image

    model, processor = _loaded("AutoModelForImageTextToText", "AutoProcessor", folder, device)
    given = processor(images=Image.fromarray(image), return_tensors="pt").to(device)
    words = model.generate(**given, max_new_tokens=most, num_beams=beams, do_sample=False)
    return str(processor.batch_decode(words, skip_special_tokens=True)[0]).strip()


def tags(image: NDArray[Any], folder: Path, device: torch.device, *, threshold: float) -> str:
    from PIL import Image

    model, processor = _loaded("AutoModelForImageClassification", "AutoImageProcessor", folder, device)
    given = processor(images=Image.fromarray(image), return_tensors="pt").to(device)
    scores = model(**given).logits[0].float().sigmoid()
    likely = sorted(((float(score), number) for number, score in enumerate(scores)), reverse=True)
    return ", ".join(str(model.config.id2label[number]) for score, number in likely if score >= threshold)


@lru_cache(maxsize=1)
def _loaded(model: str, processor: str, folder: Path, device: torch.device) -> tuple[Any, Any]:
    """The model and what prepares pictures for it. Raises PluginError."""
    import transformers

    try:
        offline: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        prepares = getattr(transformers, processor).from_pretrained(folder, **offline)
        loaded = getattr(transformers, model).from_pretrained(folder, use_safetensors=True, **offline)
    except Exception as error:  # of a damaged file, whatever a reader stumbles over
        said = " ".join(str(error).split())[:200]
        raise PluginError(
            message("The model in {folder} cannot be used: {problem}", folder=folder, problem=said)
        ) from error
    return loaded.eval().to(device), prepares


@hookimpl
def sdterm_interrogators() -> list[Interrogator]:
    return [
        Interrogator(
            "caption",
            "Caption",
            caption,
            matches=writes_captions,
            options=(
                Option(
                    "most", 48, message("The largest number of tokens."), 1, 512, a1111="interrogate_clip_max_length"
                ),
                Option(
                    "beams",
                    1,
                    message("More beams search longer for a better caption."),
                    1,
                    16,
                    a1111="interrogate_clip_num_beams",
                ),
            ),
        ),
        Interrogator(
            "tags",
            "Tags",
            tags,
            "tags",
            matches=gives_tags,
            options=(
                Option(
                    "threshold",
                    0.35,
                    message("How certain a tag must be."),
                    0,
                    1,
                    a1111="interrogate_deepbooru_score_threshold",
                ),
            ),
        ),
    ]
