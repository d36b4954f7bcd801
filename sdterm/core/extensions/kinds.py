"""The kinds of things that plugins offer, one row each.

Registry, catalogue, check, templates, error messages and the tests of the documentation read this table. A new kind is
a row, its descriptor and hook in `sdterm.hooks`, a page in `docs/plugins`, a template, and its use.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol

from sdterm.hooks import (
    DenoiseHook,
    Interrogator,
    LocalePack,
    MemoryOptimizer,
    ModelFamily,
    NetworkFormat,
    Observer,
    OutputSaver,
    Pipeline,
    Postprocessor,
    PromptTransform,
    Sampler,
    Scheduler,
    Upscaler,
)


class Descriptor(Protocol):
    """What every descriptor is: a dataclass with an id and a label."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Kind:
    """One kind."""

    hook: str
    """The function of a plugin that returns a list of them."""
    descriptor: type[Any]
    word: str
    """What error messages call one."""
    template: str
    """The folder of `sdterm ext new --kind`."""
    field: str = ""
    """The field of a request that names it; empty where no request does."""
    several: bool = False
    """Whether a request may ask for several of them. Their options are then set as `id.name`."""
    draws: bool = True
    """Whether a picture depends on it: without what does not, a job goes on."""

    @property
    def name(self) -> str:
        """What the catalogue calls it."""
        return self.descriptor.__name__


KINDS: tuple[Kind, ...] = (
    Kind("sdterm_prompt_transforms", PromptTransform, "prompt transform", "prompt", "transforms", several=True),
    Kind("sdterm_samplers", Sampler, "sampler", "sampler", "sampler"),
    Kind("sdterm_schedulers", Scheduler, "scheduler", "scheduler", "scheduler"),
    Kind("sdterm_denoise_hooks", DenoiseHook, "denoise hook", "denoise_hook", "denoise_hooks", several=True),
    Kind("sdterm_model_families", ModelFamily, "model family", "family"),
    Kind("sdterm_pipelines", Pipeline, "pipeline", "pipeline", "pipeline"),
    Kind("sdterm_networks", NetworkFormat, "network format", "network"),
    Kind("sdterm_memory_optimizers", MemoryOptimizer, "memory optimizer", "memory", "memory", several=True),
    Kind("sdterm_upscalers", Upscaler, "upscaler", "upscaler"),
    Kind("sdterm_interrogators", Interrogator, "interrogator", "interrogator"),
    Kind("sdterm_postprocessors", Postprocessor, "postprocessor", "postprocessor", "postprocess", several=True),
    Kind("sdterm_output_savers", OutputSaver, "output format", "saver", "format"),
    Kind("sdterm_locale_packs", LocalePack, "locale pack", "locale_pack", draws=False),
    Kind("sdterm_observers", Observer, "observer", "observer", draws=False),
)

BY_HOOK: Mapping[str, Kind] = {kind.hook: kind for kind in KINDS}
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
BY_WORD: Mapping[str, Kind] = {kind.word: kind for kind in KINDS}


def kind_of(descriptor: type[Any]) -> Kind:
    """The row of a descriptor's class, or of the one that it is derived from."""
    return next(kind for kind in KINDS if issubclass(descriptor, kind.descriptor))
