"""Models: the checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import BindingType

from sdterm.core.text import printable
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.language import counted, tr
from sdterm.tui.screens.table import TableScreen

if TYPE_CHECKING:
    from sdterm.api import Entry, Model


class ModelsScreen(TableScreen["Model"]):
    """Checkpoints: name, hash, size, family."""

    tab = "go_models"
    scopes = ("models",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("models")]

    def columns(self) -> Iterable[tuple[str, int]]:
        return (tr("Name"), 28), (tr("Hash"), 10), (tr("Size"), 9), (tr("Family"), 16), (tr("State"), 40)

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        models = await self.ask(calls.models())
        if models is not None:
            title = counted("Models  {number} checkpoint", "Models  {number} checkpoints", len(models))
            self.show(models, self.table.cursor_row, title)

    def empty(self) -> str:
        from sdterm.core.settings.paths import CHECKPOINTS

        return tr("No checkpoint: SD 1.x files go to {folder}.", folder=self.shell.settings.root / CHECKPOINTS)

    def row(self, item: Model) -> tuple[str, ...]:
        size = f"{item.size / 1e9:.2f} GB" if item.size >= 1e8 else f"{item.size / 1e6:.0f} MB"
        wanted = self.shell.form.values().get("model") or self.rows[0].name
        state = tr("loaded") if item.loaded else "" if item.usable else tr("! cannot be used")
        mark = ">" if item.name == wanted else " "
        family = f"{item.family or ''} {item.native_size or ''}".strip()
        return (f"{mark} {printable(item.name, 80)}", (item.sha256 or "")[:10] or "-", size, family, state)

    def about(self, item: Model) -> Iterable[str]:
        unknown = tr("Its hash is not known yet: {key} computes it.", key=self.shell.key("verify_hash"))
        yield printable(item.path, 1000)
        yield item.sha256 or unknown
        if item.note:
            yield printable(item.note, 500)

    def selected(self) -> None:
        self.action_load_model()

    def happened(self, entry: Entry) -> None:
        from sdterm.events import ModelHashed, ModelLoading, Warning

        match entry.event:
            case ModelLoading(done=False, model=model, fraction=fraction):
                share = "" if fraction is None else f"{fraction:.0%}"
                self.say(tr("Loading {model} … {share}", model=model, share=share), standing=True)
            case Warning(code="model_not_loaded" | "model_unreadable"):
                self._load()
            case ModelLoading(done=True, model=model, seconds=seconds):
                self.say(tr("{model} is loaded ({time}s).", model=model, time=f"{seconds:.1f}"))
                self._load()
            case ModelHashed(model=model):
                self.say(tr("The hash of {model} is known now.", model=model))
                self._load()

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_load_model(self) -> None:
        model = self.chosen()
        if model and not model.usable:
            self.say(model.note or tr("This checkpoint cannot be used."))
        elif model:
            self.shell.form.change(self.shell.form.draft.but(model=model.name), tr("Model"))
            self.say(tr("{model} is what is drawn with from now on.", model=model.name))
            self._load_now(model.name)

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

    def action_verify_hash(self) -> None:
        if model := self.chosen():
            self._hash(model.name)

    @work
    async def _hash(self, name: str) -> None:
        self.say(tr("Reading {model} …", model=name))
        await self.ask(calls.hash_model(name))
