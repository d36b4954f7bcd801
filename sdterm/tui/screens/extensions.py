"""Extensions: what others wrote, how each stands, and getting more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from rich.text import Text
from textual import work
from textual.binding import BindingType

from sdterm.core.extensions.install.listing import Listed, listed
from sdterm.core.text import printable
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.language import said, tr
from sdterm.tui.screens.pick import Ask, Type
from sdterm.tui.screens.table import TableScreen
from sdterm.tui.widgets.invitation import empty_list
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from sdterm.api import Entry, Extension
    from sdterm.core.extensions.install.install import Proposal

R = TypeVar("R")


def _far(extension: Extension) -> Listed:
    """One of another machine's host."""
    came: Literal["package", "by hand"] = "package" if extension.origin == "package" else "by hand"
    return Listed(slug=extension.slug, state="off" if extension.state == "off" else "on", came=came)


class ExtensionsScreen(TableScreen["Listed"]):
    """Extensions by name: whether each serves, and why not."""

    tab = "go_extensions"
    scopes = ("extensions",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("extensions")]

    def __init__(self) -> None:
        super().__init__()
        self._standing: dict[str, Extension] = {}

    def columns(self) -> Iterable[tuple[str, int]]:
        return (tr("Name"), 20), (tr("Version"), 7), (tr("From"), 9), (tr("State"), 20), (tr("Gives"), 60)

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        standing = await self.ask(calls.extensions())
        found = (
            [_far(each) for each in standing or ()]
            if self.shell.settings["connect"]
            else await self._do(lambda: listed(self.shell.settings.root))
        )
        if found is None or standing is None:
            return
        self._standing = {extension.slug: extension for extension in standing}
        self.show(found, self.table.cursor_row, tr("Extensions  {number}", number=len(found)))

    def empty(self) -> Text:
        about = tr("Extensions add samplers, schedulers, upscalers, image formats, languages and more.")
        here = [
            (self.shell.key("install_extension"), tr("Install an extension")),
            ("sdterm ext new", tr("in a shell begins one of your own")),
        ]
        far = [("sdterm ext install", tr("in a shell on that machine installs one"))]
        keys = far if self.shell.settings["connect"] else here
        return empty_list(self.table, tr("No extensions"), about, keys)

    def row(self, item: Listed) -> tuple[str, ...]:
        came = {"by hand": tr("by hand"), "installed": tr("installed"), "package": tr("package")}
        standing = self._standing.get(item.slug)
        gives = ", ".join(standing.gives) if standing else ""
        return (
            printable(item.slug, 40),
            item.version or "-",
            came[item.came],
            self._state(item),
            printable(gives, 200),
        )

    def _state(self, item: Listed) -> str:
        """What it does, with a sign where something is wrong."""
        if item.state == "waiting":
            return tr("? changed: approve it")
        standing = self._standing.get(item.slug)
        if standing is None:
            words = {"off": tr("off"), "gone": tr("! its files are missing"), "on": tr("data alone")}
            return words.get(item.state, tr("! does not run"))
        return {
            "serving": tr("serves"),
            "stale": tr("! an older version"),
            "failed": tr("! does not run"),
            "aside": tr("! set aside"),
            "off": tr("off"),
        }[standing.state]

    def about(self, item: Listed) -> Iterable[str]:
        standing = self._standing.get(item.slug)
        if message := (standing.message if standing else "") or item.why:
            yield printable(said(message), 500)
        if standing and standing.gives:
            yield printable(", ".join(standing.gives), 300)
        if item.description:
            yield printable(item.description, 300)
        yield printable(item.location or item.source, 300)

    def selected(self) -> None:
        self.action_switch_extension()

    def happened(self, entry: Entry) -> None:
        from sdterm.events import ExtensionChanged

        if isinstance(entry.event, ExtensionChanged):
            self._load()

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_switch_extension(self) -> None:
        if item := self.chosen():
            self._switch(item.slug, item.state == "off")

    @work
    async def _switch(self, slug: str, on: bool) -> None:
        from sdterm.core.extensions.install.manage import switch

        await self._do(lambda: switch(self.shell.settings.root, slug, on))
        self._load()

    def action_install_extension(self) -> None:
        def typed(source: str | None) -> None:
            if source:
                self._install(source.strip())

        self.app.push_screen(
            Type(tr("Install an extension"), hint=tr("A git or archive URL, a path, or a package's name")), typed
        )

    @work
    async def _install(self, source: str) -> None:
        from sdterm.core.extensions.install.install import prepare_install

        await self._agree(await self._do(lambda: prepare_install(self.shell.settings.root, source, self._report)))

    def action_trust_extension(self) -> None:
        if item := self.chosen():
            self._trust(item.slug)

    @work
    async def _trust(self, slug: str) -> None:
        from sdterm.core.extensions.install.install import prepare_trust

        await self._agree(await self._do(lambda: prepare_trust(self.shell.settings.root, slug, self._report)))

    async def _agree(self, proposal: Proposal | None) -> None:
        """Show what would be done, and do it if that is agreed to."""
        from sdterm.core.extensions.install.install import discard
        from sdterm.core.extensions.install.summary import told

        if proposal is None:
            return
        if proposal.unchanged:
            await asyncio.to_thread(discard, proposal)
            self.say(tr("{name} is up to date.", name=proposal.slug))
            return
        deed = tr("approve it") if proposal.in_place else tr("install it")
        agreed = False
        try:
            key = await self.app.push_screen_wait(Ask(proposal.slug, told(proposal), [("y", deed)]))
            agreed = key == "y"
        finally:
            if not agreed:
                await asyncio.to_thread(discard, proposal)
        if agreed:
            begin(self.app, self._apply, proposal)  # which goes on though this screen is closed

    async def _apply(self, proposal: Proposal) -> None:
        from sdterm.core.extensions.install.install import apply

        def do() -> str:
            apply(proposal, self._report)
            return tr("{name} is there.", name=proposal.slug)

        if done := await self._do(do):
            self.shell.say(done)
        for screen in {self, self.app.screen}:  # another one since a language was chosen
            if isinstance(screen, ExtensionsScreen) and screen.is_running:
                screen.up()

    def action_remove_extension(self) -> None:
        item = self.chosen()
        if not item:
            return
        slug = item.slug

        def answered(key: str | None) -> None:
            if key == "y":
                self._remove(slug)

        said = tr("What was installed is deleted; files that you changed or added are kept.")
        self.app.push_screen(Ask(tr("Remove {name}?", name=slug), [said], [("y", tr("remove it"))]), answered)

    @work
    async def _remove(self, slug: str) -> None:
        from sdterm.core.extensions.install.manage import remove

        await self._do(lambda: remove(self.shell.settings.root, slug, self._report))
        self._load()

    def _report(self, sentence: str) -> None:
        """Progress, from the thread that works."""
        self.app.call_from_thread(self.shell.say, sentence)

    async def _do(self, act: Callable[[], R]) -> R | None:
        """Do something slow in a thread; None if it was refused, which is said."""
        from sdterm.core.extensions import ExtensionError
        from sdterm.core.extensions.install.records import RecordsError
        from sdterm.core.names import UnknownNameError

        try:
            return await asyncio.to_thread(act)
        except (ExtensionError, RecordsError, UnknownNameError) as error:
            self.shell.say("! " + said(str(error)))
            return None
