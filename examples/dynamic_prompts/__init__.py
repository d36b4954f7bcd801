"""Dynamic prompts: `{red|green} circle` and `__colour__ circle`, chosen anew for each image, in the syntax of
sd-dynamic-prompts (github.com/adieyal/sd-dynamic-prompts, docs/SYNTAX.md)."""

from __future__ import annotations

from itertools import islice
from random import Random

from sdterm.hooks import Option, PluginError, PromptContext, PromptText, PromptTransform, hookimpl

from .choosing import every, pick
from .grammar import parse


def transform(
    prompt: PromptText, rng: Random, context: PromptContext, *, combinatorial: bool, most: int
) -> tuple[PromptText, ...]:
    """One text of those that the prompt describes, by chance; or combinatorial each of them, up to `most`."""
    try:
        positive, negative = parse(prompt.positive), parse(prompt.negative)
        if not combinatorial:
            texts = [(pick(positive, rng, context.wildcards), pick(negative, rng, context.wildcards))]
        else:
            pairs = (
                (text, negative_text)
                for text in every(positive, context.wildcards)
                for negative_text in every(negative, context.wildcards)
            )
            texts = list(islice(pairs, most))
    except RecursionError:
        raise PluginError("The prompt has braces or wildcards within each other too deeply.") from None
    return tuple(PromptText(text, negative_text, prompt.styles) for text, negative_text in texts)


@hookimpl
def sdterm_prompt_transforms() -> list[PromptTransform]:
    return [
        PromptTransform(
            id="dynamic_prompts",
            label="Dynamic prompts",
            transform=transform,
            order=30,
            draws_all=True,
            options=(
                Option("combinatorial", False, "Draw every combination instead of one by chance."),
                Option("most", 100, "How many of them at most.", 1, 1000),
            ),
        )
    ]
