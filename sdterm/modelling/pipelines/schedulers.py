"""Which schedulers step a pipeline: its own, and those that its configuration accepts."""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from sdterm.hooks import Option, OptionValue
from sdterm.messages import message
from sdterm.modelling.pipelines.source import class_of, classes, takes

Config = Mapping[str, Any]
"""Of a scheduler: its `scheduler_config.json`, with its class as `_class_name`."""
SHIFT = "shift"
_FLOW, _FLOW_SHIFT = "use_flow_sigmas", "flow_shift"
_SPACED = {"Karras": "use_karras_sigmas", "Exponential": "use_exponential_sigmas", "Beta": "use_beta_sigmas"}
"""A1111's schedules → what diffusers calls them."""
AUTOMATIC = "Automatic"
_ENDING = "Scheduler"
"""Of the names of classes, which people leave out."""


def accepted(config: Config) -> dict[str, tuple[str, ...]]:
    """What can step a pipeline with such a scheduler, its own first: names, each with the schedules, by
    A1111's names, that it knows besides its own."""
    own = str(config.get("_class_name", ""))
    kin = _flowing(own) if _is_flow(config) else _compatibles(own)
    there = (name for name in dict.fromkeys((own, *kin)) if name.endswith(_ENDING))
    return {name.removesuffix(_ENDING): _schedules(name) for name in there}


def _schedules(scheduler: str) -> tuple[str, ...]:
    known = takes(scheduler, "__init__")
    return tuple(label for label, name in _SPACED.items() if name in known)


def options(config: Config) -> tuple[Option, ...]:
    """What is chosen of a scheduler: how far noise levels are shifted, where that does not follow from the size."""
    shift = config.get(SHIFT, config.get(_FLOW_SHIFT)) if _is_flow(config) else None
    if not isinstance(shift, int | float) or config.get("use_dynamic_shifting"):
        return ()
    said = message(
        "How far noise levels are shifted toward high noise: higher values work longer on the "
        "composition, lower ones on details."
    )
    return (Option(SHIFT, float(shift), said, minimum=0.01, maximum=100.0),)


def class_called(sampler: str) -> str:
    """The class of a sampler's name."""
    return f"{sampler}{_ENDING}"


def changed(config: Config, scheduler: str, schedule: str, given: Mapping[str, OptionValue]) -> dict[str, Any]:
    """What a scheduler of that class is built with beside the pipeline's own configuration."""
    known, more = takes(scheduler, "__init__"), dict[str, Any]()
    shift = given.get(SHIFT, config.get(SHIFT, config.get(_FLOW_SHIFT)))
    if _is_flow(config) and _FLOW in known:
        more |= {_FLOW: True, "prediction_type": "flow_prediction"}
    if _is_flow(config) and shift is not None:
        more |= {name: shift for name in (SHIFT, _FLOW_SHIFT) if name in known}
    if schedule != AUTOMATIC:
        more |= {name: label == schedule for label, name in _SPACED.items() if name in known}
    return more


def _is_flow(config: Config) -> bool:
    """Whether the model predicts the way from picture to noise: schedulers of such models do not say what it predicts,
    or say that."""
    own = str(config.get("_class_name", ""))
    return config.get("prediction_type") == "flow_prediction" or "FlowMatch" in own


def _compatibles(scheduler: str) -> list[str]:
    """Those that diffusers calls compatible: a list of names, or of all of an enumeration."""
    found = class_of(scheduler)
    for each in found.body if found else ():
        match each:
            case ast.Assign([ast.Name("_compatibles")], ast.ListComp(generators=[comprehension])):
                return [*_members(ast.unparse(comprehension.iter))]
            case ast.Assign([ast.Name("_compatibles")], ast.List(elts=names)):
                return [str(name.value) for name in names if isinstance(name, ast.Constant)]
    return []


def _members(enumeration: str) -> Iterator[str]:
    found = class_of(enumeration)
    for each in found.body if found else ():
        match each:
            case ast.Assign([ast.Name(name)]):
                yield name


def _flowing(own: str) -> list[str]:
    """Those for models that predict a flow, if pipelines can tell them noise levels in all ways in which they tell the
    own one."""
    return [name for name in classes() if _can_flow(name) and _told(own) <= _told(name)]


def _can_flow(name: str) -> bool:
    if not name.endswith(_ENDING) or "Inverse" in name:
        return False
    return name.startswith("FlowMatch") or (_FLOW in takes(name, "__init__") and bool(_compatibles(name)))


def _told(scheduler: str) -> frozenset[str]:
    """By which arguments a pipeline may tell noise levels."""
    return takes(scheduler, "set_timesteps") & {"sigmas", "mu"}
