"""What there is to choose from in the form's fields: as the host told last."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from sdterm.core.a1111 import LATENT_UPSCALERS
from sdterm.core.names import normal
from sdterm.core.text import file_size, printable
from sdterm.fields import FIELDS, RequestField
from sdterm.tui.fields import Field, option_field
from sdterm.tui.language import tr
from sdterm.tui.networks import OFFERED, Networks

if TYPE_CHECKING:
    from sdterm.api import LibraryFile, Model, Style
    from sdterm.core.extensions.catalogue import Catalogue, Offer
    from sdterm.core.library.pipeline_facts import PipelineFacts

KINDS: Mapping[str, str] = {
    "sampler": "Sampler",
    "scheduler": "Scheduler",
    "format": "OutputSaver",
    "transform": "PromptTransform",
    "postprocessor": "Postprocessor",
    "memory": "MemoryOptimizer",
    "upscaler": "Upscaler",
    "denoise_hook": "DenoiseHook",
}
"""What a field offers → the kind in the catalogue."""
OPTIONS: Mapping[str, str] = {
    "sampler": "sampler_options",
    "scheduler": "scheduler_options",
    "format": "format_options",
}
"""A field that names one thing with options → the field of the request that has them."""
_SEVERAL = ("PromptTransform", "Postprocessor", "MemoryOptimizer", "DenoiseHook")
_SHAPES = ((1, 1), (1, 1.5), (1.5, 1), (1.25, 1.25), (1.5, 1.5), (2, 2))
"""Sizes to offer, by the model's own."""
_USUAL_SIZE = 512
AUTOMATIC = "Automatic"
NONE = "None"


@dataclass(frozen=True)
class Choice:
    """One thing to choose: what it is called, and what is said of it. names: more by which it is known."""

    name: str
    note: str = ""
    names: tuple[str, ...] = ()

    def is_called(self, name: str) -> bool:
        return normal(name) in map(normal, (self.name, *self.names))


@dataclass(frozen=True)
class Offers:
    """Everything that the form's lists have. What is None was not told yet."""

    catalogue: Catalogue | None = None
    models: tuple[Model, ...] | None = None
    styles: tuple[Style, ...] | None = None
    files: Mapping[str, Sequence[LibraryFile]] = field(default_factory=dict)
    """Model files by kind: VAEs, networks, embeddings."""
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of settings whose values only the workstation knows: `theme`, `language`."""

    def of(self, shown: Field, values: Mapping[str, Any]) -> Sequence[Choice] | None:
        """What a field can be; None as long as nobody knows."""
        kind = shown.offers
        if shown.choices:
            return [Choice(name) for name in shown.choices]
        if kind in self.settings:
            return [Choice(name) for name in self.settings[kind]]
        match kind:
            case "model":
                if self.models is None:
                    return None
                as_before = [] if shown.id == "model" else [Choice("")]  # of another pass: no model of its own
                return [*as_before, *(Choice(m.name, file_size(m.size)) for m in self.models)]
            case "style":
                return None if self.styles is None else [Choice(s.name, printable(s.prompt, 60)) for s in self.styles]
            case "size":
                return [*self._sizes(values)]
            case "upscaler" | "hires_upscaler":
                return self._upscalers(kind)
            case _ if kind in OFFERED:
                return self._files(kind, shown, values)
        if (facts := self.pipeline(values)) and facts.samplers and kind in ("sampler", "scheduler"):
            return _of_pipeline(kind, facts, values)
        if self.catalogue is None:
            return None
        first = [Choice(AUTOMATIC, tr("the sampler's own"))] if kind == "scheduler" else []
        offers = self.catalogue.of(KINDS[kind])
        if kind == "transform":  # the others are applied anyway
            offers = tuple(offer for offer in offers if not offer.facts.get("default", True))
        found = self._model(values.get("model"))
        process = found.process if found else ""
        fit = [offer for offer in offers if not process or offer.draws(process)]
        unfit = [replace(_choice(offer, kind), note=_not_for(process)) for offer in offers if offer not in fit]
        return [*first, *(_choice(offer, kind) for offer in fit), *unfit]

    def _files(self, kind: str, shown: Field, values: Mapping[str, Any]) -> Sequence[Choice] | None:
        if kind not in self.files:
            return None
        first = [Choice(AUTOMATIC)] if shown.rows[0].default == AUTOMATIC else []
        networks = self.networks(values.get("model"))
        there = (Choice(file.name, networks.note(file), (os.path.basename(file.path),)) for file in self.files[kind])
        return [*first, Choice(NONE), *there]

    def _upscalers(self, kind: str) -> Sequence[Choice] | None:
        """Those by a rule, then model files; for a second pass those of latents before them."""
        if self.catalogue is None:
            return None
        rules = [_choice(offer, kind) for offer in self.catalogue.of("Upscaler") if "resize" not in offer.facts]
        files = (Choice(file.name, names=(os.path.basename(file.path),)) for file in self.files.get("upscaler", ()))
        latent = [Choice(name) for name in LATENT_UPSCALERS] if kind == "hires_upscaler" else []
        return [*latent, *rules, *files]

    def networks(self, model: Any) -> Networks:
        """What prompts may call, for that model, or without one the first."""
        found = self._model(model)
        return Networks(self.files, (found and found.family) or "")

    def _model(self, name: Any) -> Model | None:
        models = self.models or ()
        named = [m for m in models if name and normal(m.name) == normal(str(name))]
        return next(iter((*named, *models[:1])), None)

    def pipeline(self, values: Mapping[str, Any]) -> PipelineFacts | None:
        """What may be asked of the model that a request would use, if a pipeline draws with it."""
        found = self._model(values.get("model"))
        return found.pipeline if found else None

    def takes(self, row: RequestField, values: Mapping[str, Any]) -> bool:
        """Whether a field means something to the model that a request would use."""
        facts = self.pipeline(values)
        if facts is None:
            return row.name != "pipeline_options"
        from sdterm.core.planning.pipelines import takes

        return takes(row, facts)

    def own(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What such a model has its own values for: they count unless others are given."""
        facts = self.pipeline(values)
        if facts is None:
            return {}
        sampler = {"sampler": next(iter(facts.samplers))} if facts.samplers else {}
        return {**sampler, **{name: facts.takes[name] for name in ("steps", "cfg_scale") if facts.takes.get(name)}}

    def sent(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Of request fields those that its model takes."""
        facts, named = self.pipeline(fields), fields.get("pipeline")
        if named and not (facts and facts.id == named):
            return dict(fields)  # another than the list of models speaks of
        kept = {n: value for n, value in fields.items() if n not in FIELDS or self.takes(FIELDS[n], fields)}
        if facts and facts.samplers and kept.get("sampler", "") not in ("", *facts.samplers):
            kept = {name: value for name, value in kept.items() if name not in ("sampler", "scheduler")}
        return kept

    def _sizes(self, values: Mapping[str, Any]) -> Iterator[Choice]:
        native = self.native_size(values.get("model"))
        for wide, high in _SHAPES:
            note = tr("native") if (wide, high) == (1, 1) else ""
            yield Choice(f"{int(native * wide) // 8 * 8}x{int(native * high) // 8 * 8}", note)

    def native_size(self, model: Any) -> int:
        """The pixels that a model, or without one the first, was trained on."""
        models = self.models or ()
        named = [m for m in models if model and normal(m.name) == normal(str(model))]
        return next((m.native_size for m in (*named, *models[:1]) if m.native_size), _USUAL_SIZE)

    def options(self, values: Mapping[str, Any]) -> list[Field]:
        """A field for each option of what a request would use: its sampler, schedule and format, and of everything of
        which it may use several."""
        if self.catalogue is None:
            return []
        found, facts = [], self.pipeline(values)
        for option in facts.options if facts else ():
            found.append(option_field("pipeline_options", self._label(values), option))
        for kind, inside in OPTIONS.items():
            if not (facts and kind in ("sampler", "scheduler")) and (offer := self.chosen(kind, values)):
                found += [option_field(inside, offer.label, option) for option in offer.options]
        for name in _SEVERAL:
            if facts and name == "DenoiseHook":
                continue
            for offer in self.catalogue.of(name):
                found += [option_field("options", offer.label, option, f"{offer.id}.") for option in offer.options]
        return found

    def _label(self, values: Mapping[str, Any]) -> str:
        found = self._model(values.get("model"))
        return (found and found.family) or ""

    def chosen(self, kind: str, values: Mapping[str, Any]) -> Offer | None:
        """The sampler, scheduler or format that a request would use, if it is one that there is."""
        name = str(values.get(kind) or "")
        if kind == "scheduler" and normal(name) == normal(AUTOMATIC):
            sampler = self.chosen("sampler", values)
            name = str((sampler and sampler.facts.get("default_scheduler")) or "")
        offers = self.catalogue.of(KINDS[kind]) if self.catalogue else ()
        return next((offer for offer in offers if name and _choice(offer, kind).is_called(name)), None)

    def fitting(self, kind: str, changes: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
        """These changes of a request, without options that what is chosen now does not have."""
        then = {**values, **{name: value for name, value in changes.items() if value is not None}}
        more: dict[str, Any] = self._for_model(then) if "model" in changes else {}
        for affected in ("sampler", "scheduler") if kind == "sampler" else (kind,):
            if (inside := OPTIONS.get(affected)) and (given := values.get(inside)):
                offer = self.chosen(affected, then)
                declared = {option.name for option in offer.options} if offer else set()
                more[inside] = {name: value for name, value in given.items() if name in declared} or None
        return {**changes, **more}

    def _for_model(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What goes out of the form since the model that was chosen does not know it."""
        gone: dict[str, Any] = {"pipeline": None}
        for name in ("sampler", "scheduler"):
            there, chosen = self.of(Field((FIELDS[name],)), values), values.get(name)
            if chosen and there is not None and not any(choice.is_called(str(chosen)) for choice in there):
                gone[name] = None
        facts = self.pipeline(values)
        declared = {option.name for option in facts.options} if facts else set()
        kept = {name: value for name, value in (values.get("pipeline_options") or {}).items() if name in declared}
        return {**gone, "pipeline_options": kept or None}


def _of_pipeline(kind: str, facts: PipelineFacts, values: Mapping[str, Any]) -> list[Choice]:
    """A pipeline's samplers, or the schedules that the chosen one knows."""
    if kind == "sampler":
        notes = [tr("the model's own")]
        return [Choice(name, note) for name, note in zip_longest(facts.samplers, notes, fillvalue="")]
    chosen = str(values.get("sampler") or "")
    known = facts.samplers.get(chosen, next(iter(facts.samplers.values())))
    return [Choice(AUTOMATIC, tr("the sampler's own")), *(Choice(name) for name in known)]


def _not_for(process: str) -> str:
    return tr("not for rectified-flow models") if process == "flow" else tr("not for diffusion models")


def _choice(offer: Offer, kind: str) -> Choice:
    names = (offer.id, offer.label, *offer.aliases, *([offer.note.lstrip(".")] if kind == "format" else []))
    return Choice(offer.id if kind == "format" else offer.label, offer.note, names)
