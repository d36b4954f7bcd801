"""The picture of the Generate screen, which is also what one looks at when it is shown alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from sdterm.tui.actions import bindings
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.widgets.picture_actions import PictureActions
from sdterm.tui.widgets.recent import Recent

if TYPE_CHECKING:
    from sdterm.api import Picture


class DeskPicture(PictureActions, PictureView):
    """Shows what Recent has chosen, or what is being drawn. Its keys are Recent's; it has the focus only while it is
    shown alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("left,h", "move(-1)", show=False),
        Binding("right,l", "move(1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    class Left(Message):
        """Enough looked at."""

    def chosen(self) -> Picture | None:
        return self.screen.query_one(Recent).chosen()

    def pair(self) -> list[Picture]:
        return self.screen.query_one(Recent).pair()

    def action_move(self, by: int) -> None:
        self.screen.query_one(Recent).action_move(by)

    def action_leave(self) -> None:
        self.post_message(self.Left())
