"""What can be done with a picture, wherever one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.tui.language import tr
from sdterm.tui.messages import (
    CompareWanted,
    DeleteWanted,
    DrawAgain,
    EmptyTrashWanted,
    Fill,
    MakeFrom,
    Making,
    Marked,
    Part,
    RestoreWanted,
    WallWanted,
)
from sdterm.tui.shell import HasShell

if TYPE_CHECKING:
    from sdterm.api import Picture


_OFTEN = ("img2img", "mask_picture", "hires", "upscale", "mark", "delete_picture", "before_after", "compare")


class PictureActions(HasShell):
    """What every list of pictures can do with the one that is chosen."""

    scopes: tuple[str, ...] = ("pictures",)
    own_keys: tuple[str, ...] = ("load",)
    """What the key bar names before the others."""

    @property
    def first_keys(self) -> tuple[str, ...]:
        """What the key bar names first: what marks and the chosen picture make useful, then what there is always.
        Without a picture no key does anything."""
        if (picture := self.chosen()) is None:
            return ()
        now = [*(["compare"] if self.shell.marks else []), *(["before_after"] if _is_made(picture) else [])]
        in_page = ["open_in_tab"] if self.shell.settings["in_page"] else []
        return tuple(dict.fromkeys((*now, *self.own_keys, *in_page, *_OFTEN)))

    def chosen(self) -> Picture | None:
        """The picture that the keys are about."""
        raise NotImplementedError

    def pair(self) -> list[Picture]:
        """The two to compare if nobody says which; fewer if there are none."""
        return []

    def action_mark(self) -> None:
        if picture := self.chosen():
            marks = self.shell.marks
            if marks.pop(picture.id, None) is None:
                marks[picture.id] = picture
            self.post_message(Marked())
            key = self.shell.key("compare")
            self.shell.say(tr("{number} marked: {key} compares them.", number=len(marks), key=key))

    def action_compare(self) -> None:
        picture, pictures = self.chosen(), [*self.shell.marks.values()]
        if picture and len(pictures) < 2:
            pictures = [*pictures, picture] if pictures and pictures[0].id != picture.id else self.pair()
        if len(pictures) > 1:
            self.post_message(CompareWanted(pictures))
        else:
            self.shell.say(tr("Mark two images first: {key} marks one.", key=self.shell.key("mark")))

    def action_wall(self) -> None:
        if picture := self.chosen():
            self.post_message(WallWanted(picture))

    def action_img2img(self) -> None:
        self._want("img2img")

    def action_mask_picture(self) -> None:
        self._want("mask")

    def action_hires(self) -> None:
        self._want("hires")

    def action_upscale(self) -> None:
        self._want("upscale")

    def action_before_after(self) -> None:
        self._want("before_after")

    def _want(self, making: Making) -> None:
        if picture := self.chosen():
            self.post_message(MakeFrom(picture, making))

    def action_delete_picture(self) -> None:
        if picture := self.chosen():
            self.post_message(DeleteWanted(picture))

    def action_restore_picture(self) -> None:
        self.post_message(RestoreWanted())

    def action_empty_trash(self) -> None:
        self.post_message(EmptyTrashWanted())

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

    def action_open_in_tab(self) -> None:
        if picture := self.chosen():
            self.app.open_url(f"pictures/{picture.id}")

    def action_copy_path(self) -> None:
        if picture := self.chosen():
            self.shell.copy(picture.path, tr("path"))


def _is_made(picture: Picture) -> bool:
    """Whether it was made from another picture, as its infotext says."""
    from sdterm.core.infotext.grammar import parse

    return any(
        key == "Denoising strength" or key.startswith("Postprocess") for key in parse(picture.infotext).parameters
    )
