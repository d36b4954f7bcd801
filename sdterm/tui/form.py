"""The form: what stands in it, how it gets there, and how it is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from textual.timer import Timer

from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.tui import draft as drafts
from sdterm.tui.draft import Draft, Undo
from sdterm.tui.fields import DEFAULTS, Field, field_of, quick_field
from sdterm.tui.language import tr
from sdterm.tui.link import Link
from sdterm.tui.ordered import OrderedKeys
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.reader import PromptReader
from sdterm.tui.screens.generate import GenerateScreen
from sdterm.tui.screens.room import Room

if TYPE_CHECKING:
    from sdterm.client import Client
    from sdterm.core.extensions.registry import PluginSet

T = TypeVar("T")

_KEEP_AFTER = 0.5  # seconds after which a changed draft is on the disk


class Form(OrderedKeys[None], PictureApp[None], inherit_bindings=False):
    """An application with a form, a host to ask, and a line to tell things in."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.undo = Undo(drafts.load(settings.root))
        self.link = Link(settings, self.post_message)
        self.reader = PromptReader(settings, self.link, self.values)
        self.desk = GenerateScreen()
        self.notes: list[str] = []  # said once there is somewhere to say it
        self._names: PluginSet | None = None
        self._keep: Timer | None = None

    def key(self, action: str) -> str:
        """How the first key of an action is written."""
        raise NotImplementedError

    def action_go_generate(self) -> None:
        raise NotImplementedError

    # --- telling and asking -------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Tell something in one line, on whatever screen is open."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Room) and screen.is_mounted:
                screen.say(text)
                return

    async def ask(self, question: Callable[[Client], T]) -> T | None:
        """What the host answers; None once the user was told why it does not."""
        try:
            return await self.link.call(question)
        except Exception as error:
            from sdterm.client import HostError, RefusedError

            if not isinstance(error, HostError | RefusedError):
                raise
            if isinstance(error, RefusedError) and (field := error.problem.field):
                self.desk.focus_field(field_of(field.removeprefix("request.")))
            if said := str(error):
                self.say(said)
            return None

    # --- what stands there --------------------------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        return self.undo.now

    def values(self) -> dict[str, Any]:
        """Every parameter as it stands: the form's over the settings' over the defaults."""
        given = {name: value for name, value in self.draft.fields.items() if value not in (None, "")}
        return {**DEFAULTS, **self.settings.job_fields(), **given}

    def quick_fields(self) -> list[Field]:
        """The parameters pinned above the form, by `quicksettings_list`."""
        from sdterm.core.settings.quick import quick

        found, missing = quick(self.settings["quicksettings_list"])
        self.notes += missing
        return [quick_field(name) for name in found]

    def change(self, draft: Draft, what: str = "") -> None:
        """The form was changed, in the field `what` or (without) by a command; it can be taken back."""
        if draft == self.draft:
            return
        self.undo.change(draft, what, time.monotonic())
        if not what:
            self.desk.show(draft)
        self._keep_soon()

    def _keep_soon(self) -> None:
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
        self.desk.show(draft)
        self._keep_soon()

    # --- pictures and texts into the form -----------------------------------------------------------------------------

    def forget_names(self) -> None:
        """Plugins give other things now."""
        self._names = None

    async def names(self) -> PluginSet | None:
        """What plugins offer, by name."""
        if self._names is None and (catalogue := await self.ask(lambda host: host.catalogue())) is not None:
            self._names = catalogue.names()
        return self._names

    async def _recalled(self, infotext: str) -> dict[str, Any] | None:
        from sdterm.core.infotext.recall import recall
        from sdterm.core.library.checkpoints import library_of
        from sdterm.core.prompt.styles import StylesError, styles_of

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
        texts = {"prompt": self.draft.prompt, "negative_prompt": self.draft.negative_prompt}
        lines = changes({**_defaults(), **self.values(), **texts}, fields)

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

    # --- and out of it ------------------------------------------------------------------------------------------------

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

    def action_edit_outside(self) -> None:
        self.run_worker(self._edit_outside())

    async def _edit_outside(self) -> None:
        from sdterm.tui.outside import edit

        await self.terminal_has_answered()
        field = "negative_prompt" if self.focused and self.focused.id == "negative" else "prompt"
        with self.suspend():
            text, trouble = edit(self.draft.value(field))
        self.refresh(repaint=True, layout=True)
        if trouble:
            self.say(trouble)
        self.change(self.draft.but(**{field: text}))

    # --- choosing -----------------------------------------------------------------------------------------------------

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
                styles = await self.ask(lambda host: host.styles())
                if styles == []:
                    self.say(tr("There are no styles: {path} would have them.", path=self.settings.root / "styles.csv"))
                return [(style.name, printable(style.prompt, 60)) for style in styles or []]
            case _:
                return [(size, "") for size in ("512x512", "512x768", "768x512", "640x640", "768x768", "128x128")]

    def action_history(self) -> None:
        self.run_worker(self._history())

    async def _history(self) -> None:
        from sdterm.tui.history import FILE, read

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
        from sdterm.tui.history import FILE, read

        entries = await asyncio.to_thread(read, self.settings.root / FILE)
        prompts = [entry.prompt for entry in entries]
        here = prompts.index(self.draft.prompt) if self.draft.prompt in prompts else -1
        if 0 <= here + by < len(entries):
            entry = entries[here + by]
            self.change(self.draft.but(prompt=entry.prompt, negative_prompt=entry.negative))


def _defaults() -> dict[str, Any]:
    """Request fields as they are without settings."""
    from sdterm.request import GenerationRequest

    texts = ("prompt", "negative_prompt")
    return {name: field.default for name, field in GenerationRequest.model_fields.items() if name not in texts}
