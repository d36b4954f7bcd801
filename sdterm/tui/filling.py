"""How texts, pictures and lists get into the form."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdterm.core.text import printable
from sdterm.tui import calls
from sdterm.tui.fields import DEFAULTS, Field
from sdterm.tui.language import tr
from sdterm.tui.messages import Part
from sdterm.tui.shell import Desk, Shell

if TYPE_CHECKING:
    from sdterm.core.extensions.registry import PluginSet


class Filling:
    """What fills the form otherwise than by typing there."""

    def __init__(self, shell: Shell, desk: Desk) -> None:
        self._shell, self._desk = shell, desk
        self._names: PluginSet | None = None

    # --- infotexts ----------------------------------------------------------------------------------------------------

    def forget_names(self) -> None:
        """Plugins give other things now."""
        self._names = None

    async def _named(self) -> PluginSet | None:
        """What plugins offer, by name."""
        if self._names is None and (catalogue := await self._desk.ask(calls.catalogue())) is not None:
            self._names = catalogue.names()
        return self._names

    async def recalled(self, infotext: str) -> dict[str, Any] | None:
        """The request fields that an infotext says; None once the user was told why there are none."""
        from sdterm.core.infotext.recall import recall
        from sdterm.core.library.checkpoints import library_of
        from sdterm.core.prompt.styles import StylesError, styles_of

        names = await self._named()
        if names is None:
            return None
        settings = self._shell.settings
        try:
            styles = styles_of(settings)
            # a model is found by its name or a hash that is known: reading gigabytes is nothing a key may start
            found = await asyncio.to_thread(recall, infotext, names, library_of(settings), styles, read_at_most=0)
        except StylesError as error:
            self._shell.say(str(error))
            return None
        for warning in found.warnings.values():
            self._shell.say("! " + warning)
        return dict(found.fields)

    async def fill(self, infotext: str, part: Part) -> None:
        """Put what an infotext says into the form, or a part of it."""
        fields = await self.recalled(infotext)
        if fields is None:
            return
        texts = {"prompt", "negative_prompt", "styles"}
        wanted = {
            "all": fields.keys(),
            "seed": {"seed", "variation_seed", "variation_strength"} & fields.keys(),
            "prompt": texts & fields.keys(),
            "parameters": fields.keys() - texts - {"seed"},
        }[part]
        self.take({name: fields[name] for name in wanted})
        self._shell.say(
            tr(
                "In the form now; {key} draws it, {undo} takes it back.",
                key=self._shell.key("generate"),
                undo=self._shell.key("undo"),
            )
        )

    def take(self, fields: Mapping[str, Any]) -> None:
        """Put request fields into the form, and go there."""
        self._desk.form.fill(fields)
        self._shell.go("generate")

    async def offer(self, infotext: str) -> None:
        """Show what an infotext would change, and put it into the form if that is agreed to."""
        from sdterm.tui.pasted import changes
        from sdterm.tui.screens.pick import Ask

        fields = await self.recalled(infotext)
        if fields is None:
            return
        form = self._desk.form
        texts = {"prompt": form.draft.prompt, "negative_prompt": form.draft.negative_prompt}
        lines = changes({**DEFAULTS, **form.values(), **texts}, fields)

        def answered(key: str | None) -> None:
            if key:
                self.take(fields)

        self._desk.app.push_screen(
            Ask(tr("This would change"), lines or [tr("nothing")], [("enter", tr("put it into the form"))]), answered
        )

    # --- lists --------------------------------------------------------------------------------------------------------

    async def pick(self, field: Field) -> None:
        """Let a value of a form's field be chosen from a list."""
        from sdterm.tui.screens.pick import Pick

        rows = await self._offers(field.offers)
        if not rows:
            return
        form = self._desk.form
        now = field.read(form.values())
        at = next((i for i, (name, _) in enumerate(rows) if name == now), None)

        def picked(number: int | None) -> None:
            if number is not None:
                form.change(form.draft.but(**field.write(rows[number][0])))

        lines = [f"{name:<28} {note}".rstrip() for name, note in rows]
        self._desk.app.push_screen(Pick(tr(field.label), lines, chosen=at), picked)

    async def _offers(self, kind: str) -> Sequence[tuple[str, str]]:
        ask = self._desk.ask
        match kind:
            case "model":
                models = await ask(calls.models())
                return [(model.name, f"{model.size / 1e9:.2f} GB") for model in models or []]
            case "sampler" | "scheduler":
                catalogue = await ask(calls.catalogue())
                offers = catalogue.of(kind.capitalize()) if catalogue else ()
                first = [("Automatic", tr("the sampler's own"))] if kind == "scheduler" else []
                return first + [(offer.label, offer.note) for offer in offers]
            case "style":
                styles = await ask(calls.styles())
                if styles == []:
                    path = self._shell.settings.root / "styles.csv"
                    self._shell.say(tr("There are no styles: {path} would have them.", path=path))
                return [(style.name, printable(style.prompt, 60)) for style in styles or []]
            case _:
                return [(size, "") for size in ("512x512", "512x768", "768x512", "640x640", "768x768", "128x128")]

    # --- prompts of before --------------------------------------------------------------------------------------------

    async def pick_prompt(self) -> None:
        """Let a prompt be chosen from those that were drawn."""
        from sdterm.tui.history import FILE, read
        from sdterm.tui.screens.pick import Pick

        entries = await asyncio.to_thread(read, self._shell.settings.root / FILE)
        if not entries:
            self._shell.say(tr("No prompt was drawn yet."))
            return
        form = self._desk.form

        def picked(number: int | None) -> None:
            if number is not None:
                entry = entries[number]
                form.change(form.draft.but(prompt=entry.prompt, negative_prompt=entry.negative))
                self._shell.go("generate")

        rows = [entry.prompt.replace("\n", " ") for entry in entries]
        self._desk.app.push_screen(Pick(tr("Prompts of before"), rows), picked)

    async def turn(self, by: int) -> None:
        """Go to an older prompt or (less than 0) a newer one."""
        from sdterm.tui.history import FILE, read

        entries = await asyncio.to_thread(read, self._shell.settings.root / FILE)
        form = self._desk.form
        prompts = [entry.prompt for entry in entries]
        here = prompts.index(form.draft.prompt) if form.draft.prompt in prompts else -1
        if 0 <= here + by < len(entries):
            entry = entries[here + by]
            form.change(form.draft.but(prompt=entry.prompt, negative_prompt=entry.negative))

    async def edit_outside(self) -> None:
        """Let the prompt be written in an editor of one's own."""
        from sdterm.tui.outside import edit

        app, form = self._desk.app, self._desk.form
        await self._shell.terminal_has_answered()
        field = "negative_prompt" if app.focused and app.focused.id == "negative" else "prompt"
        with app.suspend():
            text, trouble = edit(form.draft.value(field))
        app.refresh(repaint=True, layout=True)
        if trouble:
            self._shell.say(trouble)
        form.change(form.draft.but(**{field: text}))
