"""The prompt transforms of a job, one after the other."""

import re
from dataclasses import dataclass, replace
from random import Random

from sdterm.core.extensions.registry import ContractError, PluginFailure, PluginSet
from sdterm.core.planning.choices import Choices, Chosen, options_of
from sdterm.fields import MAX_PROMPT
from sdterm.hooks import PluginError, PromptContext, PromptText, PromptTransform
from sdterm.messages import message
from sdterm.request import RequestError

MOST_IMAGES = 1000
"""That a job grows to where a prompt transform makes several texts of one."""
_NOT_TEXT = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # as in a request
_MOST_TEXTS = 100_000  # of one transform for one prompt: combinations grow fast


@dataclass(frozen=True)
class TransformPipeline:
    """The prompt transforms of a job, one after the other."""

    transforms: tuple[Chosen[PromptTransform], ...]
    plugins: PluginSet
    context: PromptContext

    @classmethod
    def of(cls, choices: Choices, plugins: PluginSet, context: PromptContext) -> "TransformPipeline":
        """Those that are always applied and those asked for, in their order."""
        asked = {each.of.id for each in choices.asked(PromptTransform)}
        applied = [each for each in plugins.transforms() if each.default or each.id in asked]
        return cls(tuple(Chosen(each, options_of(each, choices.options)) for each in applied), plugins, context)

    def __call__(self, text: PromptText, seed: int, index: int) -> tuple[PromptText, int]:
        """(the text of image `index`, how many images it takes until every text that is to be drawn was). Several
        texts are spread over the images in turn; of two transforms that want all theirs drawn, every pair is. Raises
        RequestError if one refuses, PluginFailure if one fails."""
        wanted, first_seed = 1, False
        for chosen in self.transforms:
            transform, texts = chosen.of, self._texts(chosen, text, seed)
            text = texts[index // wanted % len(texts) if transform.draws_all else index % len(texts)]
            first_seed |= text.first_seed
            wanted *= len(texts) if transform.draws_all else 1
            if wanted > MOST_IMAGES:
                raise RequestError(
                    message(
                        "{transform} makes {number:,} prompts of this one; the limit is {limit:,}.",
                        transform=transform.label,
                        number=wanted,
                        limit=MOST_IMAGES,
                    )
                )
        return replace(text, first_seed=first_seed), wanted

    def _texts(self, chosen: Chosen[PromptTransform], text: PromptText, seed: int) -> tuple[PromptText, ...]:
        transform = chosen.of
        try:
            with self.plugins.guard(transform, RequestError):
                rng = Random(f"{seed}:{transform.id}")
                return _checked(transform.transform(text, rng, self.context, **chosen.options))
        except PluginFailure:
            raise
        except PluginError as error:  # a transform's own word on the prompt
            raise RequestError(str(error)) from error


def _checked(texts: object) -> tuple[PromptText, ...]:
    """The texts that a transform gave. Raises ContractError if it may not give those."""
    if not isinstance(texts, tuple | list) or not texts:
        raise ContractError(message("it returned no PromptText"))
    if len(texts) > _MOST_TEXTS:
        raise ContractError(
            message("it returned {number:,} texts; the limit is {limit:,}", number=len(texts), limit=_MOST_TEXTS)
        )
    for text in texts:
        if not isinstance(text, PromptText) or not isinstance(text.styles, tuple | list):
            raise ContractError(message("it returned no PromptText"))
        for words in (text.positive, text.negative, *text.styles):
            if not isinstance(words, str):
                raise ContractError(message("it returned {type} instead of text", type=type(words).__name__))
            if len(words) > MAX_PROMPT:
                raise ContractError(
                    message(
                        "it returned {number:,} characters; the limit is {limit:,}", number=len(words), limit=MAX_PROMPT
                    )
                )
            if wrong := _NOT_TEXT.search(words):
                raise ContractError(
                    message(
                        "it returned the character U+{code}, which a prompt cannot contain", code=f"{ord(wrong[0]):04X}"
                    )
                )
    return tuple(texts)
