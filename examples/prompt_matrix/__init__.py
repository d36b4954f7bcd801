"""Prompt matrix, as A1111's script of that name: `a house|in winter|at night` is drawn four times, with each part
behind a `|` or without it, all with the same seed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from sdterm.hooks import Option, PluginError, PromptContext, PromptText, PromptTransform, hookimpl

MOST_PARTS = 9  # 512 images


def transform(
    prompt: PromptText,
    rng: Random,
    context: PromptContext,
    *,
    put_at_start: bool,
    different_seeds: bool,
    negative: bool,
    space: bool,
) -> tuple[PromptText, ...]:
    """A text for each subset of the parts, in the order of A1111's scripts/prompt_matrix.py."""
    first, *parts = (prompt.negative if negative else prompt.positive).split("|")
    if len(parts) > MOST_PARTS:
        raise PluginError(f"The prompt has {len(parts)} parts behind a |; prompt matrix takes {MOST_PARTS}.")
    parts = [part.strip().strip(",") for part in parts]
    texts = []
    for number in range(2 ** len(parts)):
        chosen = [part for place, part in enumerate(parts) if number & (1 << place)]
        text = (" " if space else ", ").join([*chosen, first] if put_at_start else [first, *chosen])
        changed = replace(prompt, negative=text) if negative else replace(prompt, positive=text)
        texts.append(replace(changed, first_seed=not different_seeds))
    return tuple(texts)


@hookimpl
def sdterm_prompt_transforms() -> list[PromptTransform]:
    return [
        PromptTransform(
            id="prompt_matrix",
            label="Prompt matrix",
            transform=transform,
            order=5,  # before styles, which are added to each text
            default=False,  # without it a | is an ordinary character
            draws_all=True,
            options=(
                Option("put_at_start", False, "Put the parts before the prompt."),
                Option("different_seeds", False, "Draw each picture with a seed of its own."),
                Option("negative", False, "Split the negative prompt instead."),
                Option("space", False, "Join by a space instead of a comma."),
            ),
        )
    ]
