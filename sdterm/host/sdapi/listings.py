"""A1111's lists, from the library and the plugins."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sdterm.api import Extension
from sdterm.core.a1111 import DEFAULT_RHO, ON_THE_MODELS_LEVELS, SOLVED_BY_HEUN, lower_name
from sdterm.core.extensions.install.records import InstallRecord
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.library.about import metadata_of
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.choices import AUTOMATIC
from sdterm.core.prompt.styles import Styles
from sdterm.hooks import Sampler, Scheduler


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


def realesrgan_models(library: Library) -> list[dict[str, Any]]:
    """The upscalers of the folder RealESRGAN. A1111 lists those that it would fetch."""
    files = [file for file in library.files("upscaler") if "RealESRGAN" in file.path.parent.parts]
    return [{"name": file.name, "path": file.location, "scale": 4} for file in files]


OF_FILES: Mapping[str, tuple[str, str, Callable[[Library], Any]]] = {
    "/realesrgan-models": ("get_realesrgan_models", "array RealesrganItem", realesrgan_models),
    "/loras": ("get_loras", "array", loras),
    "/sd-vae": ("get_sd_vaes", "array SDVaeItem", vaes),
    "/hypernetworks": ("get_hypernetworks", "array HypernetworkItem", hypernetworks),
    "/embeddings": ("get_embeddings", "EmbeddingsResponse", embeddings),
}
"""Address → A1111's name of the operation, the schema of its answer, and what it lists."""


def samplers(names: PluginSet) -> list[dict[str, Any]]:
    """The samplers."""
    return [{"name": each.label, "aliases": [*each.aliases], "options": _options(each)} for each in names.all(Sampler)]


def _options(sampler: Sampler) -> dict[str, str]:
    """What A1111 says of one, each as text."""
    has_eta = any(option.name == "eta" for option in sampler.options)
    said = {
        "discard_next_to_last_sigma": sampler.discard_penultimate,
        "uses_ensd": has_eta and sampler.noise == "sequential" and sampler.start == "sigma",
        "second_order": sampler.calls_per_step == 2,
        "brownian_noise": sampler.noise == "brownian",
    }
    schedule = {"scheduler": sampler.default_scheduler.lower()} if sampler.default_scheduler else {}
    solver = {"solver_type": "heun"} if sampler.label in SOLVED_BY_HEUN else {}
    return schedule | {name: "True" for name, so in said.items() if so} | solver


def schedulers(names: PluginSet) -> list[dict[str, Any]]:
    """The schedules. A1111 counts the choice between them as the first."""
    automatic: dict[str, Any] = {"name": AUTOMATIC.lower(), "label": AUTOMATIC, "aliases": None}
    found = [automatic | {"default_rho": -1.0, "need_inner_model": False}]
    for each in names.all(Scheduler):
        found.append(
            {
                "name": lower_name(each.label),
                "label": each.label,
                "aliases": [*each.aliases] or None,
                "default_rho": DEFAULT_RHO.get(each.label, -1.0),
                "need_inner_model": each.label in ON_THE_MODELS_LEVELS,
            }
        )
    return found


def styles(known: Styles) -> list[dict[str, Any]]:
    """The styles."""
    return [{"name": name, "prompt": prompt, "negative_prompt": other} for name, (prompt, other) in known.items()]


def extensions(found: Sequence[Extension], records: Mapping[str, InstallRecord]) -> list[dict[str, Any]]:
    """The extensions, as far as a record tells where they are from."""
    return [
        {
            "name": each.slug,
            "remote": records[each.slug].source if each.slug in records else "",
            "branch": "",
            "commit_hash": each.digest,
            "version": records[each.slug].version if each.slug in records else "",
            "commit_date": str(int(records[each.slug].installed)) if each.slug in records else "",
            "enabled": each.state in ("serving", "stale"),
        }
        for each in found
    ]
