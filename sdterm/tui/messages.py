"""What the interface's parts tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from textual.message import Message

if TYPE_CHECKING:
    from sdterm.api import Entry, Health, Picture
    from sdterm.tui.fields import Field

Part = Literal["all", "seed", "prompt", "parameters"]


class HostStarting(Message):
    """There was no host; one is being started."""


class HostUp(Message):
    """The host answers."""

    def __init__(self, health: Health) -> None:
        super().__init__()
        self.health = health


class HostLost(Message):
    """The host does not answer any more, or cannot be started."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Happened(Message):
    """An entry of the host's stream."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


class Fill(Message):
    """What the infotext of a picture says is to be put into the form, or a part of it."""

    def __init__(self, infotext: str, part: Part, picture: int = 0) -> None:
        super().__init__()
        self.infotext, self.part, self.picture = infotext, part, picture


class FillRequest(Message):
    """The fields of a job's request are to be put into the form."""

    def __init__(self, fields: Mapping[str, Any], job: int = 0) -> None:
        super().__init__()
        self.fields, self.job = fields, job


class PickValue(Message):
    """A value of a form's field is to be chosen from its list."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field


class InfotextPasted(Message):
    """An infotext was pasted: the form shows what it would change."""

    def __init__(self, infotext: str) -> None:
        super().__init__()
        self.infotext = infotext


class DrawAgain(Message):
    """The picture with this infotext is to be drawn again, or variations of it."""

    def __init__(self, infotext: str, *, vary: bool = False) -> None:
        super().__init__()
        self.infotext, self.vary = infotext, vary


class OfferRemedies(Message):
    """The user wants to know what helps a job: each remedy has its words and the request's fields that it changes."""

    def __init__(self, job: int, said: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        super().__init__()
        self.job, self.said, self.found = job, said, found


class Marked(Message):
    """A picture is marked now, or not any more."""


class CompareWanted(Message):
    """These pictures are to be seen side by side."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        super().__init__()
        self.pictures = pictures


class WallWanted(Message):
    """All pictures of this one's job are to be seen at once."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self.picture = picture


Making = Literal["img2img", "mask", "hires", "upscale", "before_after"]
"""What can be made from a picture, and what shows that."""


class MakeFrom(Message):
    """Something is to be made from this picture."""

    def __init__(self, picture: Picture, making: Making) -> None:
        super().__init__()
        self.picture, self.making = picture, making


class DeleteWanted(Message):
    """A picture is to go to the trash."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self.picture = picture


class EmptyTrashWanted(Message):
    """What was deleted is to go for good, if the user agrees."""


class RestoreWanted(Message):
    """The picture that was deleted last is to come back."""
