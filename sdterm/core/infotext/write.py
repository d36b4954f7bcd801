"""From a planned image to its infotext.

What A1111's keys cannot say goes into one of ours, `sdterm` (see `Provenance`): whatever a reader of the rest would get
wrong is repeated there, so that reading gives back exactly the request that draws the image.
"""

from collections.abc import Mapping
from dataclasses import replace

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext import record, upscaled
from sdterm.core.infotext.keys import (
    DRAWN,
    EMBEDDING_HASHES,
    FAULTS,
    KEYS,
    KEYS_OF,
    LORA_HASHES,
    OURS,
    POSTPROCESS,
    Drawn,
    addition_key,
    checksum,
    option_key,
)
from sdterm.core.infotext.read import read
from sdterm.core.infotext.record import Provenance
from sdterm.core.names import normal
from sdterm.core.planning.choices import AUTOMATIC, Choices, Chosen
from sdterm.core.planning.plan import ImagePlan, Plan
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.hooks import MemoryOptimizer, Option, OptionValue, Postprocessor
from sdterm.request import GenerationRequest
from sdterm.version import __version__

_LONGEST = 300  # characters of one of those


_TAGS = 20  # named in a record, at most


def single_image_request(plan: Plan, image: ImagePlan) -> GenerationRequest:
    """The request that draws this one image of the job by itself."""
    request, first = plan.request, plan.passes[0]
    asked = (request.sampler_options, request.scheduler_options)
    sampler_options, scheduler_options = (
        {name: value for name, value in resolved.items() if name in given}
        for given, resolved in zip(asked, (first.sampler_options, first.scheduler_options), strict=True)
    )
    return request.model_copy(
        update={
            "prompt": image.prompt,
            "negative_prompt": image.negative_prompt,
            "styles": (),
            "transforms": (),
            "lora": "",
            "hypernetwork": "",
            "model": plan.model,
            "sampler": first.sampler,
            "scheduler": AUTOMATIC if normal(request.scheduler) == normal(AUTOMATIC) else first.scheduler,
            "sampler_options": sampler_options,
            "scheduler_options": scheduler_options,
            "seed": image.seed,
            "variation_seed": image.variation_seed if request.variation_strength else request.variation_seed,
            "width": first.width,
            "height": first.height,
            "batch_size": 1,
            "batch_count": 1,
            "upscale_images": (),
            "grid": False,
        }
    )


def image_infotext(
    plan: Plan,
    image: ImagePlan,
    choices: Choices,
    plugins: PluginSet,
    made: Provenance | None = None,
    faults: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> str:
    """The infotext of one image. `made` tells what it was made with, for the record; `faults` what went wrong with
    plugins on the way (slug → what); `more` is what observers add, under keys that are free; `hashes` A1111's keys that
    name networks."""
    additions, sampler, scheduler = _drawing(choices), choices.first.sampler, choices.first.scheduler
    first = plan.passes[0]
    request = upscaled.spelled_out(_spelled_out(single_image_request(plan, image), additions), choices.enlargement)
    drawn = Drawn(request, sampler)
    taken = {*OURS}
    named = hashes or {}
    looked_up: Mapping[str, Mapping[str, object]] = {
        "scheduler": {"Schedule type": first.scheduler},  # what it came to, "Karras", where "Automatic" was asked
        "model": {"Model hash": plan.model_hash[:10], "Model": printable(plan.model)},
        "lora": {LORA_HASHES: named.get(LORA_HASHES)},
        "emphasis": {EMBEDDING_HASHES: named.get(EMBEDDING_HASHES), "Emphasis": KEYS["Emphasis"].write(drawn)},
        "vae": {"VAE hash": plan.vae_hash[:10], "VAE": printable(plan.vae)} if plan.vae else {},
        "scheduler_options": _option_pairs(scheduler.options, first.scheduler_options, taken),
        "sampler_options": _option_pairs(sampler.options, first.sampler_options, taken),
        "postprocess": {POSTPROCESS: ", ".join(request.postprocess) or None},
        "options": _addition_pairs(additions, request.options, taken),
        "extra_params": {
            key: v for key, v in request.extra_params.items() if key not in taken and infotext.is_key(key)
        },
    }
    parameters: dict[str, object] = {}
    for name in FIELDS:
        parameters |= looked_up.get(name) or {key.name: key.write(drawn) for key in KEYS_OF.get(name, ())}
    parameters |= more or {}
    parameters = _kept(parameters, request)
    ignored = tuple(each.tag.strip("<>") for each in image.unapplied[:_TAGS])
    made = replace(made or Provenance(), sdterm=__version__, model=plan.model_hash, ignored=ignored)
    visible = infotext.parse(infotext.write(request.prompt, request.negative_prompt, parameters))
    said = read(visible, plugins).fields
    unsaid = {
        name: value
        for name, value in request.model_dump(include=set(DRAWN) - {"model"}).items()
        if said.get(name) != value
    }
    parameters |= {
        FAULTS: "; ".join(f"{slug}: {printable(what, _LONGEST)}" for slug, what in (faults or {}).items()) or None,
        record.KEY: str(replace(made, fields=unsaid, text=checksum(visible) if unsaid else "")),
        # Not a bare number: A1111 would take 0.1.0 for an ancient version of itself and switch old behaviour on.
        "Version": f"sdterm {__version__}",
    }
    return infotext.write(request.prompt, request.negative_prompt, _kept(parameters, request))


def _kept(parameters: Mapping[str, object], request: GenerationRequest) -> dict[str, object]:
    """The pairs that the request does not want left out."""
    return {key: value for key, value in parameters.items() if key not in request.infotext_without}


def _option_pairs(
    options: tuple[Option, ...], values: Mapping[str, OptionValue], taken: set[str]
) -> dict[str, OptionValue]:
    """What differs from its default, under keys that are free; `taken` grows by them. The record has the others."""
    pairs: dict[str, OptionValue] = {}
    for option in options:
        key = option_key(option)
        if key in taken or not infotext.is_key(key):
            continue
        taken.add(key)
        if values[option.name] != option.default:
            pairs[key] = values[option.name]
    return pairs


def _drawing(choices: Choices) -> tuple[Chosen[MemoryOptimizer | Postprocessor], ...]:
    """What changes the pixels of what a request asks for besides: visible optimizers, and postprocessors in order."""
    visible = [each for each in choices.asked(MemoryOptimizer) if each.of.effect == "visible"]
    return (*visible, *choices.postprocessors())


def _spelled_out(
    request: GenerationRequest, additions: tuple[Chosen[MemoryOptimizer | Postprocessor], ...]
) -> GenerationRequest:
    """The request with the labels of its postprocessors and the options that matter: an optimizer is asked for by its
    options, so all of them do."""
    options: dict[str, OptionValue] = {}
    for addition in additions:
        for option in addition.of.options:
            value = addition.options[option.name]
            if isinstance(addition.of, MemoryOptimizer) or value != option.default:
                options[f"{addition.of.id}.{option.name}"] = value
    labels = tuple(addition.of.label for addition in additions if isinstance(addition.of, Postprocessor))
    return request.model_copy(update={"postprocess": labels, "options": options})


def _addition_pairs(
    additions: tuple[Chosen[MemoryOptimizer | Postprocessor], ...], options: Mapping[str, OptionValue], taken: set[str]
) -> dict[str, OptionValue]:
    """The options as pairs, under keys that are free; `taken` grows by them."""
    pairs: dict[str, OptionValue] = {}
    for addition in additions:
        for option in addition.of.options:
            key, name = addition_key(addition.of, option), f"{addition.of.id}.{option.name}"
            if name in options and key not in taken and infotext.is_key(key):
                taken.add(key)
                pairs[key] = options[name]
    return pairs
