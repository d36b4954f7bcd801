"""The application as its screens and widgets see it, and the form as what works behind it does."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from textual.app import App
from textual.worker import Worker

from sdterm.core.languages.translations import LanguageSource
from sdterm.core.settings.settings import Settings
from sdterm.tui.calls import HostCall
from sdterm.tui.fields import Field
from sdterm.tui.form import Form
from sdterm.tui.picture.support import Protocol as PictureProtocol
from sdterm.tui.picture.support import Support
from sdterm.tui.state import State
from sdterm.tui.timers import LateTimers

if TYPE_CHECKING:
    from sdterm.api import Picture

T = TypeVar("T")


class Shell(Protocol):
    """What the workstation's parts may ask of the application; what Textual gives they take from `app`."""

    settings: Settings
    state: State
    notes: list[str]
    """Said once there is somewhere to say it."""
    keys: dict[str, str]
    """Action → its keys, by Textual's names."""

    marks: dict[int, Picture]
    """The pictures that are marked, in that order, by their ids."""
    helped: Sequence[str]
    """The places that help is about: where the cursor was when it was asked for."""
    helped_field: Field | None
    """The field of the form in which it was."""

    @property
    def form(self) -> Form: ...

    @property
    def machine(self) -> str: ...

    def say(self, text: str, *, standing: bool = False) -> None: ...
    def unsay(self, text: str) -> None: ...
    def keep_said(self, text: str) -> None: ...
    def go(self, name: str) -> None: ...
    def key(self, action: str) -> str: ...
    def copy(self, text: str, what: str) -> None: ...
    def compare_with_source(self, pictures: Sequence[Picture], files: Mapping[int, bytes]) -> None: ...
    def status(self) -> Sequence[str]: ...
    def show_status(self) -> None: ...

    def picture_mode(self) -> PictureProtocol: ...
    def picture_support(self) -> Support: ...
    def terminal_has_answered(self) -> Awaitable[None]: ...
    def write_to_terminal(self, sequence: str) -> None: ...

    def write_setting(self, key: str, text: str | None) -> str: ...
    def write_template(self) -> str: ...
    def language_sources(self) -> list[LanguageSource]: ...
    def change_language(self, language: str | None) -> None: ...


class Desk(Protocol):
    """The screen with the form, for what works behind it."""

    form: Form

    @property
    def app(self) -> App[object]: ...

    async def ask(self, call: HostCall[T]) -> T | None: ...
    def run_worker(self, work: Any, *, group: str, exclusive: bool) -> Worker[Any]: ...
    def collect(self) -> str: ...
    def values(self) -> dict[str, Any]: ...
    def learned(self) -> None: ...
    def show_values(self) -> None: ...
    def focus_field(self, name: str) -> None: ...
    def go_on_writing(self) -> None: ...
    def network_key(self) -> str: ...


class HasShell(LateTimers):
    """A screen or widget of the workstation."""

    async def ask(self, call: HostCall[T]) -> T | None:
        """Post the call, and wait for what the host answers; None once the user was told why it does not."""
        return await call.answer if self.post_message(call) else None

    @property
    def shell(self) -> Shell:
        """The application, as far as it is known here."""
        return cast(Shell, self.app)
