"""The workstation: the application that holds the screens together."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import WorkerFailed

from sdterm.core.config import SETTINGS, Settings
from sdterm.core.language import LanguageError, tr, use
from sdterm.core.names import printable
from sdterm.tui import draft as drafts
from sdterm.tui import state as states
from sdterm.tui import themes
from sdterm.tui.actions import bindings
from sdterm.tui.draft import Draft, Undo
from sdterm.tui.fields import DEFAULTS, Field, field_of
from sdterm.tui.keymap import KeymapError, clashes, keys_of, read_keymap, shown
from sdterm.tui.link import Link
from sdterm.tui.messages import Happened, HostLost, HostStarting, HostUp
from sdterm.tui.ordered import OrderedKeys
from sdterm.tui.picture.support import protocol
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import Mode, PictureView
from sdterm.tui.reader import Reader
from sdterm.tui.screens.generate import GenerateScreen
from sdterm.tui.screens.room import Room
from sdterm.tui.state import Run, State
from sdterm.tui.widgets.bars import Note, StatusLine

if TYPE_CHECKING:
    from sdterm.client import Client
    from sdterm.core.jobs import Entry
    from sdterm.core.registry import PluginSet

T = TypeVar("T")

_KEEP_AFTER = 0.5  # seconds after which a changed draft is on the disk
_STATUS_EVERY = 0.25  # seconds: a line that changes ten times a second costs 2 KB/s
_TWICE = 1.0  # seconds within which a second Esc stops the job
VARIATIONS, VARIED = 5, 0.15
"""How many variations are drawn at once, and how much of other noise they have if the form does not say."""


class Workstation(OrderedKeys[None], PictureApp[None], inherit_bindings=False):
    """What `sdterm` opens."""

    TITLE = "sdterm"
    CSS_PATH = "sdterm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("anywhere"),
        Binding("ctrl+c", "copy_selection", show=False),
        Binding("tab", "screen.focus_next", show=False),
        Binding("shift+tab", "screen.focus_previous", show=False),
    ]
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = False  # the action is ours: the palette's own module is read when it is opened
    SCREENS: ClassVar[dict[str, Callable[[], Screen[Any]]]] = {
        "gallery": lambda: _room("gallery", "GalleryScreen"),
        "queue": lambda: _room("queue", "QueueScreen"),
        "models": lambda: _room("models", "ModelsScreen"),
        "settings": lambda: _room("settings", "SettingsScreen"),
        "help": lambda: _room("help", "HelpScreen"),
    }

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.undo = Undo(drafts.load(settings.root))
        self.state = State()
        self.link = Link(settings, self.post_message)
        self.reader = Reader(settings, self.link, self.values)
        self.forever = False
        self.models: list[str] = []
        self._desk = GenerateScreen()
        self._names: PluginSet | None = None
        self._jobs: list[int] = []  # those asked for here, the newest last
        self._stop_after = False
        self._escaped = float("-inf")
        self._keep: Timer | None = None
        self._status_due = False
        self._last_seed: int | None = None
        self._notes: list[str] = []  # said once there is somewhere to say it
        if trouble := themes.choose(self, settings["theme"]):
            self._notes.append(trouble)
        self._speak(settings["language"])
        self._read_keys(settings["keymap"])

    # --- coming and going --------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[Any]:
        return self._desk

    def on_mount(self) -> None:
        for number in (signal.SIGHUP, signal.SIGTERM):  # the line was cut: what was typed is kept
            asyncio.get_running_loop().add_signal_handler(number, self._leave)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.hear_keys()
        self.link.open()
        for note in self._notes:
            self.say(note)

    def _leave(self) -> None:
        self.keep_draft()
        self.link.close()
        self.exit()

    def on_unmount(self) -> None:
        self.keep_draft()
        self.link.close()

    def _handle_exception(self, error: Exception) -> None:
        """A defect ends a command, or at worst the interface, and never what is drawn. What a programmer wants to know
        goes to a file."""
        if self.is_headless:  # a test wants to know
            super()._handle_exception(error)
            return
        from sdterm.tui.defect import note

        said = note(self.settings.root, error)
        if isinstance(error, WorkerFailed):
            self.say("! " + said)
        else:
            self.keep_draft()
            self.panic(said)

    def _read_keys(self, name: str) -> None:
        try:
            keymap = read_keymap(name)
        except KeymapError as error:
            keymap = {}
            self._notes.append(str(error))
        self.keys = keys_of(keymap)
        self._notes += map(str, clashes(keymap))
        if keymap:
            self.set_keymap({action: keys for action, keys in keymap.items() if action in self.keys})

    def key(self, action: str) -> str:
        """How the first key of an action is written."""
        return shown(self.keys[action].split(",")[0])

    # --- the form ----------------------------------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        return self.undo.now

    def values(self) -> dict[str, Any]:
        """Every parameter as it stands: the form's over the settings' over the defaults."""
        given = {name: value for name, value in self.draft.fields.items() if value not in (None, "")}
        return {**DEFAULTS, **self.settings.job_fields(), **given}

    def change(self, draft: Draft, what: str = "") -> None:
        """The form was changed, in the field `what` or (without) by a command; it can be taken back."""
        if draft == self.draft:
            return
        self.undo.change(draft, what, time.monotonic())
        if not what:
            self._desk.show(draft)
        if self._keep is None:
            self._keep = self.set_timer(_KEEP_AFTER, self.keep_draft)

    def keep_draft(self) -> None:
        """Write the draft to disk."""
        if self._keep is not None:
            self._keep.stop()
            self._keep = None
            try:
                drafts.save(self.settings.root, self.draft)
            except OSError as error:
                self.say(tr("The draft cannot be kept on disk: {error}.", error=error.strerror or error))

    def action_undo(self) -> None:
        self._show_or_say(self.undo.back(), tr("Nothing to take back."))

    def action_redo(self) -> None:
        self._show_or_say(self.undo.forth(), tr("Nothing was taken back."))

    def _show_or_say(self, draft: Draft | None, otherwise: str) -> None:
        if draft is None:
            self.say(otherwise)
            return
        self._desk.show(draft)
        if self._keep is None:
            self._keep = self.set_timer(_KEEP_AFTER, self.keep_draft)

    def quick_fields(self) -> list[Field]:
        """The parameters pinned above the form, by `quicksettings_list`."""
        from sdterm.core.quicksettings import quick
        from sdterm.tui.fields import quick_field

        found, missing = quick(self.settings["quicksettings_list"])
        self._notes += missing
        return [quick_field(name) for name in found]

    # --- talking to the host -----------------------------------------------------------------------------------------

    async def ask(self, question: Callable[[Client], T]) -> T | None:
        """What the host answers; None once the user was told why it does not."""
        try:
            return await self.link.call(question)
        except Exception as error:
            from sdterm.client import HostError, RefusedError

            if not isinstance(error, HostError | RefusedError):
                raise
            if isinstance(error, RefusedError) and (field := error.problem.field):
                self._desk.focus_field(field_of(field.removeprefix("request.")))
            self.say(str(error))
            return None

    def say(self, text: str) -> None:
        """Tell something in one line, on whatever screen is open."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Room) and screen.is_mounted:
                screen.say(text)
                return

    def _mention(self, text: str) -> None:
        """Tell something, unless there is something else to read."""
        if not any(note.text for note in self._desk.query(Note)):
            self._desk.say(text)

    def on_host_starting(self, message: HostStarting) -> None:
        self._become(State(host="starting"))

    async def on_host_up(self, message: HostUp) -> None:
        health = message.health
        self._become(State(host="up").counted(health.queue))
        for notice in health.notices:
            self.say(notice)
        for room in self._open_rooms():
            room.up()
        if (models := await self.ask(lambda host: host.models())) is not None:
            self.models = [model.name for model in models]
            self._desk.show_placeholders(self.models[0] if self.models else "")
            self._greet([model.embedded for model in models])

    def _greet(self, embedded: list[bool]) -> None:
        if all(embedded):
            from sdterm.core.dataroot import CHECKPOINTS

            folder = self.settings.root / CHECKPOINTS
            self._mention(tr("Demo model only. SD 1.x checkpoints go to {folder}", folder=folder))

    def on_host_lost(self, message: HostLost) -> None:
        self._become(State(host="lost"))
        self.say(message.reason)

    def on_happened(self, message: Happened) -> None:
        from sdterm.tui import progress

        entry = message.entry
        self._become(progress.after(self.state, entry))
        for room in self._open_rooms():
            room.happened(entry)
        if isinstance(entry.event, progress.CHANGES_QUEUE):
            self.run_worker(self._count(), group="count", exclusive=True)
        self._react(entry)

    async def _count(self) -> None:
        if (queue := await self.ask(lambda host: host.queue())) is not None:
            self._become(self.state.counted(queue))

    def _open_rooms(self) -> list[Room]:
        screens = [self._desk, *self._installed_screens.values()]
        return [room for room in screens if isinstance(room, Room) and room.is_mounted]

    def _become(self, state: State) -> None:
        if state == self.state:
            return
        self.state = state
        if not self._status_due:
            self._status_due = True
            self.set_timer(_STATUS_EVERY, self._show_status)

    def _show_status(self) -> None:
        self._status_due = False
        for screen in self.screen_stack[-1:]:  # none once the workstation closes
            screen.query(StatusLine).refresh()

    def status(self) -> list[str]:
        """The parts of the status line."""
        values = self.values()
        seed = tr("seed random") if str(values["seed"]) == "-1" else tr("seed LOCK")
        if self.forever:
            seed += " " + tr("forever")
        model = values.get("model") or (self.models[0] if self.models else "")
        return states.words(self.state, str(model), seed)

    def run_of(self, job: int | None) -> Run | None:
        """What is known of a job that is drawn now."""
        return next((run for run in self.state.runs if run.job == job), None)

    def _react(self, entry: Entry) -> None:
        """What follows from an event for whoever sits here."""
        from sdterm.events import Cancelled, Done, Failed, Image, Interrupted, Paused, Resumed, Waiting, Warning

        job, event = entry.job, entry.event
        match event:
            case Image(seed=seed):
                self._last_seed = seed
                if self._stop_after and job is not None:
                    self._stop_after = self.forever = False
                    self.run_worker(self.ask(lambda host: host.cancel(job)))
            case Done(images=images, seconds=seconds):
                self.say(
                    tr(
                        "#{job} done: {images} picture(s) in {time}.",
                        job=job,
                        images=images,
                        time=states.clock(seconds) if seconds >= 10 else f"{seconds:.1f}s",
                    )
                )
                self._ring()
                if self.forever and self._jobs and job == self._jobs[-1]:
                    self.action_generate()
            case Failed() | Waiting():
                self.forever = False
                self._fail(job, event)
            case Interrupted(message=message):
                self.say(tr("The engine died and comes back; #{job} goes on. ({message})", job=job, message=message))
            case Resumed(calls=calls):
                self.say(tr("#{job} goes on: {calls} calls of the network came from the tape.", job=job, calls=calls))
            case Warning(message=text):
                self.say("! " + text)
            case Cancelled(images=images):
                self.say(tr("#{job} stopped; {images} finished picture(s) are saved.", job=job, images=images))
            case Paused(images=images):
                self.say(tr("#{job} waits; {images} picture(s) are finished.", job=job, images=images))

    def _ring(self) -> None:
        match self.settings["notify"]:
            case "bell":
                self.bell()
            case "osc9":
                self.write_to_terminal("\x1b]9;sdterm: done\x07")

    def picture_mode(self) -> Mode:
        """How pictures are shown here."""
        return protocol(self.settings["preview"], os.environ)

    def _fail(self, job: int | None, event: Any) -> None:
        from sdterm.tui.remedies import remedies

        said = f"#{job}: {event.message} {event.advice}".strip()
        self.say("! " + said)
        if job in self._jobs and event.event == "failed":
            self.offer_remedies(job, said, remedies(event.code, self.values()))

    def offer_remedies(self, job: int | None, said: str, found: list[tuple[str, Mapping[str, Any]]]) -> None:
        """Tell what happened to a job, and let a key draw it again another way."""
        from sdterm.tui.screens.pick import Ask

        if not found or job is None:
            return
        answers = [(str(number), words) for number, (words, _) in enumerate(found, 1)]
        answers.append(("enter", tr("try again with 1")))

        def answered(key: str | None) -> None:
            if key is not None:
                number = 1 if key == "enter" else int(key)
                self.run_worker(self._draw_otherwise(job, found[number - 1][1]))

        self.push_screen(Ask(tr("#{job} stopped", job=job), [said], answers), answered)

    async def _draw_otherwise(self, job: int, changes: Mapping[str, Any]) -> None:
        details = await self.ask(lambda host: host.job(job))
        if details is not None:
            fields = details.request.model_dump(mode="json") | {
                name: value(details.request) if callable(value) else value for name, value in changes.items()
            }
            await self.submit(fields)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def action_generate(self) -> None:
        self._desk.collect()
        self.run_worker(self._generate())

    async def _generate(self, **changes: Any) -> None:
        fields = {**self.settings.job_fields(), **self.draft.request_fields(), **changes}
        if not str(fields["prompt"]).strip():
            self.say(tr("There is nothing to draw yet: write a prompt."))
            self.action_go_generate()
            self._desk.focus_field("prompt")
            return
        if await self.submit(fields):
            self.run_worker(self._remember(self.draft.prompt, self.draft.negative_prompt))

    async def submit(self, fields: Mapping[str, Any]) -> bool:
        """Queue a job; whether it could be."""
        from sdterm.core.jobs import Submission
        from sdterm.core.output import saving_of
        from sdterm.request import RequestError, make_request

        try:
            request = make_request(**fields)
        except RequestError as error:
            name = str(error).split(maxsplit=1)[0]
            self._desk.focus_field(field_of(name))
            self.say(str(error).removesuffix(".") + self.settings.blame(name) + ".")
            return False
        several = request.batch_size * request.batch_count > 1
        if self.settings["save_grid"] and several:
            request = request.model_copy(update={"grid": True})
        submission = Submission(request=request, saving=saving_of(self.settings))
        if self.state.host != "up":
            self.say(tr("Queued as soon as the engine is there."))
        job = await self.ask(lambda host: host.submit(submission))
        if job is None:
            return False
        self._jobs.append(job.id)
        self.say(tr("#{job} is queued.", job=job.id))
        return True

    async def _remember(self, prompt: str, negative: str) -> None:
        from sdterm.core.history import FILE, Entry, append

        entry = Entry(prompt, negative, time.time())
        try:
            await asyncio.to_thread(append, self.settings.root / FILE, entry)
        except OSError as error:
            self.say(tr("The history of prompts cannot be written: {error}.", error=error.strerror or error))

    def action_stop(self) -> None:
        now = time.monotonic()
        runs = [run for run in self.state.runs if run.job in self._jobs] or [*self.state.runs]
        if not runs:
            self.say(tr("Nothing is drawn now."))
            return
        job = runs[-1].job
        if now - self._escaped > _TWICE:
            self._escaped = now
            self.say(tr("{key} again stops #{job}.", key=self.key("stop"), job=job))
            return
        self.forever, self._escaped = False, float("-inf")
        self.run_worker(self.ask(lambda host: host.cancel(job)))

    def action_stop_after(self) -> None:
        if not self.state.runs:
            self.forever = False
            self.say(tr("Nothing is drawn now."))
            return
        self._stop_after = True
        self.say(tr("Stops after this picture."))

    def action_forever(self) -> None:
        self.forever = not self.forever
        self._show_status()
        self.say(tr("Draws until you stop it.") if self.forever else tr("Draws no more after this."))
        if self.forever and not self.state.runs:
            self.action_generate()

    def action_repeat_last(self) -> None:
        self.run_worker(self._repeat_last())

    async def _repeat_last(self) -> None:
        if not self._jobs:
            page = await self.ask(lambda host: host.jobs(limit=1))
            self._jobs = [job.id for job in page.jobs] if page else []
        if not self._jobs:
            self.say(tr("Nothing was drawn yet."))
            return
        last = self._jobs[-1]
        if (details := await self.ask(lambda host: host.job(last))) is not None:
            await self.submit(details.request.model_dump(mode="json"))

    # --- seeds -------------------------------------------------------------------------------------------------------

    def _seed(self) -> int | None:
        """The seed that is locked; None if each job has its own."""
        try:
            seed = int(self.values()["seed"])
        except ValueError:
            return None
        return seed if seed >= 0 else None

    def action_lock_seed(self) -> None:
        if self._seed() is not None:
            self.change(self.draft.but(seed=None))
            self.say(tr("Each job gets a seed of its own."))
        elif self._last_seed is None:
            self.say(tr("There is no seed to keep: nothing was drawn yet."))
        else:
            self.change(self.draft.but(seed=str(self._last_seed)))
            self.say(tr("The seed {seed} stays.", seed=self._last_seed))
        self._show_status()

    def action_reroll(self) -> None:
        if self._seed() is not None:
            self.change(self.draft.but(seed=str(random.randrange(2**32))))
        self.action_generate()

    def action_walk_up(self) -> None:
        self._walk(1)

    def action_walk_down(self) -> None:
        self._walk(-1)

    def _walk(self, by: int) -> None:
        seed = self._seed() if self._seed() is not None else self._last_seed
        if seed is None:
            self.say(tr("There is no seed to walk from: nothing was drawn yet."))
            return
        self.change(self.draft.but(seed=str(max(0, seed + by))))
        self._show_status()
        self.action_generate()

    def action_variations(self) -> None:
        self.run_worker(self._vary_last())

    async def _vary_last(self) -> None:
        page = await self.ask(lambda host: host.pictures(limit=20))
        picture = next((p for p in page.pictures if p.number >= 0), None) if page else None
        if picture:
            self.draw_variations(picture.infotext)
        else:
            self.say(tr("Nothing was drawn yet."))

    def draw_variations(self, infotext: str) -> None:
        """Draw pictures that are like this one."""
        self.run_worker(self._draw(infotext, vary=True))

    def draw_again(self, infotext: str) -> None:
        """Draw this picture again."""
        self.run_worker(self._draw(infotext, vary=False))

    async def _draw(self, infotext: str, *, vary: bool) -> None:
        fields = await self._recalled(infotext)
        if fields is None:
            return
        if vary:
            strength = self.values()["variation_strength"]
            fields |= {
                "variation_strength": strength if float(strength or 0) > 0 else VARIED,
                "variation_seed": -1,
                "batch_count": VARIATIONS,
            }
        await self.submit({**self.settings.job_fields(), **fields})

    # --- pictures and texts back into the form -----------------------------------------------------------------------

    async def names(self) -> PluginSet | None:
        """What plugins offer, by name."""
        if self._names is None and (catalogue := await self.ask(lambda host: host.catalogue())) is not None:
            self._names = catalogue.names()
        return self._names

    async def _recalled(self, infotext: str) -> dict[str, Any] | None:
        from sdterm.core.library import library_of
        from sdterm.core.recall import recall
        from sdterm.core.styles import StylesError, styles_of

        names = await self.names()
        if names is None:
            return None
        try:
            styles = styles_of(self.settings)
            # a model is found by its name or a hash that is known: reading gigabytes is nothing a key may start
            found = await asyncio.to_thread(recall, infotext, names, library_of(self.settings), styles, read_at_most=0)
        except StylesError as error:
            self.say(str(error))
            return None
        for warning in found.warnings.values():
            self.say("! " + warning)
        return dict(found.fields)

    def fill(self, infotext: str, what: str) -> None:
        """Put what an infotext says into the form: all, seed, prompt or parameters."""
        self.run_worker(self._fill(infotext, what))

    async def _fill(self, infotext: str, what: str) -> None:
        fields = await self._recalled(infotext)
        if fields is None:
            return
        texts = {"prompt", "negative_prompt", "styles"}
        wanted = {
            "all": fields.keys(),
            "seed": {"seed", "variation_seed", "variation_strength"} & fields.keys(),
            "prompt": texts & fields.keys(),
            "parameters": fields.keys() - texts - {"seed"},
        }[what]
        self.change(self._filled({name: fields[name] for name in wanted}))
        self.action_go_generate()
        self.say(
            tr(
                "In the form now; {key} draws it, {undo} takes it back.",
                key=self.key("generate"),
                undo=self.key("undo"),
            )
        )

    def _filled(self, fields: Mapping[str, Any]) -> Draft:
        """The draft with these request fields; those that are as they would be without are left out."""
        plain = {**_defaults(), **self.settings.job_fields()}
        return self.draft.but(
            **{name: None if plain.get(name, ...) == value else value for name, value in fields.items()}
        )

    def take_request(self, fields: Mapping[str, Any]) -> None:
        """Put a job's request into the form."""
        self.change(self._filled(fields))
        self.action_go_generate()

    def paste(self, text: str) -> bool:
        """Whether a pasted text was an infotext or a picture's path, and not for the editor."""
        from sdterm.tui.pasted import infotext_in

        infotext = infotext_in(text)
        if infotext is None:
            return False
        self.run_worker(self._preview_fill(infotext))
        return True

    async def _preview_fill(self, infotext: str) -> None:
        from sdterm.tui.pasted import changes
        from sdterm.tui.screens.pick import Ask

        fields = await self._recalled(infotext)
        if fields is None:
            return
        lines = changes(
            {**self.values(), "prompt": self.draft.prompt, "negative_prompt": self.draft.negative_prompt}, fields
        )

        def answered(key: str | None) -> None:
            if key:
                self.change(self._filled(fields))
                self.action_go_generate()

        self.push_screen(
            Ask(tr("This would change"), lines or [tr("nothing")], [("enter", tr("put it into the form"))]), answered
        )

    def action_paste(self) -> None:
        from sdterm.tui.screens.pick import Type

        def typed(text: str | None) -> None:
            if text and not self.paste(text):
                self.say(tr("That is no infotext, and no picture that has one."))

        self.push_screen(Type(tr("A picture's path, or an infotext")), typed)

    def copy(self, text: str, what: str) -> None:
        """Give the terminal's clipboard a text (OSC 52)."""
        self.copy_to_clipboard(text)
        self.say(tr("Copied the {what}. (In tmux: set -s set-clipboard on.)", what=what))

    def action_copy_selection(self) -> None:
        from textual.widgets import Input, TextArea

        focused = self.focused
        selected = focused.selected_text if isinstance(focused, TextArea | Input) else ""
        if selected:
            self.copy(selected, tr("selection"))
        else:
            self.say(tr("{key} leaves sdterm; what is drawn goes on.", key=self.key("quit")))

    # --- choosing ----------------------------------------------------------------------------------------------------

    def pick_for(self, field: Field) -> None:
        """Let a value of a form's field be chosen from a list."""
        self.run_worker(self._pick_for(field))

    async def _pick_for(self, field: Field) -> None:
        rows = await self._offers(field.offers)
        if not rows:
            return
        now = field.read(self.values())
        at = next((i for i, (name, _) in enumerate(rows) if name == now), 0)
        title = tr(field.label)

        def picked(number: int | None) -> None:
            if number is not None:
                self.change(self.draft.but(**field.write(rows[number][0])))

        self.choose(title, [f"{name:<28} {note}".rstrip() for name, note in rows], picked, at)

    def choose(self, title: str, rows: Iterable[str], then: Callable[[int | None], None], at: int = 0) -> None:
        """Let one of some rows be chosen."""
        from sdterm.tui.screens.pick import Pick

        self.push_screen(Pick(title, [*rows], chosen=at), then)

    async def _offers(self, kind: str) -> list[tuple[str, str]]:
        match kind:
            case "model":
                models = await self.ask(lambda host: host.models())
                return [(model.name, f"{model.size / 1e9:.2f} GB") for model in models or []]
            case "sampler" | "scheduler":
                catalogue = await self.ask(lambda host: host.catalogue())
                offers = catalogue.of(kind.capitalize()) if catalogue else ()
                first = [("Automatic", tr("the sampler's own"))] if kind == "scheduler" else []
                return first + [(offer.label, offer.note) for offer in offers]
            case "style":
                from sdterm.core.styles import StylesError, styles_of

                try:
                    styles = styles_of(self.settings)
                except StylesError as error:
                    self.say(str(error))
                    return []
                if not styles:
                    self.say(tr("There are no styles: {path} would have them.", path=self.settings.root / "styles.csv"))
                return [(name, printable(prompt, 60)) for name, (prompt, _) in styles.items()]
            case _:
                return [(size, "") for size in ("512x512", "512x768", "768x512", "640x640", "768x768", "128x128")]

    def action_history(self) -> None:
        self.run_worker(self._history())

    async def _history(self) -> None:
        from sdterm.core.history import FILE, read

        entries = await asyncio.to_thread(read, self.settings.root / FILE)
        if not entries:
            self.say(tr("No prompt was drawn yet."))
            return

        def picked(number: int | None) -> None:
            if number is not None:
                entry = entries[number]
                self.change(self.draft.but(prompt=entry.prompt, negative_prompt=entry.negative))
                self.action_go_generate()

        self.choose(tr("Prompts of before"), (entry.prompt.replace("\n", " ") for entry in entries), picked)

    def action_older_prompt(self) -> None:
        self.run_worker(self._turn(1), group="turn")

    def action_newer_prompt(self) -> None:
        self.run_worker(self._turn(-1), group="turn")

    async def _turn(self, by: int) -> None:
        from sdterm.core.history import FILE, read

        entries = await asyncio.to_thread(read, self.settings.root / FILE)
        prompts = [entry.prompt for entry in entries]
        here = prompts.index(self.draft.prompt) if self.draft.prompt in prompts else -1
        if 0 <= here + by < len(entries):
            entry = entries[here + by]
            self.change(self.draft.but(prompt=entry.prompt, negative_prompt=entry.negative))

    # --- going about -------------------------------------------------------------------------------------------------

    def go(self, name: str) -> None:
        """Open a screen by its name; the form is the one below all of them."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if name != "generate":
            self.push_screen(name)

    def action_go_generate(self) -> None:
        self.go("generate")

    def action_go_gallery(self) -> None:
        self.go("gallery")

    def action_go_queue(self) -> None:
        self.go("queue")

    def action_go_models(self) -> None:
        self.go("models")

    def action_go_settings(self) -> None:
        self.go("settings")

    def action_go_help(self) -> None:
        self.go("help")

    def action_all_parameters(self) -> None:
        from sdterm.tui.screens.parameters import ParametersScreen

        self.push_screen(ParametersScreen())

    def action_jump(self) -> None:
        from sdterm.tui.screens.jump import Jump

        self.push_screen(Jump(self.screen))

    def action_command_palette(self) -> None:
        from sdterm.tui.palette import palette

        self.push_screen(palette())

    def action_preview_mode(self) -> None:
        modes = ["auto", "off", "text", "half", "kitty", "sixel"]

        def picked(number: int | None) -> None:
            if number is not None:
                self.settings = self.settings.with_value("preview", modes[number], "this session")
                self._show_pictures_so()

        self.choose(tr("How pictures are shown"), modes, picked, modes.index(self.settings["preview"]))

    def _show_pictures_so(self) -> None:
        for room in self._open_rooms():
            for view in room.query(PictureView):
                view.mode = self.picture_mode()

    def action_show_preview(self) -> None:
        self._desk.toggle_class("-picture-only")
        self.action_go_generate()

    def action_edit_outside(self) -> None:
        from sdterm.tui.outside import edit

        field = "negative_prompt" if self.focused and self.focused.id == "negative" else "prompt"
        with self.suspend():
            text, trouble = edit(self.draft.value(field))
        self.refresh(repaint=True, layout=True)
        if trouble:
            self.say(trouble)
        self.change(self.draft.but(**{field: text}))

    async def action_quit(self) -> None:
        mine = [run.job for run in self.state.runs]
        if not mine:
            self._leave()
            return
        from sdterm.tui.screens.pick import Ask

        def answered(key: str | None) -> None:
            if key in ("enter", "l"):
                self._leave()
            elif key == "s":
                self.run_worker(self._stop_and_leave(mine))

        answers = [("enter", tr("leave; it goes on without you")), ("s", tr("stop it, then leave"))]
        self.push_screen(Ask(tr("#{job} is being drawn", job=mine[-1]), [], answers), answered)

    async def _stop_and_leave(self, jobs: list[int]) -> None:
        for job in jobs:
            await self.ask(lambda host, job=job: host.cancel(job))  # type: ignore[misc]
        self._leave()

    # --- settings ----------------------------------------------------------------------------------------------------

    def write_setting(self, key: str, text: str | None) -> str:
        """Write a setting to config.toml (None takes it out) and live by it. Returns what is wrong, or nothing."""
        from sdterm.core.config import ConfigError
        from sdterm.core.config_file import unset, write_setting

        default = next(setting.default for setting in SETTINGS if setting.key == key)
        try:
            if text is None:
                self.settings = unset(self.settings, key, default)
            else:
                self.settings = write_setting(self.settings, key, text)
        except (ConfigError, OSError) as error:
            return str(error)
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

    def _speak(self, language: str | None) -> None:
        try:
            use(language, themes.language_folders(self.settings))
        except LanguageError as error:
            self._notes.append(str(error))

    def change_language(self, language: str | None) -> None:
        """Speak another language from now on: everything on the screens is written anew."""
        self._speak(language)
        self.settings = self.settings.with_value("language", language, "this session")
        self.go("generate")
        for name in self.SCREENS:
            if isinstance(self._installed_screens.get(name), Screen):
                self.uninstall_screen(name)
        self._installed_screens.update(self.SCREENS)
        self._rebuild()

    def _rebuild(self) -> None:
        """Make the form anew, for settings that decide what it has."""
        self._notes.clear()
        self._desk.refresh(recompose=True)
        self.call_after_refresh(self._say_notes)

    def _say_notes(self) -> None:
        self._desk.up()
        for note in self._notes:
            self.say(note)


def _room(module: str, name: str) -> Screen[Any]:
    import importlib

    screen: Screen[Any] = getattr(importlib.import_module(f"sdterm.tui.screens.{module}"), name)()
    return screen


def _defaults() -> dict[str, Any]:
    """Request fields as they are without settings."""
    from sdterm.request import GenerationRequest

    texts = ("prompt", "negative_prompt")
    return {name: field.default for name, field in GenerationRequest.model_fields.items() if name not in texts}
