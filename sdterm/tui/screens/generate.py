"""Generate: write a prompt, set parameters, see it drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text
from textual import events, on, work
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Label

from sdterm.core.settings.settings import SETTINGS_BY_KEY
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.tui import calls
from sdterm.tui import draft as drafts
from sdterm.tui.drawing import Drawing
from sdterm.tui.fields import (
    FOLDED,
    HEADS,
    ROWS,
    Field,
    RefusedTextError,
    is_used,
    parts,
    quick_field,
)
from sdterm.tui.filling import Filling
from sdterm.tui.form import Form
from sdterm.tui.language import tr
from sdterm.tui.messages import InfotextPasted
from sdterm.tui.offers import NONE
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.reader import PromptReader
from sdterm.tui.screens.base import HEIGHTS, BaseScreen
from sdterm.tui.shell import Shell
from sdterm.tui.sources import Sources
from sdterm.tui.widgets.bars import KeyBar
from sdterm.tui.widgets.invitation import EXAMPLES, invitation
from sdterm.tui.widgets.large import ChosenPicture
from sdterm.tui.widgets.more import MoreOptions, Section, SectionTitle
from sdterm.tui.widgets.parameter import Parameter, parameter
from sdterm.tui.widgets.prompt import PromptEditor
from sdterm.tui.widgets.recent import Recent
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from sdterm.api import Entry, Picture
    from sdterm.tui.messages import Making
    from sdterm.tui.picture.preview import LivePreview

_READ_AFTER = 0.25  # seconds without a key after which a prompt is read: its tokens and traps
_RECENT = 24
_ROOMY = HEIGHTS["-tall"].start  # lines of a screen on which Recent takes room from nobody
_LONGEST_LABEL = 12  # cells; what is longer is cut
_KEEP_AFTER = 0.5  # seconds after which a changed draft is on the disk


class GenerateScreen(BaseScreen):
    """The form, the picture, and the pictures of before."""

    tab = "go_generate"
    AUTO_FOCUS = "#prompt"

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self.form = Form(
            drafts.load(shell.settings.root),
            lambda: shell.settings,
            self._changed,
            lambda values: self.filling.offers.own(values),
        )
        self.filling = Filling(shell, self)
        self.drawing = Drawing(shell, self, self.filling)
        self.sources = Sources(shell, self, self.filling)
        self._reader = PromptReader(
            shell.settings.root, self.form.values, self.filling.styles, self.filling.networks, self
        )
        self._keep: Timer | None = None
        self._reading: dict[str, Timer] = {}
        self._preview: tuple[PictureView, LivePreview] | None = None
        self._told_slow_line = False
        self._previewed: int | None = None  # the job whose previews the picture pane shows
        self._ended: int | None = None  # the job whose newest picture it is to show next
        self._picked: int | None = None  # the number of a picture that was chosen before there were any
        self._told: dict[bool, str] = {}  # of a trap of the (negative) prompt, in the line for that
        self._model = str(self.form.values().get("model") or "")
        self._told_of = self._model, self.form.seed is None  # what the status line says of the form
        self._is_new = not (shell.settings.root / drafts.FILE).exists()
        self._is_empty: bool | None = None  # the gallery; unknown until the host has told
        self._unfolded: dict[str, bool] = {}  # parts of the form that were folded or unfolded by hand

    def body(self) -> Iterable[Widget]:
        draft, values = self.form.draft, self.values()
        with Horizontal(id="quick"):
            for field in self._quick_fields():
                yield Label(tr(field.label), markup=False)
                shown = parameter(field, field.read(values))
                shown.styles.width = field.width
                yield shown
        with Horizontal(id="desk"):
            with Vertical(id="form"):
                yield PromptEditor(draft.prompt, id="prompt", title=tr("Prompt"))
                yield PromptEditor(draft.negative_prompt, id="negative", title=tr("Negative prompt"), negative=True)
                with Vertical(id="parameters") as box:
                    box.border_title = self._title(values)
                    box.border_subtitle = tr("{key} more", key=self.shell.key("more_options"))
                    for row in ROWS:
                        with Horizontal():
                            yield from _pairs(row, values)
                yield MoreOptions()
                recent = Recent()
                yield recent
            picture = ChosenPicture(lambda: recent)
            picture.invitation = self._invitation
            yield picture

    def _quick_fields(self) -> list[Field]:
        """The parameters pinned above the form, by `quicksettings_list`."""
        from sdterm.core.settings.quick import quick

        found, missing = quick(self.shell.settings["quicksettings_list"])
        self.shell.notes += missing
        return [quick_field(name) for name in found]

    # --- the form ----------------------------------------------------------------------------------------------------

    def _changed(self, from_elsewhere: bool) -> None:
        if part := self._part_with_cursor():  # which does not fold while one is in it
            self._unfolded[part] = True
        if from_elsewhere:
            self._show()
        model = str(self.form.values().get("model") or "")
        if model != self._model:  # its prompts may have other tokens and traps
            self._model = model
            self._show_placeholders()
            if not from_elsewhere:
                self.show_values()
            for editor in self.query(PromptEditor):
                self._read_soon(editor, tell=True)
        if (told := (model, self.form.seed is None)) != self._told_of:
            self._told_of = told
            self.shell.show_status()
        if self._keep is None:
            self._keep = self.app.set_timer(_KEEP_AFTER, self.keep_draft)

    def keep_draft(self) -> None:
        """Write the draft to disk, if it was changed."""
        if self._keep is not None:
            self._keep.stop()
            self._keep = None
            try:
                drafts.save(self.shell.settings.root, self.form.draft)
            except OSError as error:
                self.shell.say(tr("The draft cannot be kept on disk: {error}.", error=error.strerror or error))

    def _show(self) -> None:
        """Put a draft that came from elsewhere into the fields."""
        draft = self.form.draft
        self.query_one("#prompt", PromptEditor).show(draft.prompt)
        self.query_one("#negative", PromptEditor).show(draft.negative_prompt)
        self.show_values()

    def values(self) -> dict[str, Any]:
        """What the parameters show: the form's values, and the settings."""
        settings = self.shell.settings
        return {**{key: settings[key] for key in SETTINGS_BY_KEY}, **self.form.values()}

    def show_values(self) -> None:
        """Let the parameters show what they are."""
        values = self.values()
        for shown in self.query(Parameter):
            shown.show(self._read_field(shown.field, values))
        for box in self.query("#parameters"):
            box.border_title = self._title(values)
        self._show_taken(values)
        self._show_more()

    def _show_taken(self, values: Mapping[str, Any]) -> None:
        """Leave out what the chosen model does not take."""
        offers = self.filling.offers
        for line in self.query("#parameters > Horizontal"):
            for label, shown in zip(line.query(Label), line.query(Parameter), strict=False):  # while it is made, fewer
                label.display = shown.display = offers.takes(shown.field.rows[0], values)
        for editor in self.query("#negative"):
            editor.display = offers.takes(FIELDS["negative_prompt"], values)

    def _read_field(self, field: Field, values: Mapping[str, Any]) -> str:
        """What stands in a field: of a picture what it is called."""
        return self.sources.called(field.value(values)) if field.kind == "input" else field.read(values)

    def _title(self, values: Mapping[str, Any]) -> str:
        """Of the parameters: with the parts that are used, which may be folded away."""
        taken = {part for part, head in HEADS.items() if self.filling.offers.takes(FIELDS[head], values)}
        used = [tr(part) for part in HEADS if part in taken and is_used(part, values)]
        return tr("With {parts}", parts=", ".join(used)) if used else tr("Parameters")

    def collect(self) -> str:
        """Take in what was just typed and not yet told of. Returns why some of it cannot be."""
        for editor in self.query(PromptEditor):
            self._take_prompt(editor)
        refused = [why for shown in self.query(Parameter) if (why := self._collected(shown))]
        return " ".join(refused)

    def _collected(self, shown: Parameter) -> str:
        why = shown.settle()
        if shown.was_edited():
            self._take_parameter(shown)
        return why

    def learned(self) -> None:
        """What there is to choose from is known, or changed."""
        self._show_placeholders()
        self.show_values()
        self.shell.show_status()  # which names the model
        if self._invites:
            self.query(ChosenPicture).refresh()
        for editor in self.query(PromptEditor):
            editor.look_again()

    def _show_placeholders(self) -> None:
        """What fields mean that are left empty."""
        models = self.filling.offers.models
        plain = self.form.plain()
        said = {"model": models[0].name if models else "", "size": tr("native"), "lora": NONE, "hypernetwork": NONE}
        for shown in self.query(Parameter):
            shown.placeholder = printable(said.get(shown.field.id) or shown.field.read(plain))

    # --- the options below the form ----------------------------------------------------------------------------------

    def action_more_options(self) -> None:
        """Unfold them, or fold them again."""
        self.toggle_class("-more")
        self.shell.go("generate")
        if self.has_class("-more"):
            self._show_more(focus=True)
            self.set_focus(None)  # until they are there
        elif self.focused and self.query_one(MoreOptions) in self.focused.ancestors:
            self.query_one("#field-sampler").focus()

    def _show_more(self, *, focus: bool = False) -> None:
        if self.has_class("-more"):
            self._filling_more += 1
            self._fill_more(focus)

    @work(group="more")
    async def _fill_more(self, focus: bool) -> None:
        values = self.values()
        for more in self.query(MoreOptions):
            await more.show(
                [*self._sections(values)], lambda field: self._read_field(field, values), self.shell.picture_mode()
            )
            if focus and (lines := more.query("SectionTitle, Parameter")):  # none while the form is made anew
                self.set_focus(lines.first())  # at once: they may be made anew
            for view in more.query(PictureView):
                self._show_source(view)
        self._filling_more -= 1
        if self._wanted_field and not self._filling_more:
            wanted, self._wanted_field = self._wanted_field, ""
            for found in self.query(f"#field-{wanted}"):
                self._leave_large()
                self.set_focus(found)

    @work(group="source", exclusive=True)
    async def _show_source(self, view: PictureView) -> None:
        await self.sources.show(view)

    _filling_more = 0  # times that the options are being made anew
    _wanted_field = ""  # that is to have the cursor once its part is unfolded

    def _sections(self, values: Mapping[str, Any]) -> Iterable[Section]:
        """The form's parts, then the options of what is chosen."""
        offers = self.filling.offers
        for part, known in parts(values).items():
            fields = tuple(field for field in known if offers.takes(field.rows[0], values))
            if not offers.takes(known[0].rows[0], values):
                continue
            uses = is_used(part, values)
            told = self._read_field(fields[0], values) if uses else ""
            is_open = self._unfolded.get(part, uses)
            yield Section(part, fields, is_open, told, has_picture=part == "Init image" and uses)
        yield Section("", (*FOLDED, *self.filling.offers.options(values)))

    @on(SectionTitle.Toggled)
    def _toggle(self, event: SectionTitle.Toggled) -> None:
        self._unfolded[event.title] = event.is_open
        self._show_more()

    def _part_with_cursor(self) -> str:
        """The part of the form in which the cursor is; empty where it is elsewhere."""
        focused = self.focused
        if not isinstance(focused, Parameter) or not any(isinstance(a, MoreOptions) for a in focused.ancestors):
            return ""
        return next((part for part, fields in parts(self.values()).items() if focused.field in fields), "")

    def unfold(self, part: str) -> None:
        """Have a part of the form in sight."""
        self._unfolded[part] = True
        self.remove_class("-recent")
        self.add_class("-more")
        self._show_more()

    @on(PromptEditor.Typed)
    def _prompt_edited(self, event: PromptEditor.Typed) -> None:
        self._take_prompt(event.editor)
        self._read_soon(event.editor)

    def _take_prompt(self, editor: PromptEditor) -> None:
        name = "negative_prompt" if editor.negative else "prompt"
        if what := editor.done():
            self.form.change(self.form.draft.but(**{name: editor.text}), what)
        elif len(editor.text) < len(self.form.draft.value(name)) - 1:  # a selection, a word, a line
            self.form.change(self.form.draft.but(**{name: editor.text}), tr("delete"))
        else:
            self.form.change(self.form.draft.but(**{name: editor.text}), tr("typing"), what=name)

    @on(Parameter.Edited)
    def _parameter_edited(self, event: Parameter.Edited) -> None:
        self._take_parameter(event.parameter)

    def _take_parameter(self, shown: Parameter) -> None:
        field = shown.field
        try:
            text = field.settled(shown.value)
        except RefusedTextError:  # it may become something yet
            shown.show_refusal(True)
            return
        shown.show_refusal(False)
        if field.is_setting or field.kind in ("choice", "switch", "input"):
            return
        self.form.change(self.form.draft.but(**field.write(text, self.values())), tr(field.label), what=field.id)
        shown.taken(self._read_field(field, self.values()))

    @on(Parameter.Settled)
    def _settled(self, event: Parameter.Settled) -> None:
        shown, field = event.parameter, event.parameter.field
        if field.is_setting:
            self.filling.choose(field, shown.value or None)
            shown.put(self._read_field(field, self.values()))  # the former one, if that cannot be
        elif not shown.value:
            shown.put(self._read_field(field, self.values()))
            default = printable(shown.value or shown.placeholder) or tr("nothing")
            self.say(tr("{label} is as it comes again: {value}.", label=tr(field.label), value=default))

    @on(Parameter.Refused)
    def _refused(self, event: Parameter.Refused) -> None:
        self.say(f"! {event.why}")

    @on(Parameter.PickWanted)
    def _pick(self, event: Parameter.PickWanted) -> None:
        if event.parameter.field.kind == "input":
            self.sources.ask(event.parameter.field, event.words)
        else:
            self.filling.pick(event.parameter.field, event.words)

    @on(Parameter.Given)
    def _given(self, event: Parameter.Given) -> None:
        begin(self, self.sources.give, event.parameter.field, event.text)

    @on(Parameter.Entered)
    def _entered(self, event: Parameter.Entered) -> None:
        field = event.parameter.field
        if field.kind == "input":
            self.sources.enter(field)
        elif field.kind == "switch":
            self._switch(field)
        elif field.kind == "choice" or field.offers:
            self.filling.pick(field)
        elif not field.is_setting:
            self.drawing.generate()

    @on(Parameter.StepWanted)
    def _step(self, event: Parameter.StepWanted) -> None:
        field = event.parameter.field
        if field.kind == "switch":
            self._switch(field)
        else:
            self.filling.step(field, event.by)

    def _switch(self, field: Field) -> None:
        self.filling.choose(field, field.read(self.values()) == "off")

    @on(Parameter.ResetWanted)
    def _reset(self, event: Parameter.ResetWanted) -> None:
        field = event.parameter.field
        if field.kind == "input":
            self.sources.take_out(field)
            return
        self.filling.choose(field, None)
        default = printable(field.read(self.values()) or event.parameter.placeholder) or tr("nothing")
        self.say(tr("{label} is as it comes again: {value}.", label=tr(field.label), value=default))

    def focus_field(self, name: str) -> None:
        """Go to the form's field of that id, where it is."""
        ids = {"prompt": "prompt", "negative_prompt": "negative"}
        found = self.query(f"#{ids.get(name, f'field-{name}')}")
        part = next((part for part, fields in parts(self.values()).items() if name in {f.id for f in fields}), None)
        if part and (self._filling_more or not found or not self.has_class("-more")):
            self._wanted_field = name  # whatever is there now is made anew, or not to be seen
            self.unfold(part)
            self.set_focus(None)  # keys that are pressed meanwhile are for that field, and write nothing elsewhere
        elif found:
            self._leave_large()
            found.first().focus()

    def go_on_writing(self) -> None:
        """Put the cursor behind the prompt."""
        self._leave_large()
        editor = self.query_one("#prompt", PromptEditor)
        editor.focus()
        editor.move_cursor(editor.document.end)

    async def make_from(self, picture: Picture, making: Making) -> None:
        """Make something from a picture, or show what that is made from."""
        match making:
            case "img2img":
                await self.sources.take(picture)
            case "mask":
                await self.sources.mask(picture)
            case "hires":
                if await self.drawing.draw_hires(picture, self.sources.put):
                    self._unfolded.setdefault("Hires", True)  # it has what was just used, though it is not used here
                    self._show_more()
            case "upscale":
                await self.sources.upscale(picture, self.drawing.submit)
            case "before_after":
                await self.sources.compare(picture)

    # --- what a prompt says ------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        for editor in self.query(PromptEditor):
            self._read_soon(editor)

    def _read_soon(self, editor: PromptEditor, *, tell: bool = False) -> None:
        """tell: what is found is told wherever the cursor is."""
        key = editor.id or ""
        if key in self._reading:
            self._reading[key].stop()
        self._reading[key] = self.set_timer(_READ_AFTER, lambda: self._read(editor, tell))

    def _read(self, editor: PromptEditor, tell: bool) -> None:
        begin(self, self._tell_reading, editor, tell, instead=f"read-{editor.id}")

    async def _tell_reading(self, editor: PromptEditor, tell: bool) -> None:
        text = editor.text
        read = await self._reader.read(text, negative=editor.negative)
        if read is None or editor.text != text:
            return
        editor.show_traps(read.traps)
        editor.say_below(f"{'+'.join(map(str, read.tokens))}/{read.room}" if read.tokens else "")
        if read.traps and (editor.has_focus or tell):
            trap = read.traps[0]
            # the key comes first: at 80 columns the end of a long sentence is not to be seen
            mends = "" if trap.fix is None else tr("{key} fixes this:", key=self.shell.key("fix")) + " "
            if editor.is_network(trap):
                mends = tr("{key} takes another:", key=self.shell.key("fix")) + " "
            self._told[editor.negative] = mends + trap.message
            self.say(self._told[editor.negative], standing=True)
        elif told := self._told.pop(editor.negative, ""):
            self.unsay(told)

    @on(PromptEditor.CompletionWanted)
    def _complete(self, event: PromptEditor.CompletionWanted) -> None:
        begin(self, self._offer, event, instead="complete")

    @on(PromptEditor.StyleTaken)
    def _take_style(self, event: PromptEditor.StyleTaken) -> None:
        self.filling.add_style(event.style, "negative_prompt" if event.editor.negative else "prompt", event.text)

    def network_key(self) -> str:
        """The key that takes another network for one that the prompt calls and should not; empty if there is none."""
        editors = self.query(PromptEditor)
        return self.shell.key("fix") if any(e.is_network(trap) for e in editors for trap in e.traps) else ""

    async def _offer(self, event: PromptEditor.CompletionWanted) -> None:
        event.editor.offer(event.word, await self._reader.complete(event.before, event.word, asked=event.asked))

    @on(PromptEditor.AnotherWanted)
    def _pick_another(self, event: PromptEditor.AnotherWanted) -> None:
        tag = event.editor.text[event.start : event.end]
        begin(self, self.filling.pick_network, tag, event.editor.replace_network)

    # --- pictures ----------------------------------------------------------------------------------------------------

    @property
    def _invites(self) -> bool:
        """Whether the screen looks as where nothing was drawn yet."""
        return self._is_new if self._is_empty is None else self._is_empty

    def _invitation(self) -> Text | None:
        """What the first screen says, where nothing was drawn yet."""
        models = self.filling.offers.models or ()
        has_models = not all(model.embedded for model in models)
        return invitation(self.shell, self.query_one(ChosenPicture), has_models=has_models) if self._invites else None

    def _draws_example(self, number: int) -> bool:
        """Draw one of the prompts that the first screen names, if it is known that there are no pictures."""
        if not self._is_empty or number > len(EXAMPLES):
            return False
        self.form.change(self.form.draft.but(prompt=EXAMPLES[number - 1]))
        self.go_on_writing()
        self.drawing.generate()
        return True

    @on(Recent.Left)
    def _leave_recent(self) -> None:
        self.focus_field("prompt")

    @on(Recent.Chosen)
    def show_chosen(self) -> None:
        """Show the picture that Recent has chosen."""
        for view in self.query(ChosenPicture):  # none while the form is made anew
            view.show_chosen()
        self.query(KeyBar).refresh()

    def up(self) -> None:
        self._end_preview()
        self._show_placeholders()
        for editor in self.query(PromptEditor):
            self._read_soon(editor)
        self._learn()

    @work(group="learn", exclusive=True)
    async def _learn(self) -> None:
        await self.filling.learn()
        self.refresh_recent()

    @work(group="recent", exclusive=True)
    async def refresh_recent(self) -> None:
        page = await self.ask(calls.pictures(limit=_RECENT))
        if page is None:
            return
        invited, self._is_empty = self._invites, not page.pictures
        if invited != self._is_empty:
            self.query(ChosenPicture).refresh()
        ended, self._ended = self._ended, None
        keep = self.shell.settings["keep_chosen"]
        for recent in self.query(Recent):
            before = recent.chosen()
            recent.show(page.pictures, ended, keep=keep)
            if picked := self._picked:
                self._picked = None
                if not self._draws_example(picked):
                    recent.action_pick(picked)
            picture = recent.chosen()
            if not picture or ended or before is None or picture.id != before.id:
                self.show_chosen()

    def happened(self, entry: Entry) -> None:
        from sdterm.api import Snapshot
        from sdterm.events import (
            Cancelled,
            Done,
            Failed,
            Grid,
            Image,
            LibraryChanged,
            PictureDeleted,
            PictureRestored,
            Preview,
            SideImage,
            Waiting,
        )

        match entry.event:
            case Preview(data=data, step=step):
                self._show_preview(entry.job, step, data)
            case Image() | SideImage() | Grid() | PictureDeleted() | PictureRestored():
                self.refresh_recent()
            case LibraryChanged():
                self._learn()
                for editor in self.query(PromptEditor):
                    self._read_soon(editor)
            case Done():
                self._previewed = entry.job  # even if there was no preview
                self._end_preview()
            case Failed() | Cancelled() | Waiting() | Snapshot():
                self._end_preview()

    def _show_preview(self, job: int | None, step: int, data: bytes) -> None:
        run = self.shell.state.run_of(job)
        if run is None:  # the host sends a preview behind all events of its time: the job has ended meanwhile
            return

        async def fetch() -> bytes | None:
            return data if run.job == self._previewed else None

        self._previewed = run.job
        for live in self._live():
            if live.line_is_slow and self.shell.settings["preview"] == "auto":
                self._tell_slow_line()
                continue
            live.offer(step, run.steps or step, fetch, f"#{run.job}  {step}/{run.steps or step}")

    def _tell_slow_line(self) -> None:
        if not self._told_slow_line:
            self._told_slow_line = True
            key = self.shell.key("preview_mode")
            self.shell.say(tr("Slow line: no live previews. {key}, then any choice but auto, shows them.", key=key))

    def _end_preview(self) -> None:
        """Once a job is not drawn any more: its newest picture instead of what is left of its preview."""
        if self._previewed is not None and self.shell.state.run_of(self._previewed) is None:
            self._ended, self._previewed = self._previewed, None
            self.refresh_recent()

    def _live(self) -> Iterable[LivePreview]:
        """The preview of the view that is there now."""
        from sdterm.tui.picture.budget import Budget
        from sdterm.tui.picture.preview import LivePreview

        for view in self.query(ChosenPicture):
            if self._preview is None or self._preview[0] is not view:
                self._preview = view, LivePreview(view, Budget(may_grow="TMUX" not in os.environ))
            yield self._preview[1]

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_generate(self) -> None:
        self.drawing.generate()

    def action_stop(self) -> None:
        self.drawing.stop()

    def action_stop_after(self) -> None:
        self.drawing.stop_after()

    def action_forever(self) -> None:
        self.drawing.toggle_forever()

    def action_lock_seed(self) -> None:
        self.drawing.lock_seed()

    def action_reroll(self) -> None:
        self.drawing.reroll()

    def action_walk_up(self) -> None:
        self.drawing.walk(1)

    def action_walk_down(self) -> None:
        self.drawing.walk(-1)

    def action_variations(self) -> None:
        self.drawing.vary_last()

    def action_repeat_last(self) -> None:
        self.drawing.repeat_last()

    def action_history(self) -> None:
        begin(self, self.filling.pick_prompt)

    def action_older_prompt(self) -> None:
        begin(self, self.filling.turn, 1)

    def action_newer_prompt(self) -> None:
        begin(self, self.filling.turn, -1)

    def action_edit_outside(self) -> None:
        begin(self, self.filling.edit_outside)

    def action_undo(self) -> None:
        name = self.form.back()
        self.shell.say(tr("Nothing to undo.") if name is None else tr("Undone: {what}.", what=name))

    def action_clear_prompt(self) -> None:
        self.form.change(self.form.draft.but(prompt="", negative_prompt=""))
        self.focus_field("prompt")

    def action_redo(self) -> None:
        name = self.form.forth()
        self.shell.say(tr("Nothing to redo.") if name is None else tr("Redone: {what}.", what=name))

    def action_paste(self) -> None:
        from sdterm.tui.pasted import infotext_in, no_files_here
        from sdterm.tui.screens.pick import Type

        refused = no_files_here(self.shell.settings)

        def typed(text: str | None) -> None:
            if text and (infotext := infotext_in(text, reads_files=not refused)) is not None:
                begin(self, self.filling.offer, infotext)
            elif text and refused:
                self.shell.say(refused)
            elif text:
                self.shell.say(tr("That is neither an infotext nor an image that has one."))

        self.app.push_screen(Type(tr("An infotext") if refused else tr("An image's path, or an infotext")), typed)

    @on(InfotextPasted)
    def _offer_pasted(self, event: InfotextPasted) -> None:
        begin(self, self.filling.offer, event.infotext)

    def action_recent(self) -> None:
        """Go to the pictures drawn last, also where there is no room for them beside the form."""
        self.shell.go("generate")
        self._leave_large()
        self.remove_class("-more")  # whose options take Recent's place
        recent = self.query_one(Recent)
        if recent.display:
            recent.focus()
        else:
            self.add_class("-recent")
            self.call_after_refresh(recent.focus)

    def action_recent_picture(self, number: int) -> None:
        """Go to one of those that are in sight there, or will be once they are known; where there are none, the first
        digits draw an example."""
        if self._draws_example(number):
            return
        recent = self.query_one(Recent)
        self._picked = None if recent.pictures else number
        in_sight = bool(recent.region) and self.app.screen is self
        if in_sight:
            recent.action_pick(number)
        self.action_recent()
        if not in_sight:
            self.call_after_refresh(recent.action_pick, number)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        # a class of the screen has all of it painted, so only where the others must make room
        self.set_class(isinstance(self.focused, Recent) and self.app.size.height < _ROOMY, "-recent")

    def marked(self) -> None:
        super().marked()
        self.query_one(Recent).refresh_marks()

    def action_show_preview(self) -> None:
        self.shell.go("generate")
        self.query_one(ChosenPicture).toggle_alone()

    def _leave_large(self) -> None:
        for picture in self.query(ChosenPicture):
            picture.action_leave()


def _pairs(row: tuple[Field, ...], values: Mapping[str, Any]) -> Iterable[Widget]:
    """A line of the form: labels and values, each column as wide in all lines."""
    for column, field in enumerate(row):
        longest = max(cell_len(tr(field.label)) for field in (line[column] for line in ROWS))
        label = Label(tr(field.label), markup=False)
        label.styles.width = 1 + min(_LONGEST_LABEL, longest)
        shown = parameter(field, field.read(values))
        shown.set_class(column > 0, "-right")
        yield from (label, shown)
