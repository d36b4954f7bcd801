"""The kinds of model files, and where each lies: the one table behind the library, its settings and its flags."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDINGS, HYPERNETWORKS, LORAS

_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".bin")


@dataclass(frozen=True)
class ModelKind:
    """One kind of model files."""

    id: str
    word: str
    label: str
    """The word for one and for several, in English."""
    folders: tuple[Path, ...]
    """Below the data root, or an A1111 installation."""
    suffixes: tuple[str, ...]
    setting: str = ""
    """The setting with more folders."""
    sentence: str = ""
    flags: tuple[str, ...] = ()
    """A1111's flags, each of which adds a folder to that setting."""
    comfyui: tuple[str, ...] = ()
    """ComfyUI's folders below its `models`, which are also the names in its extra_model_paths.yaml."""
    tag: str = ""
    """The word of the prompt tag that calls one: `<lora:…>`."""
    digits: int = 10
    """How many hex digits of its hash A1111 writes."""


def _models(*names: str) -> tuple[Path, ...]:
    return tuple(Path("models", name) for name in names)


MODEL_KINDS: tuple[ModelKind, ...] = (
    ModelKind(
        "checkpoint",
        "model",
        "Checkpoints",
        (CHECKPOINTS,),
        (".safetensors", ".ckpt", ".gguf"),
        "ckpt_dirs",
        "More folders to search for checkpoints.",
        ("--ckpt-dir",),
        ("checkpoints", "diffusion_models", "unet"),
    ),
    ModelKind(
        "vae",
        "VAE",
        "VAEs",
        _models("VAE"),
        (".safetensors", ".ckpt", ".pt"),
        "vae_dirs",
        "More folders to search for VAE files.",
        ("--vae-dir",),
        ("vae",),
    ),
    ModelKind(
        "text_encoder",
        "text encoder",
        "Text encoders",
        _models("text_encoder"),
        (".safetensors", ".bin"),
        "text_encoder_dirs",
        "More folders to search for text encoders.",
        comfyui=("text_encoders", "clip"),
    ),
    ModelKind(
        "lora",
        "LoRA",
        "LoRAs",
        (LORAS, *_models("LyCORIS")),
        _WEIGHTS,
        "lora_dirs",
        "More folders to search for LoRAs and similar networks.",
        ("--lora-dir", "--lyco-dir-backcompat"),
        ("loras",),
        "lora",
        12,
    ),
    ModelKind(
        "hypernetwork",
        "hypernetwork",
        "Hypernetworks",
        (HYPERNETWORKS,),
        _WEIGHTS,
        "hypernetwork_dirs",
        "More folders to search for hypernetworks.",
        ("--hypernetwork-dir",),
        ("hypernetworks",),
        "hypernet",
    ),
    ModelKind(
        "embedding",
        "embedding",
        "Embeddings",
        (EMBEDDINGS,),
        (*_WEIGHTS, ".png", ".webp", ".jxl", ".avif"),
        "embedding_dirs",
        "More folders to search for embeddings.",
        ("--embeddings-dir",),
        ("embeddings",),
        digits=12,
    ),
    ModelKind(
        "upscaler",
        "upscaler",
        "Upscalers",
        _models("ESRGAN", "RealESRGAN", "BSRGAN", "DAT", "SwinIR", "ScuNET", "HAT"),
        (".pth", ".pt", ".safetensors"),
        "upscaler_dirs",
        "More folders to search for upscalers.",
        ("--esrgan-models-path", "--realesrgan-models-path", "--bsrgan-models-path", "--dat-models-path"),
        ("upscale_models",),
    ),
    ModelKind(
        "vae_approx",
        "approximate VAE",
        "Approximate VAEs",
        _models("VAE-approx", "VAE-taesd"),
        (".safetensors", ".pt", ".pth"),
        comfyui=("vae_approx",),
    ),
)
KINDS_BY_ID: Mapping[str, ModelKind] = {kind.id: kind for kind in MODEL_KINDS}
