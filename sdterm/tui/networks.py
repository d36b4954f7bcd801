"""The networks and embeddings that prompts may call: offered while one types, and for one that is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING

from sdterm.core.names import normal
from sdterm.core.prompt.networks import ROLES, fits, is_callable, tags
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.api import LibraryFile
    from sdterm.api import Networks as Names
    from sdterm.core.prompt.completion import Tag, Tags

KINDS: Mapping[str, str] = {kind.tag: kind.id for kind in MODEL_KINDS if kind.tag}
"""The word of a tag → the library's kind."""
OFFERED = ("lora", "hypernetwork", "embedding", "vae", "upscaler")
"""The kinds of which something is offered."""
_BEGUN = re.compile(r"<(?:(\w+):)?([^:<>]*)")
_CALLED_LAST = re.compile(r"<\w+:[^<>]+>(?=[\s,]*$)")
_MOST = 50  # networks offered at once
_EMBEDDINGS = 3  # embeddings offered at once, among other words
_COMPARED = 2000  # characters before the cursor that are looked at for a network


@dataclass(frozen=True)
class Networks:
    """What the library has. family: that of the model that is drawn with, by its label."""

    files: Mapping[str, Sequence[LibraryFile]]
    family: str = ""

    def complete(self, before: str, word: str) -> list[Tag]:
        """What a word may become that stands behind that text: tags of networks, the names of embeddings, or the words
        that the network wants which was called last."""
        if word.startswith("<"):
            return [*self._networks(word)]
        return [*self._embeddings(word)] if word.strip() else [*self._words(before)]

    def _networks(self, word: str) -> Iterator[Tag]:
        from sdterm.core.prompt.completion import Tag

        begun = _BEGUN.fullmatch(word)
        if not begun:
            return
        given, name = begun[1], begun[2]
        for tag, kind in KINDS.items():
            is_kind = given is None and tag.startswith(name.lower())  # `<lo` may be the kind, or a network's name
            if given is not None and ROLES.get(given.lower()) != tag:
                continue
            for file in self._found(kind, "" if is_kind else name, _MOST):
                if called := self._name(tag, file):
                    text = f"<{given or tag}:{called}:{1.0 if file.weight is None else file.weight:g}>"
                    yield Tag(text, text=text, note=self.note(file))

    def _embeddings(self, word: str) -> Iterator[Tag]:
        from sdterm.core.prompt.completion import Tag, escaped

        for file in self._found("embedding", word, _EMBEDDINGS):
            yield Tag(file.name, text=escaped(file.name), note=f"{tr('embedding')} {self.note(file)}".rstrip())

    def _words(self, before: str) -> Iterator[Tag]:
        from sdterm.core.prompt.calling import with_words
        from sdterm.core.prompt.completion import Tag

        last = _CALLED_LAST.search(before[-_COMPARED:])
        file = self.called(last[0]) if last else None
        if file and file.activation and with_words(before, file.activation) != before:
            yield Tag(file.activation, text=file.activation, note=tr("its words"))

    def called(self, tag: str) -> LibraryFile | None:
        """The file that a tag calls, by its name or its maker's."""
        for found in tags(tag):
            name, files = found.args[0], self.files.get(KINDS.get(ROLES.get(found.kind, ""), ""), ())
            return next((f for f in files if f.name == name), next((f for f in files if f.alias == name), None))
        return None

    def near(self, kind: str, name: str) -> list[LibraryFile]:
        """The files of a kind, those first whose names are most alike."""
        wanted = normal(name)
        return sorted(self.files.get(kind, ()), key=lambda file: -_alike(file, wanted))

    def row(self, file: LibraryFile) -> str:
        """A line about a file, in a list of others."""
        return f"{file.name:<40} {self.note(file)}".rstrip()

    def note(self, file: LibraryFile) -> str:
        """The models that a file is for, with a mark if the one that is drawn with is none of them."""
        return f"{'' if fits(file.base, self.family) else '! '}{file.base or ''}"

    def _name(self, tag: str, file: LibraryFile) -> str | None:
        """What a tag may call it."""
        if is_callable(tag, file.name):
            return file.name
        shared = sum(other.alias == file.alias for other in self.files[file.kind]) > 1  # and so calls none of them
        return file.alias if file.alias and not shared and is_callable(tag, file.alias) else None

    def _found(self, kind: str, begun: str, most: int) -> list[LibraryFile]:
        named = self._named[kind]
        if not begun.strip():
            return [*named.values()][:most]
        return [named[tag.name] for tag in self._indexes[kind].complete(begun, most)]

    @cached_property
    def _named(self) -> Mapping[str, Mapping[str, LibraryFile]]:
        """Kind → name → file; of several with one name the first."""
        named: dict[str, dict[str, LibraryFile]] = {kind: {} for kind in OFFERED}
        for kind, names in named.items():
            for file in self.files.get(kind, ()):
                names.setdefault(file.name, file)
        return named

    @cached_property
    def _indexes(self) -> Mapping[str, Tags]:
        from sdterm.core.prompt.completion import Tag, Tags

        return {
            kind: Tags(Tag(file.name, aliases=(file.alias,) if file.alias else ()) for file in self.files.get(kind, ()))
            for kind in OFFERED
        }


def with_shipped(files: Mapping[str, list[LibraryFile]], names: Names | None) -> dict[str, list[LibraryFile]]:
    """The lists of files with what prompts may call though it is no file of the user's: the demo model's networks."""
    from sdterm.api import LibraryFile

    called = {"lora": names.lora, "hypernetwork": names.hypernet, "embedding": names.embeddings} if names else {}
    whole = {kind: [*files[kind]] for kind in called if kind in files}
    for kind, there in whole.items():
        known = {file.name for file in there}
        there += (LibraryFile(kind=kind, name=name, path="", size=0) for name in called[kind] if name not in known)
    return whole


def _alike(file: LibraryFile, wanted: str) -> float:
    names = (normal(name) for name in (file.name, file.alias) if name)
    return max((_alikeness(name, wanted) for name in names), default=0.0)


def _alikeness(name: str, wanted: str) -> float:
    """1 for the same name; one that begins like the other, or has it inside, is near."""
    if wanted and (wanted in name or name in wanted):
        return 0.9 + 0.1 * (name == wanted)
    return SequenceMatcher(None, name[:100], wanted[:100]).ratio()
