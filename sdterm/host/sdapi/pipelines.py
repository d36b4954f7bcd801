"""Bodies of A1111's API for models that pipelines draw with: what A1111 has for its own defaults nobody asked for."""

from collections.abc import Mapping
from typing import Any

from sdterm.fields import FIELDS
from sdterm.request import GenerationRequest, make_request

_SAMPLER, _SCHEDULE = ("sampler_name", "sampler_index"), "scheduler"
_OWN_LOOP = ("sampler", "scheduler", "sampler_options", "scheduler_options")


def without_sampler(values: Mapping[str, Any]) -> dict[str, Any]:
    """A body without the sampler, whose name only the pipeline knows."""
    return {name: value for name, value in values.items() if name not in (*_SAMPLER, _SCHEDULE)}


def for_pipeline(
    request: GenerationRequest, values: Mapping[str, Any], settings: Mapping[str, Any]
) -> GenerationRequest:
    """The request of a body, of what the body says and of sdterm's own settings: the rest is the model's to say."""
    said = request.model_dump(exclude_unset=True)
    unsaid = {row.name for row in FIELDS.values() if row.api and values.get(row.api) is None}
    kept = {name: value for name, value in said.items() if name not in unsaid and name not in _OWN_LOOP}
    named = next((values[name] for name in _SAMPLER if values.get(name)), None)
    own = {"sampler": named, "scheduler": values.get(_SCHEDULE)}
    return make_request(**{**settings, **kept, **{name: value for name, value in own.items() if value}})
