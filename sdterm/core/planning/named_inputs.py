"""The pictures that a request names: in fields and in options of plugins."""

from collections.abc import Iterator

from sdterm.core.planning.choices import Parts
from sdterm.fields import ROWS
from sdterm.request import GenerationRequest


def named_inputs(request: GenerationRequest, parts: Parts) -> dict[str, str]:
    """Digest → the field that names it."""
    return {digest: field for field, digest in _named(request, parts) if digest}


def _named(request: GenerationRequest, parts: Parts) -> Iterator[tuple[str, str]]:
    for row in ROWS:
        if row.is_input:
            value = getattr(request, row.name) or ()
            yield from ((row.name, digest) for digest in ((value,) if isinstance(value, str) else value))
    for addition in parts.additions:
        for option in addition.of.options:
            if option.is_image:
                yield "options", str(addition.options[option.name])
