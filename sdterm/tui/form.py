"""What stands in the form: its draft with all that can be taken back, and its values as a request has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sdterm.core.settings.settings import Settings
from sdterm.tui.draft import Draft, Undo
from sdterm.tui.fields import DEFAULTS
from sdterm.tui.language import tr


class Form:
    """The state of the Generate screen.

    settings: as they are now. own: what the model that values name has values of its own for. changed: is called after
    each change, with whether the fields do not show it yet.
    """

    def __init__(
        self,
        draft: Draft,
        settings: Callable[[], Settings],
        changed: Callable[[bool], object],
        own: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda values: {},
    ) -> None:
        self._undo = Undo(draft)
        self._settings, self._changed, self._own = settings, changed, own

    @property
    def draft(self) -> Draft:
        return self._undo.now

    def values(self) -> dict[str, Any]:
        """Every parameter as it stands: the form's over the settings' over the model's own over the defaults."""
        given = {name: value for name, value in self.draft.fields.items() if value not in (None, "")}
        said = {**self._settings().job_fields(), **given}
        return {**DEFAULTS, **self._own(said), **said}

    def plain(self, model: str | None = None) -> dict[str, Any]:
        """What they are that the form does not say, with that model or with its own."""
        settings = self._settings().job_fields()
        chosen = model or self.draft.fields.get("model") or settings.get("model")
        return {**DEFAULTS, **self._own({"model": chosen}), **settings}

    @property
    def seed(self) -> int | None:
        """The seed that is locked; None if each job has its own."""
        try:
            seed = int(self.values()["seed"])
        except ValueError:
            return None
        return seed if seed != -1 else None

    def request_fields(self) -> dict[str, Any]:
        """What `make_request` takes."""
        return {**self._settings().job_fields(), **self.draft.request_fields()}

    def change(self, draft: Draft, name: str = "", *, what: str = "") -> None:
        """The form was changed; it can be taken back by that name. what: the field that is typed in, if one is."""
        if draft != self.draft:
            self._undo.change(draft, name or tr("the last change"), time.monotonic(), what)
            self._changed(not what)

    def back(self) -> str | None:
        """Take back the last change: its name; None if there is none."""
        return self._turned(self._undo.back())

    def forth(self) -> str | None:
        """Do again what was taken back last: its name; None if there is nothing."""
        return self._turned(self._undo.forth())

    def _turned(self, name: str | None) -> str | None:
        if name is not None:
            self._changed(True)
        return name

    def fill(self, fields: Mapping[str, Any], name: str = "") -> None:
        """Put request fields into the form; those that are as they would be without are left out."""
        plain = self.plain(fields.get("model"))
        said = {key: None if plain.get(key, ...) == value else value for key, value in fields.items()}
        self.change(self.draft.but(**said), name)
