"""How texts, pictures and lists get into the form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from sdterm.core.languages.translations import languages
from sdterm.core.names import normal
from sdterm.core.settings.settings import frozen_reason
from sdterm.core.text import printable
from sdterm.tui import calls, themes
from sdterm.tui.fields import DEFAULTS, Field, in_words
from sdterm.tui.language import tr
from sdterm.tui.messages import Part
from sdterm.tui.networks import KINDS, OFFERED, Networks, with_shipped
from sdterm.tui.offers import Choice, Offers
from sdterm.tui.shell import Desk, Shell

if TYPE_CHECKING:
    from sdterm.core.extensions.registry import PluginSet
    from sdterm.tui.history import Entry


class Filling:
    """What fills the form otherwise than by typing there."""

    def __init__(self, shell: Shell, desk: Desk) -> None:
        self._shell, self._desk = shell, desk
        self._names: PluginSet | None = None
        self.offers = Offers()
        self._networks = Networks({})
        self._typed: dict[str, tuple[Field, str]] = {}  # field → what was typed before its list was known

    # --- infotexts ----------------------------------------------------------------------------------------------------

    async def _named(self) -> PluginSet | None:
        """What plugins offer, by name."""
        if self._names is None:
            await self.learn()
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

    async def fill(self, infotext: str, part: Part, picture: int = 0) -> None:
        """Put what a picture's infotext says into the form, or a part of it."""
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
        names = {
            "all": tr("load image {number}", number=picture),
            "seed": tr("seed of image {number}", number=picture),
            "prompt": tr("prompts of image {number}", number=picture),
            "parameters": tr("parameters of image {number}", number=picture),
        }
        self.take({name: fields[name] for name in wanted}, names[part])
        if part == "all":
            self._desk.go_on_writing()
        self._shell.say(
            tr(
                "In the form now; {key} generates, {undo} undoes.",
                key=self._shell.key("generate"),
                undo=self._shell.key("undo"),
            )
        )

    def take(self, fields: Mapping[str, Any], name: str) -> None:
        """Put request fields into the form, to be taken back by that name, and go there."""
        self._desk.form.fill(fields, name)
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
                self.take(fields, tr("load a pasted infotext"))

        self._desk.app.push_screen(
            Ask(tr("This would change"), lines or [tr("nothing")], [("enter", tr("put it into the form"))]), answered
        )

    # --- lists --------------------------------------------------------------------------------------------------------

    async def learn(self) -> None:
        """Ask what there is to choose from."""
        ask = self._desk.ask
        catalogue, models, styles = await ask(calls.catalogue()), await ask(calls.models()), await ask(calls.styles())
        self.offers = replace(
            self.offers,
            catalogue=catalogue or self.offers.catalogue,
            models=self.offers.models if models is None else tuple(models),
            styles=self.offers.styles if styles is None else tuple(styles),
        )
        self._names = catalogue.names() if catalogue else self._names
        self._learned()
        # last, since there may be thousands
        files = {kind: found for kind in OFFERED if (found := await ask(calls.library_files(kind))) is not None}
        names = await ask(calls.networks())
        files |= with_shipped(files, names)
        self.offers = replace(self.offers, files={**self.offers.files, **files})
        self._learned()

    def _learned(self) -> None:
        self._desk.learned()
        self._check_typed()

    def _check_typed(self) -> None:
        """Check what was typed before there were lists, as far as there are now."""
        for field, text in [*self._typed.values()]:
            choices = self.offers.of(field, self._desk.values())
            if choices is None:
                continue
            del self._typed[field.id]
            if field.read(self._desk.values()) != text:  # it was changed since
                continue
            begun = [choice for choice in choices if normal(choice.name).startswith(normal(text))]
            meant = [choice for choice in choices if choice.is_called(text)] or (begun if len(begun) == 1 else [])
            if meant:
                self.choose(field, meant[0].name)
            else:
                self.choose(field, None)
                self._shell.say(
                    tr("There is no {label} {name}.", label=tr(field.label), name=repr(printable(text, 60)))
                )

    def _take_typed(self, field: Field, text: str | None) -> None:
        """Take a text for what is chosen; its list, once it is there, says whether it may be."""
        if text and (text := " ".join(text.split())):
            self._typed[field.id] = field, text
            self.choose(field, text)
            self._check_typed()

    def networks(self) -> Networks:
        """What prompts may call, as far as it is known."""
        now = self.offers.networks(self._desk.form.values().get("model"))
        if (now.files, now.family) != (self._networks.files, self._networks.family):
            self._networks = now  # otherwise what it has found out of its files stays known
        return self._networks

    async def pick_network(self, tag: str, take: Callable[[str, str], None]) -> None:
        """Let another network be chosen in the place of the one that a tag calls; those with like names come first."""
        from sdterm.core.prompt.networks import ROLES, is_callable, tags
        from sdterm.core.settings.model_kinds import KINDS_BY_ID
        from sdterm.tui.screens.pick import Pick

        (called,) = tags(tag)
        networks, role, name = self.networks(), ROLES[called.kind], called.args[0]
        kind = KINDS_BY_ID[KINDS[role]]
        files = await asyncio.to_thread(networks.near, kind.id, name)
        files = [file for file in files if is_callable(role, file.name) and file.name != name]
        if not files:
            self._shell.say(tr("There is no other {kind}.", kind=tr("hypernetwork") if role == "hypernet" else "LoRA"))
            return

        def picked(number: int | None) -> None:
            if number is not None:
                take(tag, files[number].name)

        title = tr("Instead of {name}", name=printable(name, 40))
        self._desk.app.push_screen(Pick(title, [networks.row(file) for file in files]), picked)

    def styles(self) -> list[str]:
        """The names of the styles that there are, as far as they are known."""
        return [style.name for style in self.offers.styles or ()]

    def add_style(self, name: str, text_field: str, text: str) -> None:
        """Have a style more, and that text in the prompt or the negative prompt."""
        form = self._desk.form
        styles = tuple(form.values().get("styles") or ())
        added = styles if name in styles else (*styles, name)
        form.change(form.draft.but(**{text_field: text, "styles": added}), tr("style"))
        self._shell.say(tr("{name} is one of the styles now.", name=printable(name, 60)))

    def choices(self, field: Field) -> Sequence[Choice]:
        """What a field can be; nothing once the user was told why."""
        offers = replace(
            self.offers,
            settings={
                "theme": themes.names(self._desk.app),
                "language": ["en", *languages(self._shell.language_sources())],
            },
        )
        choices = offers.of(field, self._desk.values())
        if choices is None:
            self._shell.say(tr("The list comes with the engine, which is still starting."))
        elif not choices and field.offers == "style":
            path = self._shell.settings.root / "styles.csv"
            self._shell.say(tr("There are no styles: {path} would have them.", path=path))
        elif not choices:
            self._shell.say(tr("There is nothing to choose for {label}.", label=tr(field.label)))
        return choices or ()

    def pick(self, field: Field, words: str = "") -> None:
        """Let a value of a form's field be chosen from a list, narrowed down by some words."""
        from sdterm.tui.screens.pick import Pick, Type

        is_one = not (field.takes_several or field.is_setting)
        if words and is_one and self.offers.of(field, self._desk.values()) is None:
            hint = tr("The list is not there yet: it is checked when it comes.")
            line = Type(tr(field.label), words, hint=hint, goes_on=True)
            self._desk.app.push_screen(line, partial(self._take_typed, field))
            return
        choices = self.choices(field)
        if not choices:
            return
        chosen = self._chosen(field, choices)
        at = chosen[-1] if chosen else None

        def picked(number: int | None) -> None:
            if number is None:
                return
            if field.takes_several:
                kept = [n for n in chosen if n != number] + ([] if number in chosen else [number])
                self.choose(field, tuple(choices[n].name for n in kept) or None)
            else:
                self.choose(field, choices[number].name)

        marks = ["* " if n in chosen else "  " for n in range(len(choices))] if field.takes_several else [""] * 999
        lines = [mark + _line(choice) for mark, choice in zip(marks, choices, strict=False)]
        self._desk.app.push_screen(Pick(tr(field.label), lines, chosen=at, words=words), picked)

    def step(self, field: Field, by: int) -> None:
        """Take the next thing of a field's list, or the one before: of several, in the place of the last one."""
        choices = self.choices(field)
        if not choices:
            return
        chosen = self._chosen(field, choices)
        if not field.takes_several:
            at = chosen[-1] + by if chosen else 0 if by > 0 else -1
            self.choose(field, choices[at % len(choices)].name)
            return
        free = [n for n in range(len(choices)) if n not in chosen[:-1]]
        at = (free.index(chosen[-1]) + 1 if chosen else 0) + by
        more = at % (len(free) + 1)  # 0 is none
        kept = [*chosen[:-1], *([free[more - 1]] if more else [])]
        self.choose(field, tuple(choices[n].name for n in kept) or None)

    def _chosen(self, field: Field, choices: Sequence[Choice]) -> list[int]:
        """Where in its list the value of a field is."""
        values = self._desk.values()
        if field.takes_several:
            names = [str(name) for name in field.value(values) or ()]
        else:
            names = [
                field.read(values)
                or (choices[0].name if field.id in ("model", "size") or field.offers in OFFERED else "")
            ]
        places = ([n for n, choice in enumerate(choices) if choice.is_called(name)] for name in names)
        return [found[0] for found in places if found]

    def choose(self, field: Field, value: Any) -> None:
        """Give a field of the form a value; None is its default."""
        if field.is_setting:
            self._write_setting(field, value)
            return
        form, values = self._desk.form, self._desk.values()
        changes = field.write(value or "", values) if len(field.rows) > 1 else field.given(value, values)
        form.change(form.draft.but(**self.offers.fitting(field.offers, changes, values)), tr(field.label))

    def _write_setting(self, field: Field, value: Any) -> None:
        key = field.rows[0].name
        text = str(value).lower() if isinstance(value, bool) else value
        if trouble := frozen_reason(self._shell.settings, key) or self._shell.write_setting(key, text):
            self._shell.say(trouble)
        else:
            self._shell.say(tr("{setting} is {value} from now on.", setting=key, value=field.read(self._desk.values())))
        self._desk.show_values()

    # --- prompts of before --------------------------------------------------------------------------------------------

    async def pick_prompt(self) -> None:
        """Let a prompt be chosen from those that were drawn."""
        from sdterm.tui.history import FILE, read
        from sdterm.tui.screens.prompts import PickPrompt

        entries = await asyncio.to_thread(read, self._shell.settings.root / FILE)
        if not entries:
            self._shell.say(tr("No prompt was used yet."))
            return

        def picked(number: int | None) -> None:
            if number is not None:
                entry = entries[number]
                self._take_entry(entry, tr("a prompt of before"))
                self._shell.go("generate")

        self._desk.app.push_screen(PickPrompt(entries), picked)

    async def turn(self, by: int) -> None:
        """Go to an older prompt or (less than 0) a newer one."""
        from sdterm.tui.history import FILE, read

        entries = await asyncio.to_thread(read, self._shell.settings.root / FILE)
        form = self._desk.form
        prompts = [entry.prompt for entry in entries]
        here = prompts.index(form.draft.prompt) if form.draft.prompt in prompts else -1
        if 0 <= here + by < len(entries):
            entry = entries[here + by]
            self._take_entry(entry, tr("older prompt") if by > 0 else tr("newer prompt"))

    def _take_entry(self, entry: Entry, name: str) -> None:
        form = self._desk.form
        form.change(form.draft.but(prompt=entry.prompt, negative_prompt=entry.negative), name)

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
        form.change(form.draft.but(**{field: text}), tr("your editor"))


def _line(choice: Choice) -> str:
    """Of a list. What is shown in the user's language is found by its English name, too."""
    name = in_words(choice.name)
    english = f"({choice.name})" if name != choice.name else ""
    return f"{name}{' ' * (28 - cell_len(name))} {choice.note} {english}".rstrip()
