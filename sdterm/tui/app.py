"""The workstation: the application that holds the screens together."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on, work
from textual.actions import ActionParseResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import WorkerFailed

from sdterm.core.languages.translations import (
    LanguageError,
    LanguageSource,
    Pack,
    UnknownLanguageError,
    is_known,
    language_sources,
    packs_of,
)
from sdterm.core.settings.settings import SETTINGS_BY_KEY, Settings, is_owners
from sdterm.core.text import printable
from sdterm.messages import message, sentences
from sdterm.tui import calls, themes
from sdterm.tui.actions import BY_ID, actions_of, bindings
from sdterm.tui.alt_keys import hear_alt_keys
from sdterm.tui.answering import Answering
from sdterm.tui.calls import HostCall
from sdterm.tui.fields import Field
from sdterm.tui.form import Form
from sdterm.tui.keymap import KeymapError, bound, clashes, keys_of, read_keymap, shown
from sdterm.tui.language import counted, said, tr, use
from sdterm.tui.link import Link
from sdterm.tui.messages import (
    CompareWanted,
    DeleteWanted,
    DrawAgain,
    EmptyTrashWanted,
    Fill,
    FillRequest,
    Happened,
    HostLost,
    HostStarting,
    HostUp,
    MakeFrom,
    OfferRemedies,
    PickValue,
    RestoreWanted,
    WallWanted,
)
from sdterm.tui.ordered import OrderedKeys
from sdterm.tui.panes import scopes_of
from sdterm.tui.picture.asking import LIMIT, Answers, questions
from sdterm.tui.picture.cell import known_cell_size
from sdterm.tui.picture.remembered import recall, remember
from sdterm.tui.picture.support import Protocol, Support, support
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.said import MOST, Said, told
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.screens.generate import GenerateScreen
from sdterm.tui.state import State, words
from sdterm.tui.timers import LateTimers
from sdterm.tui.widgets.bars import KeyBar, Note, StatusLine
from sdterm.tui.widgets.tiles import Tiles
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from sdterm.api import Health, Picture
    from sdterm.tui.picture.driver import TerminalAnswered

_QUESTION = 0.5  # seconds between looks whether a question was answered
_PREPARING_EVERY = 0.5  # seconds between looks at what is done before a job's first step
_STATUS_EVERY = 0.25  # seconds: a line that changes ten times a second costs 2 KB/s


class Workstation(LateTimers, OrderedKeys[None], PictureApp[None], inherit_bindings=False):
    """What `sdterm` opens."""

    TITLE = "sdterm"
    CSS_PATH = "sdterm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("anywhere"),
        Binding("ctrl+c", "copy_selection", show=False),
        Binding("tab", "screen.focus_next", show=False),
        Binding("shift+tab", "screen.focus_previous", show=False),
        *(Binding(f"alt+{number}", f"recent_picture({number})", show=False) for number in range(1, 10)),
    ]
    ENABLE_COMMAND_PALETTE = False  # the action is ours: the palette's own module is read when it is opened
    SCREENS: ClassVar[dict[str, Callable[[], Screen[Any]]]] = {
        "gallery": lambda: _screen("gallery", "GalleryScreen"),
        "queue": lambda: _screen("queue", "QueueScreen"),
        "models": lambda: _screen("models", "ModelsScreen"),
        "settings": lambda: _screen("settings", "SettingsScreen"),
        "extensions": lambda: _screen("extensions", "ExtensionsScreen"),
        "help": lambda: _screen("help", "HelpScreen"),
    }

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        hear_alt_keys()
        self.settings = settings
        self.state = State()
        self.notes: list[str] = []  # said once there is somewhere to say it
        self.marks: dict[int, Picture] = {}
        self.desk = GenerateScreen(self)
        self.link = Link(settings, self.post_message)
        self.host = Answering(self.link, self.say, self.desk.focus_field)
        self._deleted: list[int] = []  # pictures, the newest last
        self.known = self.known._replace(heard=recall(settings.root, os.environ))
        self._said: deque[Said] = deque(maxlen=MOST)
        self._notices: list[str] = []  # of the host
        self._why_lost = ""  # the host
        self._copied = ""  # the text copied last
        self.helped: Sequence[str] = ()
        self.helped_field: Field | None = None
        self._status_due = False
        self._look: Timer | None = None  # at what is done before a job's first step
        self._was_running = False
        self._packs: tuple[Pack, ...] | None = None  # of languages that plugins bring, once the host has told them
        if trouble := themes.choose(self, settings["theme"]):
            self.notes.append(trouble)
        self._speak(settings["language"])
        self._read_keys(settings["keymap"])

    def get_css_variables(self) -> dict[str, str]:
        self.theme_variables = themes.variables(self.current_theme, super().get_css_variables())
        return self.theme_variables

    def update_styles(self, node: DOMNode, animate: bool = True) -> None:
        """As Textual's, but a widget that is not in the tree yet waits for it: it gets its styles there, and
        those that an `Input` asks for twice while it is made would be thrown away."""
        if node.parent is not None or node is self:
            super().update_styles(node, animate)

    @property
    def models(self) -> list[str]:
        """The names of the checkpoints, the one first that is used where none is named."""
        return [model.name for model in self.desk.filling.offers.models or ()]

    @property
    def form(self) -> Form:
        """What stands in the form, whatever screen is open."""
        return self.desk.form

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """As Textual's; keys that are heard anywhere do what the Generate screen can do, too. What is not to be had
        there is not done, by whatever key."""
        name = f"action_{action}".partition("(")[0]
        known = BY_ID.get(name.removeprefix("action_"))
        if known and known not in actions_of(self.settings):
            return False
        if default_namespace in (None, self) and not hasattr(self, name) and hasattr(self.desk, name):
            default_namespace = self.desk
        return await super().run_action(action, default_namespace, namespaces)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Paste) and not event.is_forwarded:
            from sdterm.tui.pasted import harmless

            event.text, dropped = harmless(event.text)
            if dropped:
                said = counted(
                    "One control character was removed from the pasted text.",
                    "{number} control characters were removed from the pasted text.",
                    dropped,
                )
                self.say(said)
        await super().on_event(event)

    # --- coming and going ---------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[Any]:
        return self.desk

    def on_mount(self) -> None:
        for number in (signal.SIGHUP, signal.SIGTERM):  # the line was cut: what was typed is kept
            asyncio.get_running_loop().add_signal_handler(number, self._end)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.hear_keys()
        self.link.open()
        self._know_terminal()
        for note in self.notes:
            self.say(note)

    @work(group="leave", exclusive=True)
    async def _leave(self) -> None:
        await self.terminal_has_answered()
        self._end()

    def _end(self) -> None:
        self.desk.keep_draft()
        self.link.close()
        self.exit()

    def pop_screen(self) -> AwaitComplete:
        if not self.is_screen_installed(self.screen):
            self._give_up(self.screen)
        return super().pop_screen()

    async def _replace_screen(self, screen: Screen[Any]) -> Screen[Any]:
        await screen._mounted_event.wait()  # a screen removed before it has its widgets fails in on_mount
        return await super()._replace_screen(screen)

    def _give_up(self, screen: Screen[Any]) -> None:
        """Cancel what a closing screen waits for: Textual removes its widgets before it cancels its workers."""
        for part in screen.walk_children(with_self=True):
            self.workers.cancel_node(part)

    def on_unmount(self) -> None:
        self.desk.keep_draft()
        self.link.close()

    async def action_quit(self) -> None:
        mine = [run.job for run in self.state.runs]
        if not mine:
            self._leave()
            return
        from sdterm.tui.screens.pick import Ask

        def answered(key: str | None) -> None:
            if key == "enter":
                self._leave()
            elif key == "s":
                self._ask_to_stop(mine)

        answers = [("enter", tr("leave, the job continues")), ("s", tr("stop the job and leave …"))]
        ask = Ask(tr("#{job} is running", job=mine[-1]), [], answers, otherwise=tr("stay"))
        self.push_screen(ask, answered)

    def _ask_to_stop(self, jobs: list[int]) -> None:
        from sdterm.tui.screens.pick import Ask

        def answered(key: str | None) -> None:
            if key:
                begin(self, self._stop_and_leave, jobs)

        numbers = ", ".join(f"#{job}" for job in jobs)
        lines = [tr("Finished images stay; the unfinished one is lost.")]
        answers = [("y", tr("stop the job and leave"))]
        self.push_screen(Ask(tr("Stop {jobs}?", jobs=numbers), lines, answers, otherwise=tr("stay")), answered)

    async def _stop_and_leave(self, jobs: list[int]) -> None:
        for job in jobs:
            await self.host.ask(calls.cancel(job))
        self._leave()

    def _handle_exception(self, error: Exception) -> None:
        """A defect ends a command, or at worst the interface, and never what is drawn. What a programmer wants to know
        goes to a file."""
        if self._exit:  # no defect: an app that is leaving mounts no widgets, and whoever needs them fails
            return
        if self.is_headless:  # a test wants to know
            super()._handle_exception(error)
            return
        from sdterm.tui.defect import note

        said = note(self.settings.root, error)
        if isinstance(error, WorkerFailed):
            self.say("! " + said)
        else:
            self.desk.keep_draft()
            self.panic(said)

    # --- the host -----------------------------------------------------------------------------------------------------

    def say(self, text: str, *, standing: bool = False) -> None:
        """Tell something in one line, on whatever screen is open. standing: as `BaseScreen.say` has it."""
        there = [s for s in reversed(self.screen_stack) if isinstance(s, BaseScreen) and s.is_mounted]
        if there:
            there[0].say(text, standing=standing)
        if not standing:
            for screen in self._open_screens():
                if screen not in there[:1]:
                    screen.outdate(text)

    def unsay(self, text: str) -> None:
        """Take that back, wherever it still stands."""
        for screen in self._open_screens():
            screen.unsay(text)

    def keep_said(self, text: str) -> None:
        """Keep a message among those that can be read again."""
        self._said.append(Said(time.time(), text))

    @on(HostCall)
    def _carry_out(self, call: HostCall[Any]) -> None:
        worker = begin(self, self.host.answer, call)
        call.answer.add_done_callback(lambda given: worker.cancel() if given.cancelled() else None)

    def on_host_starting(self, message: HostStarting) -> None:
        self._become(State(host="starting"))

    async def on_host_up(self, message: HostUp) -> None:
        from sdterm.tui.progress import looked_at

        health = message.health
        self.unsay(self._why_lost)  # it is back
        page = await self.host.ask(calls.jobs("running"))
        self._become(looked_at(State(host="up"), health, page.jobs if page else (), time.time()))
        if self.state.is_preparing:
            self._count()
        self._say_notices(health)
        for screen in self._open_screens():
            screen.up()
        self._read_models()

    @work(group="notices", exclusive=True)
    async def _read_notices(self) -> None:
        if (health := await self.host.ask(calls.health())) is not None:
            self._say_notices(health)

    def _say_notices(self, health: Health) -> None:
        """Those that were not said yet, as one text: the line for it has room for one. A page's user is not told: they
        are the owner's."""
        if self.settings["in_page"]:
            return
        token = health.share_token
        notices = [*health.notices, *([message("Its token, until this ends: {token}", token=token)] if token else [])]
        new = [notice for notice in notices if notice not in self._notices]
        self._notices = notices
        if new:
            self.say(sentences(*new))

    @work(group="models", exclusive=True)
    async def _read_models(self) -> None:
        if (models := await self.host.ask(calls.models())) is not None:
            self._greet([model.embedded for model in models])
        self._learn_languages()

    def _greet(self, embedded: list[bool]) -> None:
        if all(embedded) and not self.settings["connect"]:
            from sdterm.core.settings.paths import CHECKPOINTS

            folder = self.settings.root / CHECKPOINTS
            self._mention(tr("Demo model only. Checkpoints go to {folder}", folder=folder))

    def _mention(self, text: str) -> None:
        """Tell something, unless there is something else to read."""
        if not any(note.text for note in self.desk.query(Note)):
            self.desk.say(text, standing=True)

    def on_host_lost(self, message: HostLost) -> None:
        self._become(State(host="lost"))
        self._why_lost = message.reason
        self.say(message.reason, standing=True)

    def on_happened(self, message: Happened) -> None:
        from sdterm.events import ExtensionChanged, NoticesChanged
        from sdterm.tui import progress

        if self._exit:  # what is said to somebody who leaves is heard by nobody
            return
        entry = message.entry
        self._become(progress.after(self.state, entry))
        for screen in self._open_screens():
            screen.happened(entry)
        if isinstance(entry.event, progress.CHANGES_QUEUE):
            self._count()
        if isinstance(entry.event, ExtensionChanged):
            self._learn_languages()
        if isinstance(entry.event, NoticesChanged):
            self._read_notices()
        self.desk.drawing.react(entry)

    @work(group="count", exclusive=True)
    async def _count(self) -> None:
        from sdterm.tui.progress import looked_at

        # exclusive: an event that says more of the queue makes this look void, so that no job comes back that has ended
        health = await self.host.ask(calls.health())
        page = await self.host.ask(calls.jobs("running"))
        if health is not None and page is not None:
            self._become(looked_at(self.state, health, page.jobs, time.time()))
            if self.state.is_preparing and not self.state.loading:  # no event tells that a process is started
                if self._look is not None:
                    self._look.stop()
                self._look = self.set_timer(_PREPARING_EVERY, self._count)

    # --- the status line ----------------------------------------------------------------------------------------------

    def _become(self, state: State) -> None:
        if state == self.state:
            return
        self.state = state
        if not self._status_due:
            self._status_due = True
            self.set_timer(_STATUS_EVERY, self.show_status)

    def show_status(self) -> None:
        self._status_due = False
        for screen in self.screen_stack:  # none once the workstation closes; below a question it is seen, too
            screen.query(StatusLine).refresh()
            if bool(self.state.runs) != self._was_running:
                screen.query(KeyBar).refresh()
        self._was_running = bool(self.state.runs)

    def status(self) -> list[str]:
        """The parts of the status line."""
        values = self.form.values()
        seed = tr("seed random") if str(values["seed"]) == "-1" else tr("seed LOCK")
        if self.desk.drawing.forever:
            seed += " " + tr("forever")
        model = values.get("model") or (self.models[0] if self.models else "")
        return words(self.state, str(model), seed, self._machine)

    @property
    def machine(self) -> str:
        """The other machine that a host answered on; empty where it is this one, or a page's own."""
        return "" if self.state.host == "starting" else self._machine

    @property
    def _machine(self) -> str:
        target: str = "" if self.settings["in_page"] else self.settings["connect"] or ""
        return printable(target.partition("://")[2].rstrip("/") or target)

    # --- screens ------------------------------------------------------------------------------------------------------

    def go(self, name: str) -> None:
        """Open a screen by its name; the form is the one below all of them."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if name != "generate":
            self.push_screen(name)

    def _go_or_repaint(self, name: str) -> None:
        """The key of the screen that is open writes it anew."""
        before = self.screen
        self.go(name)
        if self.screen is before:
            self.repaint()

    def action_go_generate(self) -> None:
        if self.screen is self.desk and self.focused and self.focused.id == "prompt":
            self.repaint()
        self.go("generate")
        self.desk.focus_field("prompt")

    def action_go_gallery(self) -> None:
        self._go_or_repaint("gallery")

    def action_go_queue(self) -> None:
        self._go_or_repaint("queue")

    def action_go_models(self) -> None:
        self._go_or_repaint("models")

    def action_insert_network(self) -> None:
        """Choose a network for the prompt, and come back to it."""
        from sdterm.tui.screens.models import ModelsScreen

        self.go("models")
        if isinstance(self.screen, ModelsScreen):
            self.screen.call_after_refresh(self.screen.choose_for_prompt)

    def action_go_extensions(self) -> None:
        self._go_or_repaint("extensions")

    def action_go_settings(self) -> None:
        self._go_or_repaint("settings")

    def action_go_help(self) -> None:
        """The keys of the place where the cursor is; the same key goes back."""
        screen = self.screen
        if not isinstance(screen, BaseScreen):
            return
        if screen.tab == "go_help":
            self.action_go_back()
            return
        self.helped, self.helped_field = scopes_of(screen), getattr(screen.focused, "field", None)
        self.push_screen("help")

    def action_go_back(self) -> None:
        """From help to where it was asked for."""
        self.pop_screen()

    def action_all_parameters(self) -> None:
        from sdterm.tui.screens.parameters import ParametersScreen

        self.push_screen(ParametersScreen())

    def action_jump(self) -> None:
        from sdterm.tui.screens.jump import Jump

        self.push_screen(Jump(self.screen))

    async def action_command_palette(self) -> None:  # type: ignore[override] # awaited all the same
        from sdterm.tui.palette import Palette

        with self.batch_update():  # painted once it has its rows
            await self.push_screen(Palette(self.screen))

    def action_preview_mode(self) -> None:
        self._pick_way()
        if self.known.heard == Answers():  # it may only have been slow
            self._ask_terminal()

    def _pick_way(self) -> None:
        from sdterm.tui.screens.ways import CHOICES, PickWay

        def picked(number: int | None) -> None:
            if number is not None:
                self.settings = self.settings.with_value("preview", CHOICES[number], "this session")
                self._show_pictures_so()

        self.push_screen(PickWay(self.known, self.settings["preview"]), picked)

    @work(group="terminal")
    async def _know_terminal(self) -> None:
        """Ask tmux, and the terminal if it has not been asked before."""
        if os.environ.get("TMUX"):
            from sdterm.tui.picture.tmux import ask_tmux

            self.known = self.known._replace(tmux=await asyncio.to_thread(ask_tmux, os.environ))
            self._show_pictures_so()
        if self.known.heard is None and self._ask_terminal():
            self.set_timer(LIMIT, self._take_silence)

    def _ask_terminal(self) -> bool:
        return self.ask_terminal(questions(os.environ, cell_is_known=known_cell_size() is not None))

    def _take_silence(self) -> None:
        """It does not answer, it seems; if it does later, that counts."""
        if self.known.heard is None:
            self._take_answers(None)

    def on_terminal_answered(self, event: TerminalAnswered) -> None:
        if event.is_all:
            self._take_answers(event.answers)

    def _take_answers(self, answers: Answers | None) -> None:
        from sdterm.tui.screens.ways import PickWay

        before = self.picture_mode()
        self.known = self.known._replace(heard=answers or Answers())
        remember(self.settings.root, os.environ, answers)
        if self.picture_mode() != before:
            self._show_pictures_so()
        if answers and isinstance(self.screen, PickWay):
            self.pop_screen()
            self._pick_way()

    def picture_support(self) -> Support:
        """How pictures are shown here, and why."""
        return support(self.known, self.settings["preview"], among_text=True)

    def picture_mode(self) -> Protocol:
        """How pictures are shown here."""
        return self.picture_support().protocol

    def _show_pictures_so(self) -> None:
        for screen in self._open_screens():
            for view in screen.query(PictureView):
                view.mode = self.picture_mode()
            for tiles in screen.query(Tiles):
                tiles.put(tiles.pictures, tiles.at)

    def _open_screens(self) -> list[BaseScreen]:
        screens = dict.fromkeys((self.desk, *self._installed_screens.values(), *self.screen_stack))
        return [screen for screen in screens if isinstance(screen, BaseScreen) and screen.is_mounted]

    # --- what other screens want of the form --------------------------------------------------------------------------

    def on_fill(self, message: Fill) -> None:
        begin(self.desk, self.desk.filling.fill, message.infotext, message.part, message.picture)

    def on_fill_request(self, message: FillRequest) -> None:
        self.desk.filling.take(message.fields, tr("load job {number}", number=message.job))

    def on_pick_value(self, message: PickValue) -> None:
        self.desk.filling.pick(message.field)

    def on_draw_again(self, message: DrawAgain) -> None:
        self.desk.drawing.draw_again(message.infotext, vary=message.vary)

    def on_offer_remedies(self, message: OfferRemedies) -> None:
        self.desk.drawing.offer_remedies(message.job, message.said, message.found)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def on_marked(self) -> None:
        for screen in self._open_screens():
            screen.marked()

    def on_compare_wanted(self, message: CompareWanted) -> None:
        from sdterm.tui.screens.compare import CompareScreen

        self._open_over(CompareScreen(message.pictures))

    def on_wall_wanted(self, message: WallWanted) -> None:
        from sdterm.tui.screens.wall import WallScreen

        self._open_over(WallScreen(message.picture))

    def on_make_from(self, message: MakeFrom) -> None:
        begin(self, self.desk.make_from, message.picture, message.making)

    def compare_with_source(self, pictures: Sequence[Picture], files: Mapping[int, bytes]) -> None:
        """Show a picture in the place of the one that it was made from. files: of those that the gallery has not."""
        from sdterm.tui.screens.compare import CompareScreen

        self._open_over(CompareScreen(pictures, files, flips=True))

    def _open_over(self, screen: BaseScreen) -> None:
        """Open a screen over the others, as a part of the one that is open. One of its kind goes first, with all above
        it."""
        if any(isinstance(open_one, type(screen)) for open_one in self.screen_stack):
            while not isinstance(self.screen, type(screen)):
                self.pop_screen()
            self.pop_screen()
        self.push_screen(screen)

    def on_delete_wanted(self, message: DeleteWanted) -> None:
        begin(self, self._delete, message.picture)

    async def _delete(self, picture: Picture) -> None:
        if await self.host.ask(calls.delete_picture(picture.id)):
            self._deleted.append(picture.id)
            self.marks.pop(picture.id, None)
            self.on_marked()
            key = self.key("restore_picture")
            self.say(tr("Image {image} is in the trash; {key} restores it.", image=picture.id, key=key))

    def on_restore_wanted(self, message: RestoreWanted) -> None:
        if self._deleted:
            begin(self, self._restore, self._deleted.pop())
        else:
            self.say(tr("Nothing was deleted here since the start; sdterm gallery --restore brings others back."))

    async def _restore(self, picture: int) -> None:
        if await self.host.ask(calls.restore_picture(picture)):
            self.say(tr("Image {image} is restored.", image=picture))
        else:
            self._deleted.append(picture)

    def on_empty_trash_wanted(self, message: EmptyTrashWanted) -> None:
        begin(self, self._offer_to_empty_trash)

    async def _offer_to_empty_trash(self) -> None:
        from sdterm.tui.screens.pick import Ask

        if (there := await self.host.ask(calls.trash())) is None:
            return
        if not there:
            self.say(tr("The trash is empty."))
            return
        size = f"{sum(picture.size for picture in there) / 1e6:.1f}"
        lines = [counted("One image, {size} MB.", "{number} images, {size} MB.", len(there), size=size)]
        answers = [("y", tr("delete them permanently"))]

        def answered(key: str | None) -> None:
            if key:
                begin(self, self._empty_trash)

        self.push_screen(Ask(tr("Empty the trash?"), lines, answers, otherwise=tr("keep them")), answered)

    async def _empty_trash(self) -> None:
        if (emptied := await self.host.ask(calls.empty_trash())) is not None:
            self._deleted.clear()
            deleted = counted("One image is permanently deleted.", "{number} images are permanently deleted.", emptied)
            self.say(deleted)

    # --- the clipboard ------------------------------------------------------------------------------------------------

    def copy(self, text: str, what: str) -> None:
        """Give the terminal's clipboard a text (OSC 52); where it is known not to take it, show it to be selected."""
        self._copied = text
        self._copy(text, what)

    @work(group="copy", exclusive=True)
    async def _copy(self, text: str, what: str) -> None:
        from sdterm.tui.clipboard import refusal

        value = await asyncio.to_thread(refusal, os.environ)
        if value:
            self.say(
                tr(
                    "Not copied: tmux takes no text from programs (set-clipboard {value}). "
                    "`tmux set -s set-clipboard on` lets it.",
                    value=value,
                )
            )
            self._show_copied()
        else:
            self.copy_to_clipboard(text)
            self.say(
                tr(
                    "Sent the {what} to the terminal's clipboard. Not there? {key} shows it to be selected.",
                    what=what,
                    key=self.key("copy_by_hand"),
                )
            )

    def action_copy_by_hand(self) -> None:
        if self._copied:
            self._show_copied()
        else:
            self.say(tr("Nothing was copied yet: {key} copies an image's infotext.", key=self.key("copy_parameters")))

    def _show_copied(self) -> None:
        from sdterm.tui.screens.plain import Plain

        hint = f" {tr('Select the text with the terminal (tmux: prefix, then [). Esc goes back.')} "
        self.push_screen(Plain(self._copied, hint))

    def action_messages(self) -> None:
        from sdterm.tui.screens.plain import Plain

        hint = f" {tr('Messages, the newest first. Up and down scroll, Esc goes back.')} "
        now = [Said(time.time(), note.text) for note in self.screen.query(Note) if note.stands]
        self.push_screen(Plain(told([*self._said, *now]) or tr("No messages yet."), hint))

    @work(group="share", exclusive=True)
    async def action_share_address(self) -> None:
        if (health := await self.host.ask(calls.health())) is None:
            return  # that there is none is told already
        from sdterm.tui.screens.share import shared_by

        shared = shared_by(health)
        if isinstance(shared, str):
            self.say(shared)
        else:
            self.push_screen(shared)

    @work(group="suspend", exclusive=True)
    async def _suspend(self) -> None:
        await self.terminal_has_answered()
        self.action_suspend_process()

    def action_suspend(self) -> None:
        self.desk.keep_draft()
        self._suspend()

    def action_copy_selection(self) -> None:
        from textual.widgets import Input, TextArea

        focused = self.focused
        selected = focused.selected_text if isinstance(focused, TextArea | Input) else ""
        if selected:
            self.copy(selected, tr("selection"))
        elif self.state.runs:
            stop, leave = self.key("stop"), self.key("quit")
            self.say(
                tr("{stop} {stop} stops the job; {leave} leaves sdterm, and the job continues.", stop=stop, leave=leave)
            )
        else:
            self.say(tr("{key} leaves sdterm; the job continues.", key=self.key("quit")))

    # --- settings -----------------------------------------------------------------------------------------------------

    def write_setting(self, key: str, text: str | None) -> str:
        """Write a setting to config.toml (None takes it out) and live by it. Returns what is wrong, or nothing."""
        from sdterm.core.settings.file import unset, write_setting
        from sdterm.core.settings.settings import ConfigError

        if self.settings["in_page"] and is_owners(key):
            return tr("In a web page, no setting can be changed that steers the host or names a file.")
        try:
            if text is None:
                self.settings = unset(self.settings, key, SETTINGS_BY_KEY[key].default)
            else:
                self.settings = write_setting(self.settings, key, text)
        except (ConfigError, OSError) as error:
            return said(str(error))
        self._live_by(key)
        return ""

    def _live_by(self, key: str) -> None:
        match key:
            case "theme":
                if trouble := themes.choose(self, self.settings["theme"]):
                    self.say(trouble)
            case "language":
                self.change_language(self.settings["language"])
            case "keymap":
                self._read_keys(self.settings["keymap"])
                self.refresh_bindings()
            case "preview":
                self._show_pictures_so()
            case "gallery_columns" | "gallery_folded":
                pass  # the Gallery looks when it is opened
            case _:
                self._rebuild()

    def write_template(self) -> str:
        """Write the file that a translation starts from. Returns where it is, as a sentence."""
        from sdterm.tui.texts import template

        path = self.settings.root / "localizations" / "template.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template({}), encoding="utf-8")
        except OSError as error:
            return tr("{path} cannot be written: {error}.", path=path, error=error.strerror or error)
        return tr("Written to {path}: translate its right-hand sides and name it after the language.", path=path)

    def _read_keys(self, name: str) -> None:
        try:
            keymap = read_keymap(name)
        except KeymapError as error:
            keymap = {}
            self.notes.append(str(error))
        self.keys = keys_of(keymap)
        self.notes += map(str, clashes(keymap))
        if keymap:
            self.set_keymap(bound(keymap))

    def key(self, action: str) -> str:
        """How the first key of an action is written."""
        return shown(self.keys[action].split(",")[0])

    def language_sources(self) -> list[LanguageSource]:
        """Where translations are, as far as that is known."""
        return language_sources(self.settings, self._packs or ())

    def _speak(self, language: str | None) -> None:
        try:
            self.notes += use(language, self.language_sources())
        except UnknownLanguageError as error:
            use(None)
            if self._packs is not None:  # else the host may yet tell of a plugin that brings it
                self.notes.append(str(error))
        except LanguageError as error:
            self.notes.append(str(error))

    @work(group="languages", exclusive=True)
    async def _learn_languages(self) -> None:
        """Ask which languages plugins bring, and speak the one in use anew if that changes what it says."""
        catalogue = await self.host.ask(calls.catalogue())
        if catalogue is None:
            return
        while self.screen_stack and not isinstance(self.screen, BaseScreen):  # a question is answered first
            await asyncio.sleep(_QUESTION)
        if not self.screen_stack:  # the workstation is closing
            return
        before, self._packs = self._packs, packs_of(catalogue)
        language = self.settings["language"]
        packs, earlier = ([pack for pack in some or () if pack.language == language] for some in (self._packs, before))
        is_new = before is None and not is_known(language, self.language_sources())
        if packs != earlier or is_new:  # one that nobody has can be told only now
            self._speak_anew(language)

    def change_language(self, language: str | None) -> None:
        """Speak another language from now on."""
        self.settings = self.settings.with_value("language", language, "this session")
        self._speak_anew(language)

    def _speak_anew(self, language: str | None) -> None:
        """Write everything on the screens anew."""
        self.notes.clear()
        self._speak(language)
        tab = next(screen.tab for screen in reversed(self.screen_stack) if isinstance(screen, BaseScreen))
        self.go("generate")
        for name, make in self.SCREENS.items():
            if isinstance(screen := self._installed_screens.get(name), Screen):
                self._give_up(screen)
                place = screen.place() if isinstance(screen, BaseScreen) else None
                self.uninstall_screen(name)
                self._installed_screens[name] = partial(_screen_at, make, place)
        self.call_later(self._recompose)
        self.call_later(self.go, tab.removeprefix("go_"))

    def _rebuild(self) -> None:
        """Make the form anew, for settings that decide what it has."""
        self.notes.clear()
        self.call_later(self._recompose)

    async def _recompose(self) -> None:
        focused = self.desk.focused
        await self.desk.recompose()
        where = f"#{focused.id}" if focused and focused.id else "#prompt"
        for widget in self.desk.query(where):
            widget.focus()
        self.desk.up()
        for note in self.notes:
            self.say(note)


def _screen_at(make: Callable[[], Screen[Any]], place: object) -> Screen[Any]:
    """A screen made anew, with the user where they were in the one before."""
    screen = make()
    if place is not None and isinstance(screen, BaseScreen):
        screen.come_back(place)
    return screen


def _screen(module: str, name: str) -> Screen[Any]:
    import importlib

    screen: Screen[Any] = getattr(importlib.import_module(f"sdterm.tui.screens.{module}"), name)()
    return screen
