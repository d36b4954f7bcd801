"""`#` comments: from a # to the end of its line nothing is drawn, as in A1111."""

import re
from random import Random

from sdterm.hooks import PromptContext, PromptText, PromptTransform, hookimpl


def strip_comments(prompt: PromptText, rng: Random, context: PromptContext) -> tuple[PromptText, ...]:
    """A line that is all comment goes whole; else the text before the # stays."""
    return (PromptText(_strip(prompt.positive), _strip(prompt.negative), prompt.styles),)


def _strip(text: str) -> str:
    if "#" not in text:
        return text
    text = re.sub(r"(^|\n)#[^\n]*(\n|$)", "\n", text)  # the two patterns of A1111's built-in script comments.py
    return re.sub(r"#[^\n]*(\n|$)", "\n", text).strip()


@hookimpl
def sdterm_prompt_transforms() -> list[PromptTransform]:
    return [PromptTransform(id="comments", label="Comments", transform=strip_comments, order=20)]
