"""Styles: named pieces of prompt from styles.csv, applied in order, as in A1111."""

from random import Random

from sdterm.hooks import PluginError, PromptContext, PromptText, PromptTransform, hookimpl
from sdterm.messages import message


def apply_styles(prompt: PromptText, rng: Random, context: PromptContext) -> tuple[PromptText, ...]:
    """Add each style's two texts. A request's names are spelled as in the file by now; raises PluginError for one that
    another transform made up."""
    positive, negative = prompt.positive, prompt.negative
    for name in prompt.styles:
        if name not in context.styles:
            raise PluginError(message("There is no style named '{name}'. Styles are read from styles.csv.", name=name))
        style_positive, style_negative = context.styles[name]
        positive, negative = merge(positive, style_positive), merge(negative, style_negative)
    return (PromptText(positive, negative),)


def merge(prompt: str, style: str) -> str:
    """The prompt in place of the style's `{prompt}`; without one the style comes after the prompt."""
    if "{prompt}" in style:
        return style.replace("{prompt}", prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)


@hookimpl
def sdterm_prompt_transforms() -> list[PromptTransform]:
    return [PromptTransform(id="styles", label="Styles", transform=apply_styles, order=10)]
