"""Prompts → conditioning: what guides an image at each of its steps.

An image's prompt is a composition of parts; a part has one text for each stretch of steps. What a text means to the
network is known to the model's family alone.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace

from sdterm.core.extensions.registry import ContractError
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.schedule import schedule
from sdterm.engine.networks import AppliedNetworks
from sdterm.engine.rows import lengths, row, size
from sdterm.hooks import Components, Conditioning, SeesLess, TextOptions
from sdterm.messages import message
from sdterm.request import GenerationRequest

_KEPT = 64 * 2**20  # bytes of encoded texts


@dataclass(frozen=True)
class Part:
    """One prompt of a composition: its weight, and its texts up to and including each call `until`."""

    weight: float
    until: tuple[int, ...]
    texts: tuple[Conditioning, ...]
    """Each a batch of one."""

    def at(self, call: int) -> int:
        """Which of the texts guides that call, counted from 0. Past the end it is the first, as in A1111."""
        return next((index for index, until in enumerate(self.until) if call <= until), 0)


def parts_differ(prompt: Sequence[Part], negative: Part, call: int) -> bool:
    """Whether an image's prompt and negative prompt are of unequal length at a call."""
    unlike = lengths(negative.texts[negative.at(call)])
    longest = {name: max(lengths(part.texts[part.at(call)])[name] for part in prompt) for name in unlike}
    return longest != unlike


@dataclass(frozen=True)
class Reading:
    """How the prompts of a pass are read: by a request, over a run that is planned to make so many network calls."""

    options: TextOptions
    calls: int
    old_editing: bool = False
    networks: tuple[Hashable, ...] = ()
    """What is on the model that reads them."""
    first_calls: int | None = None
    """In a second pass: of the first."""


def reading(
    request: GenerationRequest,
    width: int,
    height: int,
    calls: int,
    applied: AppliedNetworks,
    first_calls: int | None = None,
) -> Reading:
    """How a request's prompts are read for images of that size, by a model with these networks on. first_calls: in a
    second pass, those of the first."""
    options = TextOptions(
        width=width,
        height=height,
        clip_skip=request.clip_skip,
        emphasis=request.emphasis,
        old_emphasis=request.old_emphasis,
        comma_backtrack=request.comma_backtrack,
        crop_top=request.crop_top,
        crop_left=request.crop_left,
        aesthetic_score=request.aesthetic_score,
        negative_aesthetic_score=request.negative_aesthetic_score,
        words=applied.words,
    )
    return Reading(options, calls, request.old_prompt_editing, applied.asked, first_calls)


_Key = tuple[tuple[str, ...], tuple[Hashable, ...], tuple[Hashable, ...]]


class Conditioner:
    """Has one loaded model encode prompts, remembering the latest."""

    def __init__(self, components: Components) -> None:
        self._components = components
        unseen = components.unseen_options if isinstance(components, SeesLess) else ()
        self._seen = [field.name for field in fields(TextOptions) if field.compare and field.name not in unseen]
        self._encoded: OrderedDict[_Key, tuple[Conditioning, ...]] = OrderedDict()

    def prompt(self, text: str, how: Reading) -> tuple[Part, ...]:
        """The parts of a prompt, network tags taken out."""
        return tuple(self._part(part.text, part.weight, how.options, how) for part in composition(text))

    def negative(self, text: str, how: Reading) -> Part:
        """A negative prompt is no composition."""
        return self._part(text, 1.0, replace(how.options, negative=True), how)

    def empty(self, how: Reading) -> Conditioning:
        """Of no text."""
        return self._texts(("",), how.options, how.networks)[0]

    def _part(self, text: str, weight: float, options: TextOptions, how: Reading) -> Part:
        entries = schedule(text, how.calls, old=how.old_editing, first_pass_steps=how.first_calls)
        texts = self._texts(tuple(entry.text for entry in entries), options, how.networks)
        return Part(weight, tuple(entry.until for entry in entries), texts)

    def _texts(
        self, texts: tuple[str, ...], options: TextOptions, networks: tuple[Hashable, ...]
    ) -> tuple[Conditioning, ...]:
        key = (texts, tuple(getattr(options, name) for name in self._seen), networks)
        if key not in self._encoded:
            encoded = self._components.encode(texts, options)
            if not isinstance(encoded, Conditioning) or any(len(t) != len(texts) for t in encoded.tensors.values()):
                raise ContractError(message("it did not return a Conditioning with a row for each text"))
            self._encoded[key] = tuple(row(encoded, index) for index in range(len(texts)))
        self._encoded.move_to_end(key)
        while len(self._encoded) > 1 and sum(size(c) for kept in self._encoded.values() for c in kept) > _KEPT:
            self._encoded.popitem(last=False)
        return self._encoded[key]
