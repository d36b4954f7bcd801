"""From a planned image to its infotext.

What A1111's keys cannot say goes into one of ours, `sdterm` (see `Provenance`): whatever a reader of the rest would get
wrong is repeated there, so that reading gives back exactly the request that draws the image.
"""

from collections.abc import Mapping
from dataclasses import replace

from sdterm.core.a1111 import STANDS_BEFORE
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext import record, upscaled
from sdterm.core.infotext.keys import (
    DRAWN,
    EMBEDDING_HASHES,
    ENABLED,
    FAULTS,
    INIT_HASH,
    KEYS,
    KEYS_OF,
    LORA_HASHES,
    MASK_WEIGHT,
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
from sdterm.core.planning.pipelines import takes
from sdterm.core.planning.plan import ImagePlan, ModelPlan, PassPlan, Plan, TextPlan
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.hooks import DenoiseHook, MemoryOptimizer, Option, OptionValue, Postprocessor
from sdterm.request import GenerationRequest
from sdterm.version import __version__

_LONGEST = 300  # characters of one of those


_TAGS = 20  # named in a record, at most


def single_image_request(plan: Plan, image: ImagePlan) -> GenerationRequest:
    """The request that draws this one image of the job by itself."""
    request, first = plan.request, plan.passes[0]
    again = plan.passes[1] if len(plan.passes) > 1 else None
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
            "init_images": (image.init_image,) if image.init_image else request.init_images,
            "mask": request.mask if image.init_image else "",
            **_second_pass(plan, image, again),
            **_refined(plan),
            **({} if again or image.init_image else {"denoising_strength": FIELDS["denoising_strength"].default}),
        }
    )


def _second_pass(plan: Plan, image: ImagePlan, second: PassPlan | None) -> dict[str, object]:
    """What of a hires fix is asked for, spelled out: as little as tells it."""
    unset = {row.name: row.default for row in FIELDS.values() if row.part == "Hires"}
    if not second or not second.upscale:
        return unset
    request, first = plan.request, plan.passes[0]
    text: TextPlan = second.texts[plan.images.index(image)] if second.texts else image
    same_sampler = second.sampler == first.sampler
    same_scheduler = not request.hires_scheduler or (same_sampler and second.scheduler == first.scheduler)
    resized = request.hires_width or request.hires_height
    return {
        "hires_model": second.model.model if second.model else "",
        "hires_sampler": "" if same_sampler else second.sampler,
        "hires_scheduler": "" if same_scheduler else second.scheduler,
        "hires_prompt": "" if text.prompt == image.prompt else text.prompt,
        "hires_negative_prompt": "" if text.negative_prompt == image.negative_prompt else text.negative_prompt,
        "hires_cfg_scale": request.hires_cfg_scale if request.hires_cfg_scale != request.cfg_scale else 0.0,
        "hires_scale": unset["hires_scale"] if resized else request.hires_scale,
        "hires_steps": second.steps if second.steps != first.steps else 0,
        "hires_upscaler": second.upscale.upscaler.name,
    }


def _refined(plan: Plan) -> dict[str, object]:
    if refiner := next((each.refiner for each in plan.passes if each.refiner), None):
        return {"refiner": refiner.model}
    return {row.name: row.default for row in FIELDS.values() if row.part == "Refiner"}


def _called(model: ModelPlan) -> str:
    return f"{printable(model.model)} [{model.model_hash[:10]}]"


def _told_of_passes(plan: Plan, choices: Choices) -> dict[str, dict[str, object]]:
    """What only the plan knows of a second pass and of a refiner, by field."""
    told: dict[str, dict[str, object]] = {}
    first, *later = plan.passes
    for second, found in zip(later, choices.passes[1:], strict=True):
        if second.model:
            told["hires_model"] = {"Hires checkpoint": _called(second.model)}
        if second.scheduler != first.scheduler and found.sampler.grid != "own":
            told["hires_scheduler"] = {"Hires schedule type": second.scheduler}
    if refiner := next((each.refiner for each in plan.passes if each.refiner), None):
        told["refiner"] = {"Refiner": _called(refiner)}
    return told


def image_infotext(
    plan: Plan,
    image: ImagePlan,
    choices: Choices,
    plugins: PluginSet,
    made: Provenance | None = None,
    faults: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    told: Mapping[str, object] | None = None,
) -> str:
    """The infotext of one image. `made` tells what it was made with, for the record; `faults` what went wrong with
    plugins on the way (slug → what); `more` is what observers add, under keys that are free; `told` A1111's keys that
    whoever drew knows: hashes of networks and of the init image; None for one that does not hold."""
    additions, sampler, scheduler = _drawing(choices), choices.first.sampler, choices.first.scheduler
    first = plan.passes[0]
    request = upscaled.spelled_out(_spelled_out(single_image_request(plan, image), additions), choices.enlargement)
    drawn, facts = Drawn(request, sampler), choices.first.model.facts
    unknown = {row.name for row in FIELDS.values() if facts and not takes(row, facts)}
    taken = {*OURS}
    told = told or {}
    from_image = any(each.start != "noise" for each in plan.passes)
    sees_init = choices.first.model.match.inpainting and from_image
    looked_up: Mapping[str, Mapping[str, object]] = {
        "scheduler": {"Schedule type": first.scheduler},  # what it came to, "Karras", where "Automatic" was asked
        "model": {"Model hash": plan.model_hash[:10], "Model": printable(plan.model)},
        "lora": {LORA_HASHES: told.get(LORA_HASHES)},
        "emphasis": {EMBEDDING_HASHES: told.get(EMBEDDING_HASHES), "Emphasis": KEYS["Emphasis"].write(drawn)},
        "vae": {"VAE hash": plan.vae_hash[:10], "VAE": printable(plan.vae)} if plan.vae else {},
        **_told_of_passes(plan, choices),
        "scheduler_options": _option_pairs(
            () if facts else scheduler.options,
            _as_given(first.scheduler_options, plan.request.scheduler_options),
            taken,
        ),
        "sampler_options": _option_pairs(
            sampler.options, _as_given(first.sampler_options, plan.request.sampler_options), taken
        ),
        "postprocess": {POSTPROCESS: ", ".join(request.postprocess) or None},
        "denoise_hooks": _hook_pairs(choices, taken),
        "conditional_mask_weight": {MASK_WEIGHT: request.conditional_mask_weight if sees_init else None},
        "init_image_hash": {INIT_HASH: told.get(INIT_HASH)},
        "options": _addition_pairs(_not_hooks(additions), request.options, taken),
        "extra_params": {
            key: v for key, v in request.extra_params.items() if key not in taken and infotext.is_key(key)
        },
    }
    parameters: dict[str, object] = {}
    for name in (name for name in FIELDS if name not in unknown):
        parameters |= {key: it for key, it in looked_up["options"].items() if STANDS_BEFORE.get(key) == name}
        parameters |= looked_up.get(name) or {key.name: key.write(drawn) for key in KEYS_OF.get(name, ())}
    parameters |= {name: None for name, value in told.items() if value is None} | dict(more or {})
    parameters = _kept(parameters, request)
    ignored = tuple(each.tag.strip("<>") for each in image.unapplied[:_TAGS])
    made = replace(made or Provenance(), sdterm=__version__, model=plan.model_hash, ignored=ignored)
    visible = infotext.parse(infotext.write(request.prompt, request.negative_prompt, parameters))
    said = read(visible, plugins).fields
    unsaid = {
        name: value
        for name, value in request.model_dump(include=set(DRAWN) - {"model"} - unknown).items()
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


def _as_given(checked: Mapping[str, OptionValue], given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Whole numbers as they were given: A1111 writes 10 or 10.0."""
    whole = {name: value for name, value in given.items() if type(value) is int}
    return {
        name: whole[name] if type(value) is float and whole.get(name) == value else value
        for name, value in checked.items()
    }


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


_Drawing = MemoryOptimizer | DenoiseHook | Postprocessor


def _drawing(choices: Choices) -> tuple[Chosen[_Drawing], ...]:
    """What changes the pixels of what a request asks for besides: visible optimizers, denoise hooks that were asked
    for, and postprocessors in order."""
    visible = [each for each in choices.asked(MemoryOptimizer) if each.of.effect == "visible"]
    return (*visible, *_asked_hooks(choices), *choices.postprocessors())


def _asked_hooks(choices: Choices) -> tuple[Chosen[DenoiseHook], ...]:
    asked = {each.of.id for each in choices.asked(DenoiseHook)}
    return tuple(each for each in choices.hooks if each.of.id in asked)


def _not_hooks(additions: tuple[Chosen[_Drawing], ...]) -> tuple[Chosen[_Drawing], ...]:
    return tuple(each for each in additions if not isinstance(each.of, DenoiseHook))


def _hook_pairs(choices: Choices, taken: set[str]) -> dict[str, object]:
    """That each hook acts which was asked for, and all its options, as A1111 writes those of soft inpainting."""
    pairs: dict[str, object] = {}
    for hook in _asked_hooks(choices):
        said: dict[str, object] = {f"{hook.of.label} {ENABLED}": True}
        said |= {addition_key(hook.of, option): _shown(hook.options[option.name]) for option in hook.of.options}
        for key, value in said.items():
            if key not in taken and infotext.is_key(key):
                taken.add(key)
                pairs[key] = value
    return pairs


def _shown(value: OptionValue) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _spelled_out(request: GenerationRequest, additions: tuple[Chosen[_Drawing], ...]) -> GenerationRequest:
    """The request with the labels of its postprocessors and the options that matter: an optimizer is asked for by its
    options, so if all are as declared its first one does."""
    options: dict[str, OptionValue] = {}
    for addition in additions:
        of, values = addition.of, addition.options
        plain = all(values[option.name] == option.default for option in of.options)
        asking = of.options[:1] if plain and isinstance(of, MemoryOptimizer) else ()
        for option in of.options:
            value = values[option.name]
            if option in asking or isinstance(of, DenoiseHook) or value != option.default:
                options[f"{addition.of.id}.{option.name}"] = value
    labels = tuple(addition.of.label for addition in additions if isinstance(addition.of, Postprocessor))
    hooks = tuple(addition.of.label for addition in additions if isinstance(addition.of, DenoiseHook))
    return request.model_copy(update={"postprocess": labels, "denoise_hooks": hooks, "options": options})


def _addition_pairs(
    additions: tuple[Chosen[_Drawing], ...], options: Mapping[str, OptionValue], taken: set[str]
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
