"""A1111's lists of model files, from the library."""

from collections.abc import Callable, Mapping
from typing import Any

from sdterm.core.library.about import metadata_of
from sdterm.core.library.checkpoints import Library
from sdterm.hooks import Sampler


def loras(library: Library) -> list[dict[str, Any]]:
    """The LoRAs, each with what its header says."""
    files = library.files("lora")
    return [
        {
            "name": file.name,
            "alias": known["header"].get("alias", file.name),
            "path": file.location,
            "metadata": metadata_of(file.path),
        }
        for file, known in zip(files, library.known(files), strict=True)
    ]


def vaes(library: Library) -> list[dict[str, Any]]:
    """The VAE files."""
    return [{"model_name": file.file_name, "filename": file.location} for file in library.files("vae")]


def hypernetworks(library: Library) -> list[dict[str, Any]]:
    """The hypernetworks."""
    return [{"name": file.name, "path": file.location} for file in library.files("hypernetwork")]


def embeddings(library: Library) -> dict[str, Any]:
    """The embeddings. Which of them a checkpoint skips is known once it draws."""
    files = library.files("embedding")
    known = [entry["header"] for entry in library.known(files)]
    loaded = {
        file.name: {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": header.get("width", 0),
            "vectors": header.get("vectors", 0),
        }
        for file, header in zip(files, known, strict=True)
    }
    return {"loaded": loaded, "skipped": {}}


ALWAYS: Mapping[str, list[dict[str, Any]]] = {
    "/latent-upscale-modes": [
        {"name": f"Latent{mode}"}
        for mode in ("", " (antialiased)", " (bicubic)", " (bicubic antialiased)", " (nearest)", " (nearest-exact)")
    ],
}
"""Address → a list that is always the same."""


def realesrgan_models(library: Library) -> list[dict[str, Any]]:
    """The upscalers of the folder RealESRGAN. A1111 lists those that it would fetch."""
    files = [file for file in library.files("upscaler") if "RealESRGAN" in file.path.parent.parts]
    return [{"name": file.name, "path": file.location, "scale": 4} for file in files]


LISTINGS: Mapping[str, Callable[[Library], Any]] = {
    "/realesrgan-models": realesrgan_models,
    "/loras": loras,
    "/sd-vae": vaes,
    "/hypernetworks": hypernetworks,
    "/embeddings": embeddings,
}
"""Address → what it lists."""


def listed_sampler(sampler: Sampler) -> dict[str, Any]:
    """An item of A1111's list."""
    options = {"scheduler": sampler.default_scheduler.lower()} if sampler.default_scheduler else {}
    return {"name": sampler.label, "aliases": [*sampler.aliases], "options": options}
