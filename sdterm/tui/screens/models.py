"""Models: checkpoints, VAEs, networks and embeddings, each in a list of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from sdterm.core.names import normal
from sdterm.core.prompt.networks import fits, is_callable
from sdterm.core.text import file_size, printable
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.language import said, tr
from sdterm.tui.networks import KINDS
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.adding import add_model, stop_adding, told
from sdterm.tui.screens.table import TableScreen
from sdterm.tui.shell import Desk
from sdterm.tui.widgets.rows import Table

if TYPE_CHECKING:
    from sdterm.api import Entry, LibraryFile, Model

MOST = 1000
"""Rows: more are no list that anybody reads, and take seconds to show."""
_WEIGHT_STEP = 0.1
_TAGS = {kind: tag for tag, kind in KINDS.items()}
_NETWORKS = 2
"""Which of the lists has them."""


@dataclass(frozen=True)
class Row:
    """A line of a list. Of a checkpoint `model` says what the host knows of it beside."""

    file: LibraryFile
    model: Model | None = None


class ModelsScreen(TableScreen[Row]):
    """Model files by kind: name, hash, size, what they are for."""

    tab = "go_models"
    scopes = ("models",)
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("models"),
        Binding("escape", "leave_for_prompt", show=False),  # where a network is chosen for the prompt
    ]
    LISTS: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("checkpoint",),
        ("vae",),
        ("lora", "hypernetwork"),
        ("embedding",),
        ("upscaler",),
        ("text_encoder",),
    )

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._all: list[Row] = []
        self._words: list[str] = []

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the list has."""
        return self.LISTS[self._at]

    def body(self) -> Iterable[Widget]:
        line = Input(placeholder=tr("search"), compact=True, id="filter")
        line.cursor_blink = line.display = False
        yield line
        with Horizontal(id="desk"):
            yield Table(cursor_type="row")
            yield PictureView(id="picture", mode=self.shell.picture_mode())
        yield Static(classes="words", markup=False)

    def columns(self) -> Iterable[tuple[str, int]]:
        name, facts = (tr("Name"), 24), ((tr("Hash"), 10), (tr("Size"), 8))
        if self.kinds == ("checkpoint",):
            return name, *facts, (tr("Family"), 12), (tr("State"), 16), (tr("Licence"), 24)
        return name, (tr("For"), 6), *facts, (tr("Kind"), 13), (tr("Words"), 60)  # beside a picture only two are seen

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        kinds = self.kinds
        rows: list[Row] = []
        models = {model.path: model for model in await self.ask(calls.models()) or ()}
        for kind in kinds:
            if (files := await self.ask(calls.library_files(kind))) is None:
                return
            rows += [Row(file, models.get(file.path)) for file in files]
        rows = [row for row in rows if row.model or row.file.kind != "checkpoint"]
        self._used = next((model for model in models.values() if model.name == self._wanted(models)), None)
        if kinds == self.kinds:
            self._all = rows
            self._show()

    def _show(self) -> None:
        rows = [row for row in self._all if self._is_shown(row)]
        self.show(rows[:MOST], self.table.cursor_row, self._title(len(rows)))
        self._show_preview()

    def _is_shown(self, row: Row) -> bool:
        file = row.file
        text = normal(f"{file.path} {file.alias or ''} {file.base or ''} {file.activation} {file.description}")
        return all(word in text for word in self._words)

    _used: Model | None = None
    """What is drawn with."""

    def _wanted(self, models: dict[str, Model]) -> str:
        first = next((model.name for model in models.values()), "")
        return str(self.shell.form.values().get("model") or first)

    def _title(self, number: int | None) -> Content:
        lists = tr("Checkpoints"), tr("VAEs"), tr("Networks"), tr("Embeddings"), tr("Upscalers"), tr("Text encoders")
        said = "" if number is None else f" {MOST} / {number}" if number > MOST else f" {number}"
        titles = [Content.styled(name, "not bold $muted") for name in lists]
        titles[self._at] = Content(f"▸ {lists[self._at]}{said}")
        return Content("  ").join(titles)

    def empty(self) -> Text:
        if self._all:
            return Text(tr("No file matches."))
        from sdterm.core.library.checkpoints import library_of

        folder = library_of(self.shell.settings).places(self.kinds[0])[0]
        return Text(
            tr(
                "Nothing here yet: {key} adds one, or put files into {folder}",
                key=self.shell.key("add_model"),
                folder=printable(str(folder), 1000),
            )
        )

    def row(self, item: Row) -> tuple[str, ...]:
        file, model = item.file, item.model
        name = f"{'>' if self._is_used(item) else ' '} {printable(file.name, 80)}"
        facts = file.hash or "-", file_size(file.size)
        if not model:
            return name, file.base or "", *facts, self._kind(file.kind), printable(file.activation, 80)
        state = tr("loaded") if model.loaded else "" if model.usable else tr("! cannot be used")
        family = f"{model.family or ''} {model.native_size or ''}".strip()
        return name, *facts, family, state, printable(model.licence, 40)

    def _kind(self, kind: str) -> str:
        words = {"hypernetwork": tr("hypernetwork"), "embedding": tr("embedding"), "upscaler": tr("upscaler")}
        return {"vae": "VAE", "lora": "LoRA", "text_encoder": tr("text encoder"), **words}[kind]

    def _is_used(self, item: Row) -> bool:
        """Whether the next picture is drawn with it, as far as the form says."""
        from sdterm.core.prompt.calling import called

        if item.model:
            return self._used is not None and item.model.path == self._used.path
        tag = _TAGS.get(item.file.kind)
        return bool(tag and called(self.shell.form.draft.prompt, tag, item.file.name))

    def about(self, item: Row) -> Iterable[str]:
        file, model = item.file, item.model
        yield printable(file.path, 1000)
        if model:
            unknown = tr("Its hash is not known yet: {key} computes it.", key=self.shell.key("verify_hash"))
            yield model.sha256 or unknown
            if model.licence:
                yield tr("Licence: {licence}", licence=printable(model.licence, 100))
            if model.note:
                yield printable(said(model.note), 500)
            return
        if (mismatch := self._mismatch(file)) is not None:
            yield mismatch
        if file.alias and file.alias != file.name:
            yield tr("Its maker calls it {name}.", name=printable(file.alias, 100))
        if file.activation:
            yield tr("Words: {words}", words=printable(file.activation, 500))
        if file.weight is not None:
            yield tr("Weight: {weight}", weight=f"{file.weight:g}")
        if file.description:
            yield printable(file.description, 500)

    def _mismatch(self, file: LibraryFile) -> str | None:
        """That a file is for other models than the one that is drawn with, in words."""
        used = self._used
        if not used or fits(file.base, used.family):
            return None
        return tr("! It is for {base}, and {model} is {family}.", base=file.base, model=used.name, family=used.family)

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._show_preview()

    @work(group="preview", exclusive=True)
    async def _show_preview(self) -> None:
        """The picture beside the file, where there is one and room for it."""
        item = self.chosen()
        data = None
        if item and item.file.preview:
            data = await self.ask(calls.library_preview(item.file.kind, item.file.path))
        self.set_class(data is not None, "-pictured")
        self.query_one(PictureView).show(data, caption=item.file.name if item else "")

    def selected(self) -> None:
        self.action_load_model()

    def happened(self, entry: Entry) -> None:
        from sdterm.events import (
            DownloadChanged,
            HashingProgress,
            LibraryChanged,
            ModelHashed,
            ModelLoading,
            Warning,
        )

        match entry.event:
            case ModelLoading(done=False, model=model, fraction=fraction):
                share = "" if fraction is None else f"{fraction:.0%}"
                self.say(tr("Loading {model} … {share}", model=model, share=share), standing=True)
            case Warning(code="model_not_loaded" | "model_unreadable"):
                self._load()
            case ModelLoading(done=True, model=model, seconds=seconds):
                self.say(tr("{model} is loaded ({time}s).", model=model, time=f"{seconds:.1f}"))
                self._load()
            case DownloadChanged() as event:
                self.say(told(event), standing=event.state in ("waiting", "running"))
                if event.state == "done":
                    self._load()
            case ModelHashed(model=model):
                self.say(tr("The hash of {model} is known now.", model=model))
                self._load()
            case HashingProgress(done=True, files=files) if files > 1:
                self.say(tr("{files} files have their hashes.", files=files))
                self._load()
            case HashingProgress(done=False, files=files, files_done=done, bytes=whole, bytes_done=read, paused=paused):
                said = tr("paused") if paused else f"{read / max(whole, 1):.0%}"
                self.say(
                    tr("Computing hashes: {done} of {files}, {share}", done=done, files=files, share=said),
                    standing=True,
                )
            case LibraryChanged(kinds=kinds) if {*kinds} & {*self.kinds}:
                self._load()

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_next_list(self) -> None:
        self._turn(1)

    def action_list_before(self) -> None:
        self._turn(-1)

    def choose_for_prompt(self) -> None:
        """Show the networks; what is put into the prompt then leads back to it."""
        self._for_prompt = True
        self._turn(_NETWORKS - self._at)
        self.say(
            tr(
                "{key} puts one into the prompt and goes back there; {next} has embeddings.",
                key=self.shell.key("load_model"),
                next=self.shell.key("next_list"),
            ),
            standing=True,
        )

    _for_prompt = False

    def on_screen_suspend(self) -> None:
        self._for_prompt = False
        self.say("", standing=True)

    def _back_to_prompt(self) -> None:
        if self._for_prompt:
            self.shell.go("generate")
            cast(Desk, self.app.screen).go_on_writing()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._for_prompt if action == "leave_for_prompt" else super().check_action(action, parameters)

    def action_leave_for_prompt(self) -> None:
        self._back_to_prompt()

    def _turn(self, by: int) -> None:
        self._at = (self._at + by) % len(self.LISTS)
        self.table.head(self.columns())
        self.table.border_title = self._title(None)
        self.rows, self._all, self._words, self._is_known = (), [], [], False
        line = self.query_one("#filter", Input)
        with line.prevent(Input.Changed):
            line.value, line.display = "", False
        self.table.focus()
        self._tell()
        self._load()

    def action_search_models(self) -> None:
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    @on(Input.Changed, "#filter")
    def _search(self, event: Input.Changed) -> None:
        self._words = normal(event.value).split()
        self._show()

    @on(Input.Submitted, "#filter")
    def _searched(self, event: Input.Submitted) -> None:
        self.table.focus()
        event.input.display = bool(event.value)

    def action_refresh_models(self) -> None:
        self._load()

    def action_load_model(self) -> None:
        item = self.chosen()
        if item and item.model:
            self._choose(item.model)
        elif item and item.file.kind == "vae":
            self._choose_vae(item.file)
        elif item and item.file.kind == "text_encoder":
            self.say(tr("Nothing to choose: a model in several files finds the text encoders that are its own."))
        elif item and item.file.kind in _TAGS:
            said = self._call(item.file)
            if self._is_used(item):
                self._back_to_prompt()
            self.shell.say(said)
        elif item and item.file.kind == "embedding":
            self._put_embedding("prompt", tr("Prompt"), item.file)

    def _choose(self, model: Model) -> None:
        if not model.usable:
            self.say(model.note or tr("This checkpoint cannot be used."))
            return
        self.shell.form.change(self.shell.form.draft.but(model=model.name), tr("Model"))
        self.say(tr("{model} is used from now on.", model=model.name))
        self._load_now(model.name)

    def _choose_vae(self, file: LibraryFile) -> None:
        self.shell.form.change(self.shell.form.draft.but(vae=file.name), "VAE")
        self.say(tr("{model} is used from now on.", model=file.name))

    def _call(self, file: LibraryFile) -> str:
        """Put a network's tag into the prompt, with the weight and the words that its user wrote down. Returns what is
        to be said of it."""
        from sdterm.core.prompt.calling import called, with_network, with_words

        draft, tag = self.shell.form.draft, _TAGS[file.kind]
        if called(draft.prompt, tag, file.name):
            return tr(
                "{name} is in the prompt already: {up} and {down} change its weight.",
                name=file.name,
                up=self.shell.key("network_up"),
                down=self.shell.key("network_down"),
            )
        if not is_callable(tag, file.name):
            return tr("No tag can call {name}: give it a name without >, : and =.", name=file.name)
        weight = 1.0 if file.weight is None else file.weight
        prompt = with_network(draft.prompt, tag, file.name, weight, file.activation)
        negative = with_words(draft.negative_prompt, file.negative)
        self.shell.form.change(draft.but(prompt=prompt, negative_prompt=negative), tr("Prompt"))
        self._load()
        return self._mismatch(file) or tr(
            "{name} is in the prompt, with weight {weight}.", name=file.name, weight=f"{weight:g}"
        )

    def action_to_negative(self) -> None:
        if (item := self.chosen()) and item.file.kind == "embedding":
            self._put_embedding("negative_prompt", tr("Negative prompt"), item.file)

    def _put_embedding(self, field: str, label: str, file: LibraryFile) -> None:
        from sdterm.core.prompt.calling import with_words
        from sdterm.core.prompt.completion import escaped

        draft = self.shell.form.draft
        text = with_words(draft.value(field), escaped(file.name))
        self.shell.form.change(draft.but(**{field: text}), label)
        self._back_to_prompt()
        self.shell.say(self._mismatch(file) or tr("{words} is in: {field}", words=file.name, field=label))

    def action_network_up(self) -> None:
        self._reweigh(_WEIGHT_STEP)

    def action_network_down(self) -> None:
        self._reweigh(-_WEIGHT_STEP)

    def _reweigh(self, by: float) -> None:
        from sdterm.core.prompt.calling import called, reweighed

        if not ((item := self.chosen()) and (tag := _TAGS.get(item.file.kind))):
            return
        draft, name = self.shell.form.draft, item.file.name
        prompt = reweighed(draft.prompt, tag, name, by)
        if prompt is None:
            self.say(self._call(item.file))
            return
        self.shell.form.change(draft.but(prompt=prompt), tr("Prompt"))
        now = called(prompt, tag, name)
        self.say(tr("The weight of {name} is {weight}.", name=name, weight=now.args[1] if now else ""))

    @work
    async def _load_now(self, name: str) -> None:
        await self.ask(calls.load_model(name))
        self._load()

    def action_unload(self) -> None:
        self._unload()

    @work
    async def _unload(self) -> None:
        await self.ask(calls.unload_models())
        self.say(tr("The memory is free."))
        self._load()

    @work
    async def action_add_model(self) -> None:
        await add_model(self)

    @work
    async def action_stop_adding(self) -> None:
        await stop_adding(self)

    def action_verify_hash(self) -> None:
        if item := self.chosen():
            self._hash(item.file.path, item.file.kind, tr("Reading {model} …", model=item.file.name))

    def action_hash_all(self) -> None:
        for kind in self.kinds:
            self._hash(None, kind, tr("Computing the hashes that are not known …"))

    @work
    async def _hash(self, name: str | None, kind: str, said: str) -> None:
        self.say(said)
        await self.ask(calls.hash_model(name, kind))

    def action_pause_hashing(self) -> None:
        self._pause_hashing()

    @work
    async def _pause_hashing(self) -> None:
        state = await self.ask(calls.hashing())
        if state is not None and (state.files or state.paused):
            await self.ask(calls.hashing("resume" if state.paused else "pause"))
