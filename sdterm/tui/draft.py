"""What stands in the form: a value, kept on disk while it is written, with everything that can be taken back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILE = "draft.json"
_STEPS_BACK = 500
_PAUSE = 1.0  # seconds without typing after which what follows is taken back by itself


@dataclass(frozen=True)
class Draft:
    """The fields of a request as they were typed: text, perhaps no number yet."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Request field → value; those that are not there are as the settings say."""

    def value(self, name: str) -> Any:
        """A request field's value; None if it is not given."""
        if name in ("prompt", "negative_prompt"):
            return getattr(self, name)
        return self.fields.get(name)

    def but(self, **changes: Any) -> "Draft":
        """The same with some request fields changed; None takes one out."""
        texts = {name: changes.pop(name) for name in ("prompt", "negative_prompt") if name in changes}
        fields = {name: value for name, value in {**self.fields, **changes}.items() if value is not None}
        return replace(self, fields=fields, **texts)

    def request_fields(self) -> dict[str, Any]:
        """What `make_request` takes, over the settings' own values."""
        given = {name: value for name, value in self.fields.items() if value != ""}
        return {**given, "prompt": self.prompt, "negative_prompt": self.negative_prompt}


def load(root: Path) -> Draft:
    """The draft that was left; an empty one if there is none that can be read."""
    try:
        content = json.loads((root / FILE).read_text(encoding="utf-8"))
        prompt, negative = str(content["prompt"]), str(content["negative_prompt"])
        fields = dict(content["fields"])
        return Draft(prompt, negative, fields)
    except (OSError, ValueError, LookupError, TypeError):
        return Draft()


def save(root: Path, draft: Draft) -> None:
    """Keep it. A disk that is full loses nothing that was kept before; raises OSError."""
    from sdterm.core.files import write_atomically

    content = {
        "prompt": draft.prompt,
        "negative_prompt": draft.negative_prompt,
        "fields": dict(draft.fields),
    }
    write_atomically(root / FILE, json.dumps(content, ensure_ascii=True, indent=1).encode())


@dataclass(frozen=True)
class Step:
    """A change that can be taken back."""

    draft: Draft
    """As it was before."""
    name: str
    """What changed, as the user is told."""


@dataclass
class Undo:
    """The changes that led to this draft and, once some were taken back, those after it."""

    now: Draft
    before: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    _at: float = float("-inf")
    _what: str = ""

    def change(self, draft: Draft, name: str, at: float, what: str = "") -> None:
        """Take in a change at a time in seconds. what: the field that is typed in; quick changes of one are one."""
        if draft == self.now:
            return
        if not (what and what == self._what and at - self._at < _PAUSE):
            self.before = [*self.before[-_STEPS_BACK:], Step(self.now, name)]
        self.after.clear()
        self.now, self._what, self._at = draft, what, at

    def back(self) -> str | None:
        """Go to the draft before: the name of what was taken back, or None if there is nothing."""
        return self._turn(self.before, self.after)

    def forth(self) -> str | None:
        """Do again what was taken back last: its name, or None if there is nothing."""
        return self._turn(self.after, self.before)

    def _turn(self, source: list[Step], target: list[Step]) -> str | None:
        if not source:
            return None
        step = source.pop()
        target.append(Step(self.now, step.name))
        self.now, self._what = step.draft, ""
        return step.name
