"""Models: the checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Static

from sdterm.core.language import tr
from sdterm.core.names import printable
from sdterm.tui.actions import bindings
from sdterm.tui.screens.room import Room

if TYPE_CHECKING:
    from sdterm.core.jobs import Entry, Model


class ModelsScreen(Room):
    """Checkpoints: name, hash, size, family."""

    room = "go_models"
    scopes = ("models",)
    AUTO_FOCUS = "DataTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("models"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._models: list[Model] = []

    def body(self) -> Iterable[Widget]:
        yield DataTable(cursor_type="row")
        yield Static(classes="words", markup=False)

    def on_mount(self) -> None:
        table = self._table()
        for title, width in (
            (tr("Name"), 28),
            (tr("Hash"), 10),
            (tr("Size"), 9),
            (tr("Family"), 16),
            (tr("State"), None),
        ):
            table.add_column(title, width=width)
        self._load()

    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        models = await self.app.ask(lambda host: host.models())
        if models is None:
            return
        self._models = models
        table = self._table()
        at = table.cursor_row
        table.clear()
        for model in models:
            table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in self._row(model)))
        table.move_cursor(row=at)
        table.border_title = tr("Models  {number} checkpoint(s)", number=len(models))
        self._tell()

    def _row(self, model: Model) -> tuple[str, ...]:
        size = f"{model.size / 1e9:.2f} GB" if model.size >= 1e8 else f"{model.size / 1e6:.0f} MB"
        wanted = self.app.values().get("model") or (self._models[0].name if self._models else "")
        state = tr("loaded") if model.loaded else "" if model.usable else tr("! cannot be used")
        mark = ">" if model.name == wanted else " "
        family = f"{model.family or ''} {model.native_size or ''}".strip()
        return (f"{mark} {printable(model.name, 80)}", (model.sha256 or "")[:10] or "-", size, family, state)

    def _chosen(self) -> Model | None:
        at = self._table().cursor_row
        return self._models[at] if 0 <= at < len(self._models) else None

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._tell()

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.action_load_model()

    def _tell(self) -> None:
        if model := self._chosen():
            lines = [
                printable(model.path, 1000),
                model.sha256 or tr("Its hash is not known yet: {key} computes it.", key=self.app.key("verify_hash")),
            ]
            if model.note:
                lines.append(printable(model.note, 500))
            self.query_one(".words", Static).update(Text("\n".join(lines)))

    def happened(self, entry: Entry) -> None:
        from sdterm.events import ModelHashed, ModelLoading, Warning

        match entry.event:
            case ModelLoading(done=False, model=model, fraction=fraction):
                share = "" if fraction is None else f"{fraction:.0%}"
                self.say(tr("Loading {model} … {share}", model=model, share=share))
            case Warning(code="model_not_loaded" | "model_unreadable"):
                self._load()
            case ModelLoading(done=True, model=model, seconds=seconds):
                self.say(tr("{model} is loaded ({time}s).", model=model, time=f"{seconds:.1f}"))
                self._load()
            case ModelHashed(model=model):
                self.say(tr("The hash of {model} is known now.", model=model))
                self._load()

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_cursor(self, by: int) -> None:
        table = self._table()
        table.move_cursor(row=table.cursor_row + by)

    def action_load_model(self) -> None:
        model = self._chosen()
        if model and not model.usable:
            self.say(model.note or tr("This checkpoint cannot be used."))
        elif model:
            self.app.change(self.app.draft.but(model=model.name))
            self.say(tr("{model} is what is drawn with from now on.", model=model.name))
            self._load_now(model.name)

    @work
    async def _load_now(self, name: str) -> None:
        await self.app.ask(lambda host: host.load_model(name))
        self._load()

    def action_unload(self) -> None:
        self._unload()

    @work
    async def _unload(self) -> None:
        await self.app.ask(lambda host: host.unload_models())
        self.say(tr("The memory is free."))
        self._load()

    def action_verify_hash(self) -> None:
        if model := self._chosen():
            self._hash(model.name)

    @work
    async def _hash(self, name: str) -> None:
        self.say(tr("Reading {model} …", model=name))
        await self.app.ask(lambda host: host.hash_model(name))
