"""What a pipeline's call takes beyond what every request has, as options."""

from __future__ import annotations

import re

from sdterm.hooks import Option
from sdterm.plugins.pipelines.classes import Argument, PipelineClass

_ASKED_ELSEWHERE = re.compile(
    r"prompt(_\d)?|negative_prompt(_\d)?|image|mask_image|strength|height|width|num_inference_steps|guidance_scale"
    r"|num_images_per_prompt|output_type|return_dict|eta"
)
"""Arguments that a request has by another name, or that sdterm gives itself."""


def options_of_call(kind: PipelineClass) -> tuple[Option, ...]:
    """Of a call's arguments those that are single values."""
    return tuple(
        Option(name, argument.default, argument.help)
        for name, argument in kind.takes.items()
        if _is_option(name, argument)
    )


def _is_option(name: str, argument: Argument) -> bool:
    return not _ASKED_ELSEWHERE.fullmatch(name) and isinstance(argument.default, bool | int | float | str)
