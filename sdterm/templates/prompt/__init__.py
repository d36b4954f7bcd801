"""A prompt transform: a word is replaced by one of several, to begin with."""

from random import Random

from sdterm.hooks import PromptContext, PromptText, PromptTransform, hookimpl

COLOURS = ("red", "green", "blue")


def transform(prompt: PromptText, rng: Random, context: PromptContext) -> tuple[PromptText, ...]:
    """The prompt of one image; `rng` is seeded by its seed."""
    positive = prompt.positive.replace("ANYCOLOUR", rng.choice(COLOURS))
    return (PromptText(positive, prompt.negative, prompt.styles),)


@hookimpl
def sdterm_prompt_transforms() -> list[PromptTransform]:
    return [PromptTransform(id="my_extension", label="My extension", transform=transform)]
