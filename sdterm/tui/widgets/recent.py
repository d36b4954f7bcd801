"""Where a picture is chosen, and what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from sdterm.tui.actions import bindings
from sdterm.tui.language import tr
from sdterm.tui.messages import DrawAgain, Fill, Part
from sdterm.tui.shell import HasShell

if TYPE_CHECKING:
    from sdterm.api import Picture


class PictureActions(HasShell):
    """What every list of pictures can do with the one that is chosen."""

    scopes: tuple[str, ...] = ("pictures",)

    def chosen(self) -> Picture | None:
        """The picture that the keys are about."""
        raise NotImplementedError

    def action_load(self) -> None:
        self._fill("all")

    def action_take_seed(self) -> None:
        self._fill("seed")

    def action_take_prompt(self) -> None:
        self._fill("prompt")

    def action_take_parameters(self) -> None:
        self._fill("parameters")

    def _fill(self, part: Part) -> None:
        if picture := self.chosen():
            self.post_message(Fill(picture.infotext, part, picture.id))

    def action_repeat(self) -> None:
        if picture := self.chosen():
            self.post_message(DrawAgain(picture.infotext))

    def action_vary(self) -> None:
        if picture := self.chosen():
            self.post_message(DrawAgain(picture.infotext, vary=True))

    def action_copy_parameters(self) -> None:
        if picture := self.chosen():
            self.shell.copy(picture.infotext, tr("infotext"))

    def action_copy_prompt(self) -> None:
        if picture := self.chosen():
            from sdterm.core.infotext.grammar import parse

            self.shell.copy(parse(picture.infotext).prompt, tr("prompt"))

    def action_copy_path(self) -> None:
        if picture := self.chosen():
            self.shell.copy(picture.path, tr("path"))


class Recent(PictureActions, Widget, can_focus=True):
    """The pictures drawn last, on one line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("left,h", "move(1)", show=False),
        Binding("right,l", "move(-1)", show=False),
        Binding("home,g", "move(1000)", show=False),
        Binding("end,G", "move(-1000)", show=False),
    ]

    class Chosen(Message):
        """Another picture was chosen."""

        def __init__(self, picture: Picture) -> None:
            super().__init__()
            self.picture = picture

    def __init__(self) -> None:
        super().__init__(id="recent")
        self.border_title = tr("Recent")
        self._pictures: tuple[Picture, ...] = ()
        self._at = 0

    def show(self, pictures: tuple[Picture, ...], ended: int | None = None) -> None:
        """Show these, the newest first. The newest picture of a job that has just ended is chosen; without one, the
        picture that was chosen before, unless it was the newest: then the newest again."""
        kept = self.chosen() if self._at else None
        drawn = [i for i, picture in enumerate(pictures) if picture.job == ended]
        still = [i for i, picture in enumerate(pictures) if kept and picture.id == kept.id]
        self._pictures = pictures
        self._at = next(iter(drawn or still), 0)
        self.refresh()

    def chosen(self) -> Picture | None:
        return self._pictures[self._at] if self._pictures else None

    def action_move(self, by: int) -> None:
        if self._pictures:
            self._at = max(0, min(len(self._pictures) - 1, self._at + by))
            self.refresh()
            self.post_message(self.Chosen(self._pictures[self._at]))

    def render(self) -> Text:
        if not self._pictures:
            return Text(tr("Nothing yet: write a prompt, then {key}.", key=self.shell.key("generate")))
        names = [f"[{p.id}]" if i == self._at else f" {p.id} " for i, p in reversed([*enumerate(self._pictures)])]
        at = len(names) - 1 - self._at
        width = self.size.width
        first = at
        while first and sum(map(len, names[first - 1 : at + 1])) <= width // 2:
            first -= 1
        line = Text(no_wrap=True)
        for i, name in enumerate(names[first:], first):
            if line.cell_len + len(name) > width:
                break
            line.append(name, style="bold reverse" if i == at else "")
        return line
