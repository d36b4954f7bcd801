"""What an image's prompts call: LoRAs and hypernetworks by tags, embeddings by their names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pydantic import BaseModel, ConfigDict

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.library.checkpoints import Library, ModelFileError
from sdterm.core.library.networks import find_network, format_of
from sdterm.core.names import UnknownNameError
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.embeddings import find_embeddings
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.networks import ROLES, NetworkTag, extract, name_and_strength
from sdterm.core.prompt.schedule import schedule
from sdterm.events import Text
from sdterm.hooks import ModelFamily, Pipeline, PluginError, Strength
from sdterm.messages import message
from sdterm.request import GenerationRequest

_FULL = Strength()
_UNUSABLE = (UnknownNameError, ModelFileError, PluginError, OSError)


class NetworkPlan(BaseModel):
    """A network of an image."""

    model_config = ConfigDict(frozen=True)

    role: str
    """`lora`, `hypernet` or `embedding`."""
    name: str
    """As the prompt calls it."""
    sha256: str
    """Of its file."""
    short_hash: str = ""
    """As infotexts have it; empty for what has none there."""
    text: float = 1.0
    unet: float = 1.0
    rank: int | None = None

    @property
    def strength(self) -> Strength:
        return Strength(self.text, self.unet, self.rank)


class Unapplied(BaseModel):
    """A tag that does nothing, and why."""

    model_config = ConfigDict(frozen=True)

    tag: str
    reason: Text


WordGroup = tuple[NetworkPlan, ...]
"""The embeddings in what is encoded at once: a prompt's part with all its edits."""


@dataclass(frozen=True)
class Networks:
    """Looks up what prompts call."""

    library: Library
    plugins: PluginSet
    tapped: bool = False
    """Whether a pipeline draws, whose own loader reads LoRAs."""

    def called(
        self, prompt: str, request: GenerationRequest
    ) -> tuple[str, tuple[NetworkPlan, ...], tuple[Unapplied, ...]]:
        """(the prompt with the tags that settings add, its networks, tags that do nothing). Tags of a kind stand
        together, in the order in which the kinds are first called, as A1111 has it."""
        if request.disable_networks:
            return prompt, (), ()
        prompt = self._with_settings(prompt, request)
        by_role: dict[str, dict[str, list[NetworkTag]]] = {}
        unapplied = []
        for tag in extract(prompt)[1]:
            if role := ROLES.get(tag.kind):
                by_role.setdefault(role, {}).setdefault(tag.kind, []).append(tag)
            else:
                unapplied.append(Unapplied(tag=str(tag), reason=message("There are no networks of this type.")))
        networks: list[NetworkPlan] = []
        for role, kinds in by_role.items():
            found, lost = self._of_role(role, [tag for tags in kinds.values() for tag in tags])
            networks += found
            unapplied += lost
        return prompt, tuple(networks), tuple(unapplied)

    def _with_settings(self, prompt: str, request: GenerationRequest) -> str:
        there = extract(prompt)[1]
        for kind, name in (("lora", request.lora), ("hypernet", request.hypernetwork)):
            named = any(ROLES.get(tag.kind) == kind and tag.args[0] == name for tag in there)
            if name not in ("", "None") and not named:
                prompt += f"<{kind}:{name}:{request.network_multiplier}>"
        return prompt

    def _of_role(self, role: str, tags: Sequence[NetworkTag]) -> tuple[list[NetworkPlan], list[Unapplied]]:
        """Of two tags with one name both act as strongly as the last. One whose strength cannot be read turns all of
        its role off, as in A1111."""
        asked: list[tuple[NetworkTag, str, Strength]] = []
        for tag in tags:
            try:
                asked.append((tag, *name_and_strength(tag.args)))
            except ValueError:
                reason = message(
                    "{tag} has a strength that is not a number, so all networks of this type are off.", tag=tag
                )
                return [], [Unapplied(tag=str(each), reason=reason) for each in tags]
        last = {name: strength for _, name, strength in asked}
        found, lost = [], []
        for tag, name, _ in asked:
            try:
                found.append(self._plan(role, name, last[name]))
            except _UNUSABLE as error:
                lost.append(Unapplied(tag=str(tag), reason=str(error)))
        return found, lost

    def _plan(self, role: str, name: str, strength: Strength = _FULL) -> NetworkPlan:
        """Raises UnknownNameError, ModelFileError, PluginError, OSError."""
        file = find_network(self.library, role, name)
        if not self.tapped:
            format_of(file, role, self.plugins)
        elif role != "lora":
            raise PluginError(message("{name} is not a LoRA, and this model takes only LoRAs.", name=name))
        short_hash = self.library.short_hash(file)
        return NetworkPlan(
            role=role,
            name=name,
            sha256=self.library.sha256(file.path),
            short_hash=short_hash if role != "hypernet" else "",
            text=strength.text,
            unet=strength.text if role == "hypernet" else strength.unet,
            rank=strength.rank,
        )

    def words(
        self,
        prompt: str,
        negative_prompt: str,
        request: GenerationRequest,
        calls: int,
        family: ModelFamily | Pipeline,
        first_calls: int | None = None,
    ) -> tuple[tuple[WordGroup, ...], tuple[Unapplied, ...]]:
        """(the embeddings in what a prompt, without its tags, and a negative prompt come to; those that cannot be used,
        whose names are words). They are in the order in which A1111 writes them: what was encoded last first, and it
        begins with the negative prompt. first_calls: in a second pass, those of the first."""
        if isinstance(family, Pipeline) or not family.tokenize:
            return (), ()
        texts = [negative_prompt, *(part.text for part in composition(prompt))]
        unusable: dict[str, Unapplied] = {}
        entries = [schedule(t, calls, old=request.old_prompt_editing, first_pass_steps=first_calls) for t in texts]
        read = [[entry.text for entry in each] for each in entries]
        groups = [self._group(each, request, family.tokenize, unusable) for each in read]
        return tuple(group for group in reversed(groups) if group), tuple(unusable.values())

    def _group(
        self,
        entries: Sequence[str],
        request: GenerationRequest,
        tokenize: Callable[[str], Sequence[int]],
        unusable: dict[str, Unapplied],
    ) -> WordGroup:
        looked_in = _bare("\n".join(entries))
        names = {name: _tokens(tokenize, name) for name in self._embeddings if _bare(name) in looked_in}
        read = ([entry] if request.emphasis == "None" else [piece.text for piece in pieces(entry)] for entry in entries)
        found = [each.name for texts in read for text in texts for each in find_embeddings(tokenize(text), names)]
        planned = []
        for name in dict.fromkeys(found):
            try:
                planned.append(self._plan("embedding", name))
            except _UNUSABLE as error:
                unusable[name] = Unapplied(tag=name, reason=str(error))
        return tuple(planned)

    @cached_property
    def _embeddings(self) -> tuple[str, ...]:
        return self.library.names("embedding")


def _bare(text: str) -> str:
    """Without what tokens do not show."""
    return "".join(text.lower().split())


@lru_cache(maxsize=20_000)
def _tokens(tokenize: Callable[[str], Sequence[int]], name: str) -> tuple[int, ...]:
    return tuple(tokenize(name))
