"""What stands in the form: its draft with all that can be taken back, and its values as a request has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sdterm.core.settings.settings import Settings
from sdterm.tui.draft import Draft, Undo
from sdterm.tui.fields import DEFAULTS


class Form:
    """The state of the Generate screen.

    settings: as they are now. changed: is called after each change, with whether the fields do not show it yet.
    """

    def __init__(self, draft: Draft, settings: Callable[[], Settings], changed: Callable[[bool], object]) -> None:
        self._undo = Undo(draft)
        self._settings, self._changed = settings, changed

    @property
    def draft(self) -> Draft:
        return self._undo.now

    def values(self) -> dict[str, Any]:
        """Every parameter as it stands: the form's over the settings' over the defaults."""
        given = {name: value for name, value in self.draft.fields.items() if value not in (None, "")}
        return {**DEFAULTS, **self._settings().job_fields(), **given}

    @property
    def seed(self) -> int | None:
        """The seed that is locked; None if each job has its own."""
        try:
            seed = int(self.values()["seed"])
        except ValueError:
            return None
        return seed if seed >= 0 else None

    def request_fields(self) -> dict[str, Any]:
        """What `make_request` takes."""
        return {**self._settings().job_fields(), **self.draft.request_fields()}

    def change(self, draft: Draft, what: str = "") -> None:
        """The form was changed, in the field `what` or (without) by a command; it can be taken back."""
        if draft != self.draft:
            self._undo.change(draft, what, time.monotonic())
            self._changed(not what)

    def back(self) -> bool:
        """Take back the last change; whether there was one."""
        return self._turned(self._undo.back())

    def forth(self) -> bool:
        """Do again what was taken back last; whether there was anything."""
        return self._turned(self._undo.forth())

    def _turned(self, draft: Draft | None) -> bool:
        if draft is not None:
            self._changed(True)
        return draft is not None

    def fill(self, fields: Mapping[str, Any]) -> None:
        """Put request fields into the form; those that are as they would be without are left out."""
        plain = {**DEFAULTS, **self._settings().job_fields()}
        self.change(
            self.draft.but(**{name: None if plain.get(name, ...) == value else value for name, value in fields.items()})
        )
