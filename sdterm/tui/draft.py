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


@dataclass
class Undo:
    """The drafts before this one and, once some were taken back, those after it."""

    now: Draft
    before: list[Draft] = field(default_factory=list)
    after: list[Draft] = field(default_factory=list)
    _at: float = float("-inf")
    _what: str = ""

    def change(self, draft: Draft, what: str, at: float) -> None:
        """Take in a change of the field `what` at a time in seconds: quick ones of one field are taken back at once."""
        if draft == self.now:
            return
        if not (what and what == self._what and at - self._at < _PAUSE):
            self.before = [*self.before[-_STEPS_BACK:], self.now]
        self.after.clear()
        self.now, self._what, self._at = draft, what, at

    def back(self) -> Draft | None:
        """The draft before; None if there is none."""
        if not self.before:
            return None
        self.after.append(self.now)
        self.now, self._what = self.before.pop(), ""
        return self.now

    def forth(self) -> Draft | None:
        """The draft that was taken back last; None if there is none."""
        if not self.after:
            return None
        self.before.append(self.now)
        self.now, self._what = self.after.pop(), ""
        return self.now
